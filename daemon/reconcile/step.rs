//! One step that is in hand, from its intent to its end. Where it stands is read from the world; only what the
//! world does not show comes from the record.

use jiff::{SignedDuration, Timestamp};

use super::claim::{blocked_for_good, give_back, take};
use super::drain::{self, Drained};
use super::job::run_job;
use super::lock;
use super::orphans::later_claim;
use super::pass::{Pass, later};
use super::prove::{overdue, prove};
use super::workers::gate_of;
use crate::cluster::NodePatch;
use crate::execute::Effect;
use crate::model::claim::Claim;
use crate::model::decision::{Answer, Gate, Key, Reason, Verdict};
use crate::model::desired::{Desired, Provider};
use crate::model::entry::{StepPhase, What};
use crate::model::live::{ClaimState, Live, Node, Probe};
use crate::model::plan::{DrainLimits, Fact, StageKind, Step};
use crate::provider::{self, Order, Role};
use crate::record::{Run, StepEnd, StepRecord};
use crate::verify;

/// How long nothing may have left a node before its drain counts as blocked and the claim says since when.
const BLOCKED: SignedDuration = SignedDuration::from_secs(30);

/// How often it is asked whether this is still the same cluster, while something is in hand.
const IDENTITY: SignedDuration = SignedDuration::from_mins(1);

/// One step with everything that is looked at to take it further.
pub(super) struct InHand<'a> {
    pub(super) desired: &'a Desired,
    pub(super) run: &'a Run,
    pub(super) step: &'a Step,
    pub(super) kind: StageKind,
    pub(super) hop: usize,
    pub(super) rec: &'a StepRecord,
    pub(super) node: &'a Node,
}

impl InHand<'_> {
    pub(super) fn object(&self) -> String {
        format!("node/{}", self.step.node)
    }

    pub(super) fn drain_limits(&self) -> Option<&DrainLimits> {
        self.run.plan.pools.get(&self.step.pool).map(|limits| &limits.drain)
    }

    pub(super) fn order(&self) -> Order<'_> {
        Order {
            cluster: &self.run.plan.cluster,
            run: &self.run.id,
            step: self.step,
            role: self.role(),
            kubeadm: &self.run.plan.kubeadm,
            attempt: self.rec.attempt,
        }
    }

    /// The first control plane node of a hop is the one before which none of it was moved; one that is gone does not count.
    fn role(&self) -> Role {
        let first = self
            .run
            .plan
            .stages
            .iter()
            .filter(|stage| stage.kind == self.kind && stage.to == self.step.to)
            .flat_map(|stage| &stage.steps)
            .find(|step| self.run.steps.get(&step.id).is_none_or(|rec| rec.end != Some(StepEnd::Gone)));
        Role::of(
            self.step.component,
            self.node.control_plane,
            first.is_some_and(|first| first.id == self.step.id),
        )
    }

    pub(super) fn touched(&self, live: &Live) -> bool {
        self.rec.phase >= StepPhase::Upgrading || live.jobs.contains_key(&provider::job_name(&self.order()))
    }
}

/// Takes every step that is in hand as far as it goes now. Of a control plane only one is ever under way.
pub(super) fn advance_all(pass: &mut Pass<'_>, desired: &Desired, run: &Run) {
    // An address may come to lead to another cluster.
    pass.probe(Probe::ClusterUid, IDENTITY);
    let mut turn_taken = false;
    for (stage, step) in
        run.plan.stages.iter().flat_map(|stage| stage.steps.iter().map(move |step| (stage, step)))
    {
        let Some(rec) = run.steps.get(&step.id).filter(|rec| rec.end.is_none()) else { continue };
        let serial = matches!(stage.kind, StageKind::Servers | StageKind::ControlPlaneKubelets);
        if serial && turn_taken {
            continue;
        }
        if stage.kind == StageKind::AwaitServers {
            await_servers(pass, step);
            continue;
        }
        let node = pass.input.live.nodes.get(step.node.as_str()).filter(|node| *node.uid == *step.node_uid);
        match node {
            Some(node) => {
                let hand = InHand { desired, run, step, kind: stage.kind, hop: stage.hop, rec, node };
                // Only a person can change that: the next one has its turn meanwhile.
                if let Some(reason) = blocked_for_good(pass, &hand).filter(|_| serial) {
                    pass.denies(gate_of(reason.key), reason);
                    continue;
                }
                turn_taken |= serial;
                advance(pass, &hand);
            }
            None => pass.record(What::StepGone { step: step.id.clone(), node: step.node.clone() }),
        }
    }
}

fn await_servers(pass: &mut Pass<'_>, step: &Step) {
    pass.probe(Probe::Api, SignedDuration::from_secs(30));
    if pass.input.live.api.version.as_ref().is_some_and(|version| *version >= step.to) {
        return pass.record(What::StepDone {
            step: step.id.clone(),
            node: step.node.clone(),
            version: step.to.clone(),
            evicted: 0,
        });
    }
    let text = format!("the hosted control plane does not run {} yet", step.to);
    pass.waits(Gate::Health, Reason::new(Key::ExternalProvider, "api", text));
}

fn advance(pass: &mut Pass<'_>, hand: &InHand<'_>) {
    if let Some(why) = &hand.node.hold {
        let text = format!("a person holds it: {why}");
        return pass.denies(Gate::Hold, Reason::new(Key::Held, hand.object(), text));
    }
    if pass.input.live.stop.is_none() {
        pass.wants_lock = true;
    }
    if hand.node.control_plane {
        pass.probe_often(Probe::Api);
    }
    match pass.input.live.runs(hand.step.component, &hand.step.node) {
        Some(version) if version >= hand.step.to => after_change(pass, hand),
        _ => before_change(pass, hand),
    }
}

/// The node runs the target: it has to prove itself, is returned, and its pods' owners recover.
fn after_change(pass: &mut Pass<'_>, hand: &InHand<'_>) {
    let live = pass.input.live;
    if hand.rec.phase < StepPhase::Upgraded {
        return prove(pass, hand);
    }
    if let Some(claim) = &hand.node.claim {
        pass.moving = true;
        return release(pass, hand.node, claim, hand.rec.intent);
    }
    if hand.rec.phase < StepPhase::Returned {
        return moved(pass, hand, StepPhase::Returned);
    }
    let short = verify::recovering(live, &hand.rec.baseline);
    if short.is_empty() {
        return pass.record(What::StepDone {
            step: hand.step.id.clone(),
            node: hand.step.node.clone(),
            version: hand.step.to.clone(),
            evicted: hand.rec.pods,
        });
    }
    pass.moving = true;
    for reason in short {
        pass.waits(Gate::Health, reason);
    }
}

/// The node does not run the target yet: it is claimed, emptied and changed, or given back untouched.
fn before_change(pass: &mut Pass<'_>, hand: &InHand<'_>) {
    let touched = hand.touched(pass.input.live);
    if !touched
        && !hand.rec.touched
        && let Some(reason) = give_back(pass, hand)
    {
        return set_aside(pass, hand, false, vec![reason]);
    }
    match &hand.node.claim {
        Some(ClaimState::Unreadable(why)) => {
            let text = format!("its annotation {} cannot be read: {why}", crate::model::claim::CLAIM);
            pass.denies(Gate::Hold, Reason::new(Key::ForeignClaim, hand.object(), text));
        }
        Some(ClaimState::Ours(claim)) if claim.step == hand.step.id && claim.run == hand.run.id => {
            claimed(pass, hand, claim, touched);
        }
        Some(ClaimState::Ours(claim)) if pass.epoch() < claim.epoch => {
            pass.denies(Gate::Hold, later_claim(&hand.step.node, claim));
        }
        // Left over from a run before: taken over as it is.
        Some(ClaimState::Ours(claim)) => take(pass, hand, Some(claim)),
        None => take(pass, hand, None),
    }
}

fn claimed(pass: &mut Pass<'_>, hand: &InHand<'_>, claim: &Claim, touched: bool) {
    // Somebody else's work is nothing that goes on by itself.
    pass.moving |= hand.step.provider != Provider::External || hand.rec.phase < StepPhase::Upgrading;
    if hand.rec.phase < StepPhase::Claimed {
        return moved(pass, hand, StepPhase::Claimed);
    }
    if touched || hand.rec.phase >= StepPhase::Drained || !hand.step.drain {
        return change(pass, hand, touched);
    }
    if claim.cordoned && !hand.node.unschedulable {
        // Somebody uncordoned it in the middle: pods would come as fast as they leave.
        return patch(pass, hand.node, NodePatch::Claim(claim.clone()), hand.rec.intent);
    }
    let Some(limits) = hand.drain_limits() else { return };
    match drain::go_on(pass, hand.step, limits, claim, hand.rec.intent) {
        Drained::Yes => moved(pass, hand, StepPhase::Drained),
        Drained::Going => {
            if claim.blocked_since.is_some() {
                note(pass, hand, Claim { blocked_since: None, ..claim.clone() });
            }
        }
        Drained::Blocked => blocked(pass, hand, claim),
        Drained::GivenUp(key) => {
            let text = match key {
                Key::JobRunning => "Jobs or pods that ask not to be disrupted did not end before drain.jobs",
                _ => "its drain was blocked for longer than drain.timeout",
            };
            let first = Reason::new(key, hand.object(), text);
            let blockers = pass
                .tick
                .status
                .answers
                .iter()
                .filter(|answer| answer.gate == Gate::Budget && answer.verdict != Verdict::Allow);
            let reasons =
                std::iter::once(first).chain(blockers.map(|answer| answer.reason.clone())).take(10).collect();
            set_aside(pass, hand, hand.rec.touched, reasons);
        }
    }
}

/// The ladder's timer lives on the claim, so that it survives us.
fn blocked(pass: &mut Pass<'_>, hand: &InHand<'_>, claim: &Claim) {
    let since = pass.since(Key::DrainTimedOut, &hand.object());
    pass.waits(Gate::Budget, Reason::new(Key::DrainTimedOut, hand.object(), "nothing leaves it at present"));
    if let Some(blocked) = claim.blocked_since {
        if let Some(limits) = hand.drain_limits() {
            pass.wake(later(blocked, limits.timeout()));
        }
    } else if pass.expired(since, BLOCKED) {
        note(pass, hand, Claim { blocked_since: Some(since), ..claim.clone() });
    }
}

pub(super) fn note(pass: &mut Pass<'_>, hand: &InHand<'_>, claim: Claim) {
    patch(pass, hand.node, NodePatch::Note(claim), hand.rec.intent);
}

/// What a step expects of the control plane and does not find. That the node is there and Ready is asked elsewhere,
/// in better words.
pub(super) fn unmet(step: &Step, live: &Live) -> Option<Reason> {
    let broken = step.expects.iter().find(|fact| match fact {
        Fact::ServersAtLeast(_) | Fact::Runs(..) => !live.holds(fact),
        Fact::Exists(..) | Fact::Ready(_) => false,
    })?;
    let text = match broken {
        Fact::ServersAtLeast(version) => format!("not every API server is known to run at least {version}"),
        Fact::Runs(component, node, version) => {
            format!("the {} of {node} does not run {version}", component.as_str())
        }
        Fact::Exists(..) | Fact::Ready(_) => return None,
    };
    Some(Reason::new(Key::ServersMixed, format!("node/{}", step.node), text))
}

/// The node is empty, or need not be: its provider changes it, and the node is judged, never the Job.
fn change(pass: &mut Pass<'_>, hand: &InHand<'_>, touched: bool) {
    if let Some(reason) = unmet(hand.step, pass.input.live).filter(|_| !touched) {
        return pass.waits(Gate::Order, reason);
    }
    if !touched {
        return moved(pass, hand, StepPhase::Upgrading);
    }
    if hand.rec.phase < StepPhase::Upgrading {
        // The Job of a process before us was found; the record catches up.
        return moved(pass, hand, StepPhase::Upgrading);
    }
    match hand.step.provider {
        Provider::External => external(pass, hand),
        Provider::Kubeadm => run_job(pass, hand),
    }
}

fn external(pass: &mut Pass<'_>, hand: &InHand<'_>) {
    if overdue(pass, hand, Timestamp::MIN) {
        let text = "nobody upgraded it before the deadline";
        return set_aside(
            pass,
            hand,
            hand.rec.touched,
            vec![Reason::new(Key::ExternalProvider, hand.object(), text)],
        );
    }
    let text = format!("it is empty and waits for somebody to bring it to {}", hand.step.to);
    pass.waits(Gate::Health, Reason::new(Key::ExternalProvider, hand.object(), text));
}

pub(super) fn fail(pass: &mut Pass<'_>, hand: &InHand<'_>, reasons: Vec<Reason>) {
    let (step, node) = (hand.step.id.clone(), hand.step.node.clone());
    pass.record(What::StepFailed { step, node, reasons: reasons.clone() });
    pass.record(What::Halted { reasons });
}

pub(super) fn set_aside(pass: &mut Pass<'_>, hand: &InHand<'_>, touched: bool, reasons: Vec<Reason>) {
    let (step, node) = (hand.step.id.clone(), hand.step.node.clone());
    pass.record(What::StepSetAside { step, node, touched, reasons });
}

pub(super) fn moved(pass: &mut Pass<'_>, hand: &InHand<'_>, phase: StepPhase) {
    pass.record(What::StepMoved { step: hand.step.id.clone(), node: hand.step.node.clone(), phase });
}

pub(super) fn patch(pass: &mut Pass<'_>, node: &Node, patch: NodePatch, after: u64) {
    let effect =
        Effect::Node { name: node.name.to_string(), resource_version: node.resource_version.clone(), patch };
    pass.effect(effect, after);
}

pub(super) fn release(pass: &mut Pass<'_>, node: &Node, claim: &ClaimState, after: u64) {
    let undo = match claim {
        ClaimState::Ours(claim) => NodePatch::Release(claim.clone()),
        ClaimState::Unreadable(_) => NodePatch::Forget,
    };
    patch(pass, node, undo, after);
}

impl Pass<'_> {
    pub(super) fn epoch(&self) -> u64 {
        lock::held(self).unwrap_or(0)
    }

    pub(super) fn passes_with(&mut self, gate: Gate, reason: Reason) {
        self.answer(Answer { gate, verdict: Verdict::Allow, reason, next: None });
    }
}
