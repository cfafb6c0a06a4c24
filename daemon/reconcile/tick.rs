//! The order in which one pass visits the stages, and what it makes of all that was answered.

use jiff::{SignedDuration, Timestamp};

use super::pass::{LOOK_AGAIN, Pass, earliest, later};
use super::{Input, Standing, Tick, begin, choose, lock, orphans, settle, step};
use crate::execute::Effect;
use crate::model::decision::{Answer, Gate, Key, Reason, Verdict};
use crate::model::entry::{StepPhase, What};
use crate::model::live::Probe;
use crate::record;

/// How long a wait has to last before it is written down: shorter ones explain themselves by ending.
const WORTH_RECORDING: SignedDuration = SignedDuration::from_secs(10);
/// The `ConfigMap` is for people's eyes: a change shows within this, however many entries there are.
const PUBLISH_SPACING: SignedDuration = SignedDuration::from_secs(10);
/// More waits than anybody reads; the rest shows when these are gone.
const MOST_WAITS: usize = 50;

/// One pure pass: settles what has changed, goes on with what is in hand, takes up what is allowed, and says what
/// to write, do and look up.
pub fn tick(input: Input<'_>) -> Tick {
    let mut pass = Pass::new(input);
    let known = pass.input.record.cluster_uid.as_ref();
    if pass.input.live.cluster_uid.is_none()
        || known.is_some_and(|uid| input.live.cluster_uid.as_ref() != Some(uid))
    {
        pass.probe(Probe::ClusterUid, LOOK_AGAIN);
    }
    if pass.input.live.api.last_seen.is_none() {
        pass.probe(Probe::Api, LOOK_AGAIN);
    }
    if !pass.input.live.complete
        || pass.input.live.api.last_seen.is_none()
        || pass.input.live.cluster_uid.is_none()
    {
        return blind(pass);
    }
    settle::settle(&mut pass);
    // What was settled is folded into the record first; the next pass follows at once.
    if pass.tick.entries.is_empty() && settle::same_cluster(&mut pass) {
        work(&mut pass);
    }
    if others_write(&mut pass) {
        pass.tick.entries.clear();
        pass.tick.frozen = None;
    }
    finish(pass)
}

/// Whether the record is for somebody else to write: whoever holds the lease. Of a run that is under way nothing is
/// written before the lease was looked at.
fn others_write(pass: &mut Pass<'_>) -> bool {
    let told = |answer: &Answer| answer.reason.key == Key::LeaseElsewhere;
    if lock::elsewhere(pass).is_some() {
        if !pass.tick.status.answers.iter().any(told) {
            lock::stand_by(pass);
        }
        pass.tick.stands_by = true;
        return true;
    }
    let unseen = pass.input.record.run.is_some() && !pass.input.live.probed.contains_key(&Probe::Lock);
    if unseen && pass.acts() && pass.input.live.stop.is_none() {
        pass.moving = true;
        pass.probe_often(Probe::Lock);
        return true;
    }
    false
}

/// Nothing is concluded from a picture with holes; what keeps it from being whole is told.
fn blind(mut pass: Pass<'_>) -> Tick {
    for (kind, why) in &pass.input.live.unseen {
        let text = format!("they cannot be listed: {why}");
        pass.waits(Gate::Health, Reason::new(Key::ApiUnreachable, kind.as_str(), text));
    }
    pass.tick
}

fn work(pass: &mut Pass<'_>) {
    settle::standing_gates(pass);
    if let Some(desired) = pass.input.wanted.desired.as_ref() {
        if let Some(run) = &pass.input.record.run {
            step::advance_all(pass, desired, run);
            choose::go_on(pass, desired, run);
        } else {
            begin::begin(pass, desired);
        }
        if pass.acts() {
            orphans::return_orphans(pass);
            publish(pass);
        }
    }
    lock::keep(pass);
}

fn finish(mut pass: Pass<'_>) -> Tick {
    // Who ends when nothing moves must not end before it is written down why.
    let unsaid = !pass.tick.stands_by && record_waits(&mut pass);
    // While stopped only what already runs on a host goes on.
    let by_itself = pass.moving && (pass.input.live.stop.is_none() || on_a_host(&pass));
    let moving = by_itself || unsaid || !pass.tick.entries.is_empty() || !pass.tick.effects.is_empty();
    let objects = pass.tick.status.answers.iter().any(|answer| answer.verdict != Verdict::Allow);
    let refused = !pass.input.wanted.problems.is_empty() || answered(&pass, Key::OtherCluster);
    pass.tick.status.standing = match () {
        () if moving => Standing::Moving,
        () if pass.input.record.halted.is_some() => Standing::Halted,
        () if refused => Standing::Refused,
        () if objects || pass.input.record.run.is_some() => Standing::Waiting,
        () => Standing::AsDesired,
    };
    pass.tick
}

/// Whether an upgrade is under way on a host, which nobody can stop from here.
fn on_a_host(pass: &Pass<'_>) -> bool {
    let Some(run) = &pass.input.record.run else { return false };
    run.in_hand().any(|(_, step)| {
        step.phase == StepPhase::Upgrading
            && pass.input.live.jobs.values().any(|job| job.node == step.node && job.run == run.id)
    })
}

fn answered(pass: &Pass<'_>, key: Key) -> bool {
    pass.tick.status.answers.iter().any(|answer| answer.reason.key == key)
}

/// Writes down what is waited for when that has changed: gates at once, the world's own waits once they last.
/// Whether any of these has not lasted yet.
fn record_waits(pass: &mut Pass<'_>) -> bool {
    if !pass.tick.entries.is_empty() {
        return false;
    }
    let mut lasting: Vec<Answer> = Vec::new();
    let mut wake = None;
    for answer in pass.tick.status.answers.iter().filter(|answer| answer.verdict != Verdict::Allow) {
        if !worth_recording(answer) {
            continue;
        }
        let recorded = pass.input.record.waiting.iter().any(|old| same(&old.value, answer));
        let due = later(pass.since(answer.reason.key, &answer.reason.object), WORTH_RECORDING);
        if recorded || answer.verdict == Verdict::Deny || is_policy(answer.gate) || due <= pass.input.now {
            lasting.push(answer.clone());
        } else {
            wake = earliest(wake, Some(due));
        }
    }
    lasting.sort_by(|a, b| (a.gate, &a.reason).cmp(&(b.gate, &b.reason)));
    lasting.dedup_by(|a, b| same(a, b));
    lasting.truncate(MOST_WAITS);
    if let Some(at) = wake {
        pass.wake(at);
    }
    let recorded: Vec<&Answer> = pass.input.record.waiting.iter().map(|old| &old.value).collect();
    if lasting.iter().collect::<Vec<_>>() != recorded {
        pass.record(What::Waiting { answers: lasting });
    }
    wake.is_some()
}

/// Keeps the `ConfigMap` as the record has it. It is read once before it is ever written.
fn publish(pass: &mut Pass<'_>) {
    let record = pass.input.record;
    if record.run.is_none() && record.ended.is_empty() {
        return;
    }
    let Some(published) = &pass.input.live.published else { return pass.probe_often(Probe::Published) };
    let text = record::config_map_text(&record::status(&pass.input.me.cluster, record));
    if text == *published {
        return;
    }
    let last = pass.input.live.overlay.published.unwrap_or(Timestamp::UNIX_EPOCH);
    // Of a run that goes on, not every entry is worth a write; but nobody ends before the last of them shows.
    if record.run.is_some() && !pass.expired(last, PUBLISH_SPACING) {
        pass.moving |= pass.input.live.stop.is_none();
        return;
    }
    pass.effect(Effect::Publish(text), 0);
}

/// Whether the record does not say it in another way: a step's phase tells that its Job is at work. Whoever does not
/// hold the lease does not write either, since two who wait for each other would race.
fn worth_recording(answer: &Answer) -> bool {
    answer.gate != Gate::Lease && answer.reason.key != Key::Upgrading
}

/// Answers that people or calendars give, as against the world's own.
fn is_policy(gate: Gate) -> bool {
    match gate {
        Gate::Mode
        | Gate::Desired
        | Gate::Plan
        | Gate::Window
        | Gate::Freeze
        | Gate::Stop
        | Gate::Halt
        | Gate::Hold => true,
        Gate::Limit
        | Gate::Budget
        | Gate::Canary
        | Gate::Order
        | Gate::Lease
        | Gate::Health
        | Gate::Record => false,
    }
}

fn same(left: &Answer, right: &Answer) -> bool {
    left.gate == right.gate
        && left.reason.key == right.reason.key
        && left.reason.object == right.reason.object
}
