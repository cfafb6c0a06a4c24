//! The order gate: the versions that a step expects, above all that every API server is upgraded before a kubelet.

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::live::Node;
use crate::model::version::Version;
use crate::model::work::{Fact, Truth, Work};

/// More nodes of one kind than a person reads.
const MOST_NAMED: usize = 20;

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let asked = match question.moment {
        // All intents of a hop's control plane are written together; the expectations of its later steps come true on
        // the way.
        Moment::StartRun | Moment::TakeOut => !question.is_control_plane(),
        Moment::Claim | Moment::Change => true,
        Moment::GoOn => false,
    };
    let mut answers = kubelets_left_behind(question);
    answers.extend(kubelets_too_new(question));
    let (Some(step), Some(live)) = (question.step.filter(|_| asked), question.live()) else { return answers };
    let broken = step.expects.iter().filter(|fact| fact.is_version() && live.truth(fact) != Truth::Holds);
    // A process that has just begun has not heard a hosted control plane for long enough.
    let agrees_yet = live.api.agreed || !live.is_known_by_endpoint();
    let reason = |fact: &Fact| match (fact, live.truth(fact)) {
        (Fact::ControlPlaneAtLeast(_), Truth::Unknown) if !agrees_yet => {
            let text = "the API endpoint has to answer with the same version for two minutes";
            Reason::new(Key::NotAgreed, question.object(), text)
        }
        _ => Reason::new(Key::ServersMixed, question.object(), unmet(fact)),
    };
    let reasons = broken.map(reason);
    answers.extend(reasons.map(|reason| Answer::wait(Gate::Order, reason)));
    answers
}

/// Nodes whose kubelets would be too old for an API server of the step's minor. The plan checked the nodes of its
/// time; an autoscaler may add a node with an old image later.
fn kubelets_left_behind(question: &Question<'_>) -> Vec<Answer> {
    match question.moment {
        Moment::TakeOut | Moment::Claim => {}
        Moment::StartRun | Moment::Change | Moment::GoOn => return Vec::new(),
    }
    let (Some(Work::ControlPlane(mv)), Some(live)) = (question.step.map(|step| &step.work), question.live())
    else {
        return Vec::new();
    };
    let mut servers = live.api_servers().into_values().flatten();
    // Once one API server runs that minor, holding the others back helps no kubelet.
    if servers.any(|server| mv.to.minors_ahead_of(&server) <= 0) {
        return Vec::new();
    }
    // Nearly always true, and known without a walk over all nodes.
    if question.world.census.oldest_kubelet().is_none_or(|kubelet| kubelet.may_lag(&mv.to)) {
        return Vec::new();
    }
    let late = live
        .nodes
        .values()
        .filter(|node| node.kubelet.as_ref().is_some_and(|kubelet| !kubelet.may_lag(&mv.to)));
    let denied = late.take(MOST_NAMED).map(|node| {
        let text = format!(
            "its kubelet is too old for API servers of {}; upgrade it or remove it",
            mv.to.minor_name()
        );
        Answer::deny(Gate::Order, Reason::new(Key::SkewTooLarge, format!("node/{}", node.name), text))
    });
    denied.collect()
}

/// Nodes whose kubelets are of a newer minor than an API server, while a run is in progress. Kubernetes does not support
/// that. An autoscaler adds them with the image of the target before the control plane is there; the run ends it.
fn kubelets_too_new(question: &Question<'_>) -> Vec<Answer> {
    let general = question.moment == Moment::GoOn && question.step.is_none() && question.run().is_some();
    let (Some(live), Some(newest)) =
        (question.live().filter(|_| general), question.world.census.newest_kubelet())
    else {
        return Vec::new();
    };
    let servers: Vec<Version> = live.api_servers().into_values().flatten().collect();
    let Some(oldest) = Version::oldest(servers.iter()).filter(|oldest| newest.minors_ahead_of(oldest) > 0)
    else {
        return Vec::new();
    };
    let new = |node: &&Node| node.kubelet.as_ref().is_some_and(|kubelet| kubelet.minors_ahead_of(oldest) > 0);
    let told = live.nodes.values().filter(new).take(MOST_NAMED).map(|node| {
        let runs = node.kubelet.as_ref().map(ToString::to_string).unwrap_or_default();
        let text = format!(
            "its kubelet runs {runs}, a newer minor than the API server {oldest}; Kubernetes supports that only once the \
             control plane is upgraded"
        );
        Answer::wait(Gate::Order, Reason::new(Key::SkewTooLarge, format!("node/{}", node.name), text))
    });
    told.collect()
}

fn unmet(fact: &Fact) -> String {
    match fact {
        Fact::ControlPlaneAtLeast(version) => {
            format!("not every API server is known to run at least {version}")
        }
        Fact::RunsAtLeast(component, node, version) => {
            format!("the {} of {node} is not known to run at least {version}", component.as_str())
        }
        Fact::Ready(node) => format!("{node} is not Ready"),
        Fact::HasImage(workload, container, images) => {
            format!("the container {container} of {workload} is not known to have the image {}", images.first)
        }
        Fact::HasVersion(workload, container, version) => {
            format!("the container {container} of {workload} is not known to have {version} or later")
        }
        Fact::RolledOut(workload) => format!("{workload} is not rolled out"),
        Fact::Applied(addon, _) => format!("the objects of addon {addon} are not known to be applied"),
        Fact::Removed(addon, object) => {
            format!("{object}, which addon {addon} does not have any more, is there")
        }
        Fact::AppliedAndReady(addon, _) => format!("the workloads of addon {addon} are not rolled out"),
        Fact::Exists(node) => format!("{} does not exist", node.name),
    }
}
