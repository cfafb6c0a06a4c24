//! The health gate: no node is taken out while it is not Ready, and no control plane node unless every other one is
//! Ready, etcd can spare a member, and the API has answered steadily.

use jiff::Timestamp;

use super::{Moment, Question};
use crate::model::decision::{Answer, Gate, Key, Reason};
use crate::model::live::{JobState, Live, Ready};
use crate::verify::control_plane::{quorum, steady, unready_peer};

pub(super) fn answers(question: &Question<'_>) -> Vec<Answer> {
    let taken_out = match question.moment {
        Moment::StartRun | Moment::TakeOut | Moment::Claim => false,
        // A drain may have taken half an hour since the node was claimed.
        Moment::Change => true,
        Moment::GoOn => return Vec::new(),
    };
    let (Some(live), Some(node)) = (question.live(), question.node()) else { return Vec::new() };
    let mut answers: Vec<Answer> = at_work(question, live, &node.name).collect();
    if !taken_out && node.ready != Ready::True {
        let text = "it is not Ready; a node that is not Ready is not taken out";
        let reason = Reason::new(Key::NodeNotReady, question.object(), text);
        // A control plane node is not Ready for a moment after its kubelet restarted, so its unit waits instead of
        // being returned.
        let waits = question.is_control_plane();
        answers.push(if waits {
            Answer::wait(Gate::Health, reason)
        } else {
            Answer::deny(Gate::Health, reason)
        });
    }
    let now = question.moment == Moment::Claim || question.moment == Moment::Change;
    if now && question.is_control_plane() {
        answers.extend(control_plane(question, live, &node.name));
    }
    answers
}

/// The Jobs of earlier runs that are still at work on the node.
///
/// A Job is created and begun while lists of Jobs are refused, so the daemon never sees it. A newer commit takes the
/// run's place, and the node counts as unchanged and is returned. When Jobs are seen again, the new run must not begin a
/// second Job beside the first one.
fn at_work<'a>(question: &Question<'a>, live: &'a Live, node: &'a str) -> impl Iterator<Item = Answer> {
    let run = question.run().map(|run| run.id.clone()).unwrap_or_default();
    let others = live.jobs.on(node).filter(move |(_, job)| job.run != run && !job.suspended);
    let working = others.filter(|(_, job)| matches!(job.state, JobState::Waiting(_) | JobState::Running));
    working.map(|(name, _)| {
        let reason = Reason::new(
            Key::Upgrading,
            format!("job/{name}"),
            "a Job of an earlier run is still at work here",
        );
        Answer::wait(Gate::Health, reason)
    })
}

fn control_plane(question: &Question<'_>, live: &Live, node: &str) -> Vec<Answer> {
    let reasons = unready_peer(live, node).into_iter().chain(quorum(live, Some(node)));
    let mut answers: Vec<Answer> = reasons.map(|reason| Answer::wait(Gate::Health, reason)).collect();
    match steady(live, Timestamp::UNIX_EPOCH) {
        Err(reason) => answers.push(Answer::wait(Gate::Health, reason)),
        Ok(at) if at > question.world.now => {
            let text = "it answers and has to answer for 10 s without a break";
            let reason = Reason::new(Key::ApiNotSteady, "api", text);
            answers.push(Answer::wait(Gate::Health, reason).until(Some(at)));
        }
        Ok(_) => {}
    }
    answers
}
