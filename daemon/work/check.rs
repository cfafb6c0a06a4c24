//! Waits until what kubeadm has moved with the control plane of a hop has come: its version, and the end of its rollout. It only
//! reads.

use jiff::{SignedDuration, Timestamp};

use super::addon::{is_fresh, not_ready, unread};
use super::back::is_without_progress;
use super::hand::Hand;
use super::settled::unsettled;
use super::state::State;
use super::turn::{LOOK_AGAIN, Turn};
use crate::model::addon::{WorkloadRead, image_version};
use crate::model::decision::{Decision, Gate, Key, Reason};
use crate::model::installed::InstalledCheck;
use crate::model::live::{Probe, Progress};

/// How long it may go without progress. kubeadm has written it before its Job ends, so only the rollout is waited for; that of a
/// `DaemonSet` over many nodes takes longer, and each node counts as progress.
const LIMIT: SignedDuration = SignedDuration::from_mins(10);

pub(super) fn look_at_installed(hand: &Hand<'_>, of: &InstalledCheck, may: &Decision) -> Turn {
    let turn = Turn::of(State::Awaiting).probe(Probe::Workload(of.workload.clone()), LOOK_AGAIN);
    // Nothing is judged while a person has stopped the work or has to look at a halt, nor by an old picture.
    if may.objects(Gate::Halt) {
        return turn;
    }
    if may.objects(Gate::Stop) {
        return turn.moving();
    }
    if !is_fresh(hand, &of.workload) {
        return unread(hand, &of.workload, turn);
    }
    let Some(read) = hand.live.addon_workloads.get(&of.workload) else { return turn.moving() };
    let read = read.as_ref();
    let arrived =
        |read: &&WorkloadRead| of.version.as_ref().is_none_or(|least| read.has_version(&of.container, least));
    let here = read.filter(arrived);
    let unsettled = unsettled(hand, here);
    let complete = here.and_then(|read| Some((read, read.complete_since?)));
    if let Some((read, since)) = complete.filter(|_| unsettled.is_none()) {
        return turn.done_once_well(&hand.step.id, version_of(of, read), since, hand.now);
    }
    let failed = |turn: Turn, why: String| {
        turn.failed(&hand.step.id, vec![Reason::new(Key::CheckFailed, hand.object(), why)])
    };
    if let Some(read) = here
        && let Progress::Failed(why) = &read.progress
    {
        let text = format!("the rollout of {} does not go on: {why}{}", of.workload, evidence(hand, read));
        return failed(turn, text);
    }
    // It counts from the last progress of the rollout, and only while we look.
    let progressed = here.map_or(Timestamp::MIN, |read| read.progressed);
    let (turn, late) = is_without_progress(hand, LIMIT, progressed, turn);
    let missing = || format!("kubeadm moves it with {}, and {}", of.to, found(of, read));
    if late {
        let stuck = |read| {
            format!("the rollout of {} has not come further for 10 min{}", of.workload, evidence(hand, read))
        };
        return failed(turn, here.map_or_else(missing, stuck));
    }
    let rolls = |read| format!("{} rolls out {}", of.workload, version_of(of, read));
    let text = unsettled.unwrap_or_else(|| here.map_or_else(missing, rolls));
    turn.moving().waits(Gate::Health, Reason::new(Key::AddonRolling, hand.object(), text))
}

/// The version that its container has.
fn version_of<'a>(of: &InstalledCheck, read: &'a WorkloadRead) -> &'a str {
    read.images.get(&of.container).map_or("no such container", |runs| image_version(&runs.image))
}

/// What is there instead of the version that is waited for.
fn found(of: &InstalledCheck, read: Option<&WorkloadRead>) -> String {
    let Some(read) = read else { return format!("{} is not there any more", of.workload) };
    let least = of.version.as_deref().unwrap_or_default();
    let by = read.images.get(&of.container).and_then(|runs| runs.manager.as_deref());
    let by = by.map_or_else(String::new, |by| format!(", written by {by}"));
    format!("{} has {}{by}, not {least} or later", of.workload, version_of(of, read))
}

fn evidence(hand: &Hand<'_>, read: &WorkloadRead) -> String {
    not_ready(hand, read)
        .or_else(|| unsettled(hand, [read]))
        .map_or_else(String::new, |words| format!("; {words}"))
}
