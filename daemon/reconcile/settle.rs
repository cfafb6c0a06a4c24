//! What has changed outside of any step: which cluster this is, which commit is in force, who has stopped or resumed.

use super::pass::Pass;
use crate::execute::Effect;
use crate::model::decision::{Gate, Key, Reason};
use crate::model::desired::Mode;
use crate::model::entry::What;
use crate::record::text;

pub(super) fn settle(pass: &mut Pass<'_>) {
    let (record, wanted, live) = (pass.input.record, pass.input.wanted, pass.input.live);
    if let (None, Some(uid)) = (&record.cluster_uid, &live.cluster_uid) {
        pass.record(What::ClusterMet { uid: uid.clone() });
    }
    commits(pass);
    match (&live.stop, &record.stopped) {
        (Some(stop), None) => pass.record(What::Stopped { by: stop.by.clone(), reason: stop.reason.clone() }),
        (None, Some(_)) => pass.record(What::StopEnded),
        (Some(_), Some(_)) | (None, None) => {}
    }
    if let Some(note) = &live.resume {
        // One note ends one halt, however long it takes until it can be deleted.
        let spent = record.resumed_by.as_ref() == Some(&note.uid);
        if record.halted.is_some() && !spent {
            let (by, reason, uid) = (note.by.clone(), note.reason.clone(), note.uid.clone());
            pass.record(What::Resumed { by, reason, note: Some(uid) });
        } else {
            // Recorded, or there was nothing to resume: either way it is spent.
            pass.effect(Effect::ForgetResume { uid: note.uid.clone() }, record.next_seq.saturating_sub(1));
        }
    }
    if !wanted.problems.is_empty()
        && record.refused.as_ref().is_none_or(|(commit, _)| *commit != wanted.newest)
    {
        pass.record(What::Refused { commit: wanted.newest.clone(), problems: wanted.problems.clone() });
    }
}

/// A commit that is in force is recorded once; a new one ends a halt.
fn commits(pass: &mut Pass<'_>) {
    let (record, wanted) = (pass.input.record, pass.input.wanted);
    let Some(desired) = &wanted.desired else { return };
    if !wanted.problems.is_empty() {
        return;
    }
    let known = record.accepted.as_ref().is_some_and(|(commit, _)| *commit == desired.commit);
    if !known || record.refused.is_some() {
        pass.record(What::Accepted {
            commit: desired.commit.clone(),
            version: desired.cluster.version.clone(),
        });
    }
    if !known && record.halted.is_some() {
        let by = format!("commit {}", desired.commit.short());
        pass.record(What::Resumed { by, reason: "a new commit is in force".to_owned(), note: None });
    }
}

/// Another cluster behind the same name is never touched.
pub(super) fn same_cluster(pass: &mut Pass<'_>) -> bool {
    let (known, seen) = (&pass.input.record.cluster_uid, &pass.input.live.cluster_uid);
    if let Some(twin) = &pass.input.me.twin {
        let text = format!("it is the same cluster as {twin}, behind another context; only {twin} is served");
        let object = format!("cluster/{}", pass.input.me.cluster);
        pass.denies(Gate::Desired, Reason::new(Key::OtherCluster, object, text));
        return false;
    }
    let same = known.is_none() || known == seen;
    if !same {
        let text = format!(
            "this cluster's kube-system has UID {}, the record knows {}: it is another cluster; check the kubeconfig context",
            seen.as_deref().unwrap_or_default(),
            known.as_deref().unwrap_or_default()
        );
        let object = format!("cluster/{}", pass.input.me.cluster);
        pass.denies(Gate::Desired, Reason::new(Key::OtherCluster, object, text));
    }
    same
}

/// Gates that stand before everything, whatever is to be done.
pub(super) fn standing_gates(pass: &mut Pass<'_>) {
    let (record, wanted, live) = (pass.input.record, pass.input.wanted, pass.input.live);
    let object = format!("cluster/{}", pass.input.me.cluster);
    if wanted.problems.is_empty() {
        pass.passes(Gate::Desired, &object, "the newest commit is valid");
    } else {
        let first = wanted.problems.first().map_or("", |problem| problem.lines().next().unwrap_or_default());
        let text = format!("commit {} is not valid: {first}", wanted.newest.short());
        let key = if wanted.rewritten { Key::HistoryRewritten } else { Key::CommitRefused };
        pass.denies(Gate::Desired, Reason::new(key, &*object, text));
    }
    match wanted.desired.as_ref().map(|desired| desired.cluster.mode) {
        Some(Mode::Observe) if record.run.is_some() => {
            let text = "spec.mode is observe: no node is taken out, and what is out is finished";
            pass.denies(Gate::Mode, Reason::new(Key::ObserveOnly, &*object, text));
        }
        Some(Mode::Observe) if pass.input.fresh.is_some_and(|fresh| !fresh.is_empty()) => {
            let text = "spec.mode is observe: nothing is written to the cluster";
            pass.denies(Gate::Mode, Reason::new(Key::ObserveOnly, &*object, text));
        }
        Some(Mode::Observe) => {
            pass.passes(Gate::Mode, &object, "spec.mode is observe, and nothing is to be done");
        }
        Some(Mode::Act) => pass.passes(Gate::Mode, &object, "spec.mode is act"),
        None => {}
    }
    match &live.stop {
        Some(stop) => {
            let text = format!("stopped by {}", text::said(&stop.by, &stop.reason));
            pass.denies(Gate::Stop, Reason::new(Key::Stopped, &*object, text));
        }
        None => pass.passes(Gate::Stop, &object, "nobody has stopped it"),
    }
    match &record.halted {
        Some(halted) => {
            let why = halted.value.first().map_or("", |reason| &reason.text);
            let what = halted.value.first().map_or("", |reason| &reason.object);
            let text = format!("halted: {what}: {why}; a new commit or `windlass resume` goes on");
            pass.denies(Gate::Halt, Reason::new(Key::Halted, &*object, text));
        }
        None => pass.passes(Gate::Halt, &object, "nothing has failed"),
    }
}
