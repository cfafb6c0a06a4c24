//! What people have changed by hand in the objects of addons is recorded, and nothing is done about it.

use jiff::SignedDuration;

use super::{Input, Tick};
use crate::model::addon::AddonSource;
use crate::model::entry::{ClusterEvent, DriftedObject, What};
use crate::model::time::{earliest, later};

/// How often drift is recorded at most: an autoscaler may change the same field every minute.
const SPACING: SignedDuration = SignedDuration::from_mins(10);
/// More objects than a person reads. The others are recorded as these are put right.
const MOST: usize = 50;

/// Records the drift if it changed. Nothing is recorded while an addon has not been looked at.
pub(super) fn record_drift(input: &Input<'_>, tick: &mut Tick) {
    if !tick.entries.is_empty() {
        return;
    }
    let Some(objects) = drifted(input) else { return };
    let recorded = input.record.drifted.iter().map(|old| subject(&old.value));
    if recorded.eq(objects.iter().map(subject)) {
        return;
    }
    let due = input.record.drifted_at.map(|last| later(last, SPACING));
    // A process before this one may have written by a clock that was ahead.
    match due.filter(|due| *due > input.now && *due <= later(input.now, SPACING)) {
        Some(due) => tick.wake_at = earliest(tick.wake_at, Some(due)),
        None => tick.entries.push(What::Cluster(ClusterEvent::Drifted { objects })),
    }
}

/// What is said of an object, without the time: others write other fields of it all the time.
fn subject(of: &DriftedObject) -> (&str, &str, &str) {
    let text = of.text.rsplit_once(" at ").map_or(of.text.as_str(), |(text, _)| text);
    (&of.addon, &of.object, text)
}

/// What is not as it was applied; `None` while that is not known.
fn drifted(input: &Input<'_>) -> Option<Vec<DriftedObject>> {
    let addons = &input.state.desired.as_ref()?.cluster.addons;
    let mut all = Vec::new();
    for addon in addons {
        let digest = match &addon.source {
            AddonSource::Image(_) => continue,
            AddonSource::Manifests(of) => &of.digest,
            AddonSource::Helm(of) => of.digests.get(&addon.version)?,
        };
        let read = input.live.manifests_of(&addon.name, digest)?;
        let objected = read.release.as_ref().is_some_and(|release| release.objection.is_some());
        if read.unread().is_some() || objected {
            return None;
        }
        all.extend(read.drifted().map(|(object, text)| DriftedObject {
            addon: addon.name.clone(),
            object: object.to_string(),
            text,
        }));
    }
    all.sort();
    all.truncate(MOST);
    Some(all)
}
