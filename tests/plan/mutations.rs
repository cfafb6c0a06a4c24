//! The checker is only worth something if it notices: every way in which a plan can be spoilt, one by one.

use windlass::model::decision::Key;
use windlass::model::desired::{Desired, Limit, Provider};
use windlass::model::installed::{InstalledCheck, SkippedPhase};
use windlass::model::live::Live;
use windlass::model::plan::{Component, Fact, NodeMove, Plan, Scope, StageKind, Step, Work, WorkKind};
use windlass::model::version::Version;
use windlass::plan::check;

use super::case::Case;
use super::sealed;

/// A control plane of three, two hops, a lift in between, two pools.
const WORLD: &str = "
about: A plan with one of everything.
desired:
  version: v1.34.4
  pools:
    - {name: general, select: pool=general, canary: 1}
    - {name: batch, select: pool=batch, drainForMinor: true}
live:
  nodes:
    cp1..cp3: control-plane v1.32.13
    w1..w3: pool=general v1.30.14
    b1: pool=batch v1.32.13
    b2: pool=batch v1.32.13
    stray: pool=none v1.32.13
";

fn world() -> (Desired, Live, Plan) {
    let case = Case::read(WORLD);
    let (desired, live) = (case.desired(), case.live());
    let plan = sealed(&desired, &live);
    assert_eq!(plan.blockers, []);
    assert_eq!(check(&plan, &desired, &live), []);
    let kinds: Vec<_> = plan.stages.iter().map(|stage| (stage.hop, stage.kind)).collect();
    let each_hop = [StageKind::ControlPlane, StageKind::ControlPlaneKubelets, StageKind::Workers];
    assert_eq!(kinds, [0, 1].map(|hop| each_hop.map(|kind| (hop, kind))).concat());
    (desired, live, plan)
}

/// Spoils the plan and expects the checker to say these words.
#[track_caller]
fn caught(words: &str, spoil: impl FnOnce(&mut Plan)) {
    let (desired, live, mut plan) = world();
    spoil(&mut plan);
    let findings = check(&plan, &desired, &live);
    assert!(findings.iter().all(|finding| finding.key == Key::PlanBroken));
    assert!(findings.iter().any(|finding| finding.text.contains(words)), "{words}: {findings:#?}");
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// Changes what a step does; its name goes with it, as in a plan that was read from a file.
fn rework(step: &mut Step, change: impl FnOnce(&mut NodeMove)) {
    match &mut step.work {
        Work::ControlPlane(mv) | Work::Kubelet(mv) => change(mv),
        Work::AwaitControlPlane { .. } | Work::Addon(_) | Work::Check(_) => {
            panic!("{} moves no node", step.id)
        }
    }
    step.id = Step::new(step.id.scope.clone(), step.work.clone(), Vec::new(), Vec::new()).id;
}

/// The step of one stage by its place, changed.
fn reworked(stage: usize, step: usize, change: impl FnOnce(&mut NodeMove)) -> impl FnOnce(&mut Plan) {
    move |plan| rework(&mut plan.stages[stage].steps[step], change)
}

#[test]
fn stages_out_of_order() {
    caught("makes a kubelet newer than an API server", |plan| plan.stages.swap(0, 1));
    caught("comes too late", |plan| plan.stages.swap(0, 1));
    caught("workers go to v1.33.13 before the kubelet of control plane node cp1", |plan| {
        plan.stages.swap(1, 2);
    });
    caught("too many minors behind", |plan| plan.stages.swap(2, 3));
    caught("comes too late", |plan| plan.stages.reverse());
}

#[test]
fn something_left_out() {
    caught("its control plane ends at v1.33.13", |plan| drop(plan.stages[3].steps.pop()));
    caught("its kubelet ends at v1.33.13", |plan| drop(plan.stages[4].steps.pop()));
    caught("its kubelet ends at v1.32.13", |plan| drop(plan.stages.pop()));
    caught("leaves the kubelet of w", |plan| drop(plan.stages[2].steps.remove(1)));
    caught("leaves API servers more than one minor apart", |plan| drop(plan.stages[0].steps.pop()));
    caught("the stage has no step", |plan| plan.stages[0].steps.clear());
    caught("nothing is done in this hop", |plan| plan.stages.retain(|stage| stage.hop == 1));
    caught("its last hop ends elsewhere", |plan| drop(plan.hops.pop()));
    caught("goes to another version than its hop", |plan| drop(plan.hops.pop()));
    caught("its limits are missing", |plan| plan.pools.retain(|name, _| name != "general"));
    caught("its nodes would not go one at a time", |plan| {
        plan.pools.retain(|name, _| name != "controlPlane");
    });
    caught("has no digest", |plan| plan.digest.clear());
    caught("has no digest", |plan| plan.asked.clear());
}

/// What kubeadm moves with the control plane is checked in each hop, by its name and version, and nothing else is.
#[test]
fn checks_that_are_missing_or_of_something_else() {
    let case = Case::read(
        "{about: x, desired: {version: v1.36.3, pools: [{name: a, select: p=a}]},
          live: {nodes: {cp1: control-plane v1.34.4, w1: p=a v1.34.4},
                 pods: {kube-system/kube-proxy-1: w1 daemonset/kube-proxy}}}",
    );
    let (desired, live) = (case.desired(), case.live());
    let plan = sealed(&desired, &live);
    assert_eq!(check(&plan, &desired, &live), []);
    let checks: Vec<usize> =
        (0..plan.stages.len()).filter(|index| plan.stages[*index].kind == StageKind::Checks).collect();
    assert_eq!(checks.len(), 2, "one for each hop");
    let says = |words: &str, spoil: &dyn Fn(&mut Plan, usize)| {
        let mut plan = plan.clone();
        spoil(&mut plan, checks[1]);
        let findings = check(&plan, &desired, &live);
        assert!(findings.iter().any(|finding| finding.text.contains(words)), "{words}: {findings:#?}");
    };
    let of = |plan: &mut Plan, at: usize, change: &dyn Fn(&mut InstalledCheck)| {
        let step = &mut plan.stages[at].steps[0];
        let Work::Check(of) = &mut step.work else { unreachable!() };
        change(of);
        let achieves = of.achieves();
        *step = Step::new(step.id.scope.clone(), step.work.clone(), step.expects.clone(), achieves);
    };
    says("does not check what kubeadm moves in it", &|plan, at| drop(plan.stages.remove(at)));
    says("comes before the control plane of its hop", &|plan, at| {
        let stage = plan.stages.remove(at);
        plan.stages.insert(0, stage);
    });
    says("comes too late", &|plan, at| plan.stages.swap(at, at + 1));
    says("does not end with its version running", &|plan, at| {
        of(plan, at, &|of| of.version = Some("v1.35.4".into()));
    });
    says("checks what kubeadm does not move with this control plane", &|plan, at| {
        of(plan, at, &|of| of.workload.name = "cilium".into());
    });
    says("has another name than what it checks", &|plan, at| {
        of(plan, at, &|of| of.container = "agent".into());
    });
    says("goes to another version than its stage", &|plan, at| of(plan, at, &|of| of.to.patch += 1));
    let mut skipping = desired.clone();
    skipping.cluster.control_plane.kubeadm.skip_phases = vec![SkippedPhase::KubeProxy];
    let findings = check(&plan, &skipping, &live);
    assert!(findings.iter().any(|finding| finding.text.contains("kubeadm does not move")), "{findings:#?}");
}

#[test]
fn a_minor_skipped() {
    caught("takes the control plane over more than one minor", |plan| {
        let hop = plan.hops.remove(0);
        plan.hops[0].from = hop.from.clone();
        plan.stages.drain(..3);
        for stage in &mut plan.stages {
            stage.hop = 0;
            for step in &mut stage.steps {
                let worker = step.node().unwrap().starts_with('w');
                let from = if worker { version("v1.30.14") } else { hop.from.clone() };
                rework(step, |mv| mv.from = from);
            }
        }
    });
}

#[test]
fn running_pods_under_a_minor_move() {
    caught("crosses a minor under running pods", reworked(1, 0, |mv| mv.drain = false));
    caught("crosses a minor under running pods", reworked(5, 0, |mv| mv.drain = false));
    caught("empties its node before", reworked(0, 0, |mv| mv.drain = true));
}

#[test]
fn a_pool_that_asks_for_drains_gets_them_and_no_other_does() {
    let case = Case::read(
        "{about: x, desired: {version: v1.34.4, pools: [{name: a, select: p=a}, {name: b, select: p=b, drainForMinor: true}]},
          live: {nodes: {cp1: control-plane v1.34.4, w1: p=a v1.34.1, w2: p=b v1.34.1}}}",
    );
    let (desired, live) = (case.desired(), case.live());
    let mut plan = sealed(&desired, &live);
    assert_eq!(check(&plan, &desired, &live), []);
    for step in &mut plan.stages[0].steps {
        rework(step, |mv| mv.drain = !mv.drain);
    }
    let texts: Vec<_> = check(&plan, &desired, &live).into_iter().map(|finding| finding.text).collect();
    assert_eq!(
        texts,
        [
            "does not empty the node, which its pool asks for",
            "empties a node for a patch that does not ask for it"
        ]
    );
}

#[test]
fn a_node_twice() {
    caught("the node is moved twice in one stage", |plan| {
        let step = plan.stages[5].steps[0].clone();
        plan.stages[5].steps.push(step);
    });
    caught("two steps bear this name", |plan| {
        let step = plan.stages[5].steps[0].clone();
        plan.stages[5].steps.push(step);
    });
    caught(
        "starts from v1.30.14, and the node runs v1.33.13",
        reworked(5, 1, |mv| mv.from = version("v1.30.14")),
    );
}

#[test]
fn the_wrong_node() {
    caught("there is no such node", reworked(5, 0, |mv| mv.node.name = "ghost".to_owned()));
    caught("means another node of that name", reworked(5, 0, |mv| mv.node.uid = "other".to_owned()));
    caught("the node lies in another zone", reworked(5, 0, |mv| mv.zone = "other".to_owned()));
    caught("the node belongs to no pool", reworked(5, 0, |mv| mv.node.name = "stray".to_owned()));
    caught("the node belongs to another pool", |plan| {
        plan.stages[5].steps[0].id.scope = Scope::Pool("batch".to_owned());
    });
    caught("is in a stage for other nodes", |plan| {
        let step = plan.stages[4].steps.pop().unwrap();
        plan.stages[5].steps.push(step);
    });
    caught("belongs to no pool", |plan| plan.stages[4].steps[0].id.scope = Scope::Pool("general".to_owned()));
    caught("its limits are missing", |plan| {
        plan.stages[5].steps[0].id.scope = Scope::Pool("ghosts".to_owned());
    });
}

#[test]
fn the_wrong_direction() {
    caught("does not go up", reworked(5, 0, |mv| mv.to = version("v1.30.0")));
    caught("goes to another version than its stage", reworked(5, 0, |mv| mv.to = version("v1.34.3")));
    caught("goes to another version than asked for", |plan| plan.to = version("v1.34.3"));
    caught("a hop starts where none ended", |plan| plan.hops[1].from = version("v1.33.1"));
    caught("does not go up", |plan| plan.hops[0].from = version("v1.33.13"));
}

#[test]
fn a_name_that_does_not_follow_from_the_work() {
    let misnamed = |spoil: fn(&mut Step)| {
        caught("its name does not say what it does", |plan| spoil(&mut plan.stages[5].steps[0]));
    };
    misnamed(|step| step.id.to = "v1.34.3".to_owned());
    misnamed(|step| step.id.kind = WorkKind::ControlPlane);
    misnamed(|step| step.id.node = None);
    misnamed(|step| step.id.node.as_mut().unwrap().name = "w9".to_owned());
    misnamed(|step| step.id.node.as_mut().unwrap().uid = "other".to_owned());
}

#[test]
fn expectations_that_do_not_chain() {
    let first_kubelet = |plan: &mut Plan, facts: Vec<Fact>| plan.stages[1].steps[0].expects = facts;
    caught("does not expect the very node", |plan| first_kubelet(plan, Vec::new()));
    caught("does not expect its node to be Ready", |plan| first_kubelet(plan, Vec::new()));
    caught("does not expect the API servers to be there first", |plan| first_kubelet(plan, Vec::new()));
    caught("does not expect the API servers to be there first", |plan| {
        let kept = |fact: &Fact| !matches!(fact, Fact::ControlPlaneAtLeast(_));
        plan.stages[0].steps[0].expects.retain(kept);
    });
    caught("does not expect the API servers to be there first", |plan| {
        plan.stages[3].steps[0].expects[2] = Fact::ControlPlaneAtLeast(version("v1.32.13"));
    });
    let expects = |fact: Fact| {
        caught("expects what does not hold when its turn comes", |plan| {
            plan.stages[1].steps[0].expects.push(fact);
        });
    };
    expects(Fact::ControlPlaneAtLeast(version("v1.34.4")));
    expects(Fact::RunsAtLeast(Component::Kubelet, "cp1".to_owned(), version("v1.33.0")));
    // Nothing is known of it, and that is not enough.
    expects(Fact::RunsAtLeast(Component::ControlPlane, "w1".to_owned(), version("v1.20.0")));
    expects(Fact::Ready("ghost".to_owned()));
}

#[test]
fn promises_that_are_not_kept() {
    caught("does not end with its version running", |plan| plan.stages[0].steps[0].achieves.clear());
    caught("does not end with its node Ready", |plan| plan.stages[0].steps[0].achieves.clear());
    caught("does not end with its version running", |plan| {
        let lower = Fact::RunsAtLeast(Component::Kubelet, "w1".to_owned(), version("v1.33.0"));
        plan.stages[2].steps[0].achieves[0] = lower;
    });
    caught("it achieves what it does not bring about", |plan| {
        plan.stages[0].steps[0].achieves.push(Fact::ControlPlaneAtLeast(version("v1.33.13")));
    });
    caught("it achieves what it does not bring about", |plan| {
        let other = Fact::RunsAtLeast(Component::Kubelet, "cp1".to_owned(), version("v1.33.13"));
        plan.stages[0].steps[0].achieves.push(other);
    });
}

#[test]
fn a_control_plane_that_is_waited_for() {
    let case = Case::read(
        "{about: x, desired: {version: v1.36.3, external: true, pools: [{name: a, select: p=a}]},
          live: {api: v1.34.2, nodes: {w1: p=a v1.34.2}}}",
    );
    let (desired, live) = (case.desired(), case.live());
    let plan = sealed(&desired, &live);
    assert_eq!(check(&plan, &desired, &live), []);
    let caught = |words: &str, spoil: &dyn Fn(&mut Plan)| {
        let mut plan = plan.clone();
        spoil(&mut plan);
        let findings = check(&plan, &desired, &live);
        assert!(findings.iter().any(|finding| finding.text.contains(words)), "{words}: {findings:#?}");
    };
    caught("does not end with its version running", &|plan| {
        plan.stages[1].steps[0].achieves = vec![Fact::ControlPlaneAtLeast(version("v1.36.0"))];
    });
    caught("it achieves what it does not bring about", &|plan| {
        plan.stages[0].steps[0].achieves = vec![Fact::ControlPlaneAtLeast(version("v1.36.3"))];
    });
    caught("starts from another version than the control plane runs", &|plan| {
        let Work::AwaitControlPlane { from, .. } = &mut plan.stages[0].steps[0].work else { unreachable!() };
        *from = version("v1.34.1");
    });
    caught("is other work than that of its stage", &|plan| {
        plan.stages[0].steps[0].work = plan.stages[2].steps[0].work.clone();
    });
    caught("takes the control plane over more than one minor", &|plan| {
        let Work::AwaitControlPlane { from, .. } = &mut plan.stages[1].steps[0].work else { unreachable!() };
        *from = version("v1.34.2");
    });
    caught("the control plane belongs to no pool", &|plan| {
        plan.stages[0].steps[0].id.scope = Scope::Pool("a".to_owned());
    });
    caught("its name does not say what it does", &|plan| plan.stages[0].steps[0].id.to.push('0'));
}

#[test]
fn canaries() {
    caught("has more or fewer canaries than asked for", reworked(5, 0, |mv| mv.canary = false));
    caught("has more or fewer canaries than asked for", reworked(5, 1, |mv| mv.canary = true));
    caught("a canary comes after a node that is none", |plan| plan.stages[5].steps.swap(0, 1));
    caught("a control plane node is no canary", reworked(0, 0, |mv| mv.canary = true));
}

#[test]
fn limits_and_means() {
    caught("has other limits than asked for", |plan| {
        plan.pools.get_mut("general").unwrap().max_unavailable = Limit::Percent(100);
    });
    caught("has another limit for the cluster", |plan| plan.max_unavailable = Some(Limit::Count(9)));
    caught("its nodes would not go one at a time", |plan| {
        plan.pools.get_mut("controlPlane").unwrap().max_unavailable = Limit::Count(2);
    });
    caught("is moved by another provider", reworked(5, 0, |mv| mv.provider = Provider::External));
    caught("is other work than that of its stage", |plan| {
        let Work::Kubelet(mv) = plan.stages[5].steps[0].work.clone() else { unreachable!() };
        plan.stages[5].steps[0].work = Work::ControlPlane(mv);
    });
    caught("a control plane that somebody else moves is waited for in one step", |plan| {
        plan.stages[0].kind = StageKind::AwaitControlPlane;
    });
    caught("is a plan for another cluster", |plan| plan.cluster.push('x'));
    caught("is a plan for another commit", |plan| plan.commit.0.push('0'));
}

#[test]
fn no_control_plane_without_a_proof() {
    let (mut desired, live, plan) = world();
    desired.cluster.etcd_unproven = None;
    let findings = check(&plan, &desired, &live);
    assert!(
        findings.iter().any(|finding| finding.text.contains("without a proven snapshot")),
        "{findings:#?}"
    );
}

#[test]
fn an_empty_plan_for_a_cluster_that_is_not_there_yet() {
    caught("its control plane ends at v1.32.13", |plan| {
        plan.stages.clear();
        plan.hops.clear();
    });
}

#[test]
fn a_node_that_nobody_moves_counts_too() {
    let (desired, mut live, plan) = world();
    live.nodes.get_mut("stray").unwrap().kubelet = Some(version("v1.30.1"));
    let findings = check(&plan, &desired, &live);
    assert!(
        findings.iter().any(|finding| finding.text == "leaves the kubelet of stray too many minors behind"),
        "{findings:#?}"
    );
}
