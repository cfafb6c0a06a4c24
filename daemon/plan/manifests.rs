//! The addons that are described by manifests: what an apply would add, change and remove, and what keeps it from that.

use std::collections::{BTreeMap, BTreeSet};

use super::Inventory;
use super::addons::{AddonSurvey, PendingMove, SurveyedAddon};
use super::compatible::AddonVersion;
use crate::model::addon::{Addon, AddonManifests, AddonWork, repository};
use crate::model::decision::{Key, Reason};
use crate::model::live::Progress;
use crate::model::manifest::{
    Manifest, ManifestsMove, ManifestsRead, ObjectRef, ObjectStanding, StuckWorkload,
};

/// How many objects of an addon are named as drifted.
const MOST_DRIFTED: usize = 5;

pub(super) fn look_at_objects<'a>(
    inventory: &Inventory,
    survey: &mut AddonSurvey<'a>,
    addon: &'a Addon,
    of: &AddonManifests,
) {
    let object = || format!("addon/{}", addon.name);
    let Some(read) = inventory.live.manifests_of(&addon.name, &of.digest) else {
        let text = format!("the objects of {} have not been compared yet", of.folder);
        return survey.blockers.push(Reason::new(Key::VersionUnknown, object(), text));
    };
    survey.blockers.extend(unusable(read).map(|(key, text)| Reason::new(key, object(), text)));
    for (of_object, found) in &read.objects {
        if let ObjectStanding::Missing { no_place: Some(words) } = &found.standing
            && !of.all.bring_place_of(of_object, found.address.is_some())
        {
            let text = format!("{of_object} has no place yet, and no addon of the file brings it: {words}");
            survey.risks.push(Reason::new(Key::AddonRefused, object(), text));
        }
    }
    survey.risks.extend(told_drift(read).map(|text| Reason::new(Key::AddonDrifted, object(), text)));
    let (run, asked): (Vec<String>, Vec<String>) = images_of(read).into_iter().unzip();
    let change = change(&of.folder, read);
    if change.added.is_empty() && change.changed.is_empty() && change.removed.is_empty() {
        for (workload, found) in read.workloads() {
            survey.unchanged(addon, &workload.to_string(), found);
        }
        let versions = vec![AddonVersion::asked(addon, run)];
        survey.addons.push(SurveyedAddon { addon, versions, moves: Vec::new() });
        return;
    }
    survey.blockers.extend(staying(read).map(|text| Reason::new(Key::AddonNotRolledOut, object(), text)));
    survey.risks.extend(taken_over(read).map(|text| Reason::new(Key::AddonManager, object(), text)));
    let from = read.version();
    let runs = AddonVersion { version: from.clone(), images: run, requires: None };
    let change = AddonWork::Manifests(change);
    let moves = vec![PendingMove { from, to: addon.version.clone(), change }];
    survey.addons.push(SurveyedAddon {
        addon,
        versions: vec![runs, AddonVersion::asked(addon, asked)],
        moves,
    });
}

/// The workloads that change and whose pods nothing would replace.
pub(super) fn staying(read: &ManifestsRead) -> impl Iterator<Item = String> {
    let differs = |object: &ObjectRef| {
        let found = read.objects.get(object);
        found.is_some_and(|found| matches!(found.standing, ObjectStanding::Differs { .. }))
    };
    let staying = read.workloads().filter(move |(workload, _)| differs(workload));
    staying.filter_map(|(workload, found)| {
        found.stays.map(|why| format!("nothing would replace the pods of {workload}: {why}"))
    })
}

/// The objects of which fields are taken over.
pub(super) fn taken_over(read: &ManifestsRead) -> impl Iterator<Item = String> {
    let takes_over =
        |standing: &ObjectStanding| matches!(standing, ObjectStanding::Differs { takes_over: true, .. });
    let taken = read.objects.iter().filter(move |(_, found)| takes_over(&found.standing));
    taken.map(|(of, _)| format!("fields of {of} are taken over from other managers"))
}

/// What keeps the objects of an addon from being changed.
pub(super) fn unusable(read: &ManifestsRead) -> impl Iterator<Item = (Key, String)> {
    let unread = read.unread().map(|(of, why)| {
        let key = if why.is_missing_right() { Key::RightMissing } else { Key::VersionUnknown };
        (key, format!("{of} cannot be compared: {}", why.words()))
    });
    let objections = read.objects.iter().filter_map(|(of, found)| found.objection(of));
    unread.into_iter().chain(objections.filter(|(key, _)| *key != Key::RightMissing))
}

pub(super) fn change(folder: &str, read: &ManifestsRead) -> ManifestsMove {
    let with = |wanted: fn(&ObjectStanding) -> bool| -> Vec<ObjectRef> {
        let objects = read.objects.iter().filter(|(_, found)| wanted(&found.standing));
        objects.map(|(object, _)| object.clone()).collect()
    };
    let diffs = read.objects.iter().filter_map(|(object, found)| match &found.standing {
        ObjectStanding::Differs { changes, .. } => Some((object.clone(), changes.clone())),
        _ => None,
    });
    let removed = read.gone.iter().filter(|(_, gone)| gone.is_ours());
    ManifestsMove {
        folder: folder.to_owned(),
        digest: read.question.digest.clone(),
        objects: read.question.objects.iter().map(|manifest| manifest.object.clone()).collect(),
        added: with(|standing| matches!(standing, ObjectStanding::Missing { .. })),
        changed: with(|standing| matches!(standing, ObjectStanding::Differs { .. })),
        removed: removed.map(|(object, _)| object.clone()).collect(),
        stuck: read
            .workloads()
            .filter(|(_, found)| matches!(found.progress, Progress::Failed(_)))
            .map(|(object, found)| StuckWorkload { object: object.clone(), generation: found.generation })
            .collect(),
        diffs: diffs.collect(),
    }
}

/// What somebody has changed by hand, the first of it.
pub(super) fn told_drift(read: &ManifestsRead) -> impl Iterator<Item = String> {
    read.drifted().map(|(object, text)| format!("{object} {text}")).take(MOST_DRIFTED)
}

/// The images of the workloads that are asked for, each after the one of the same repository that runs.
pub(super) fn images_of(read: &ManifestsRead) -> BTreeMap<String, String> {
    let asked = images_asked(&read.question.objects);
    let runs: Vec<&str> = read
        .workloads()
        .flat_map(|(_, workload)| workload.images.values().map(|image| image.image.as_str()))
        .collect();
    asked
        .into_iter()
        .map(|asked| {
            let same = runs.iter().find(|runs| repository(runs) == repository(&asked));
            (same.map_or_else(|| asked.clone(), |same| (*same).to_owned()), asked)
        })
        .collect()
}

/// The images of the workloads among objects, each once.
pub(super) fn images_asked(objects: &[Manifest]) -> Vec<String> {
    let images = objects.iter().flat_map(|manifest| {
        let containers = ["initContainers", "containers"].map(|list| {
            let path = format!("/spec/template/spec/{list}");
            manifest.body.pointer(&path).and_then(serde_json::Value::as_array)
        });
        let containers = containers.into_iter().flatten().flatten();
        containers.filter_map(|container| container.get("image")?.as_str()).collect::<Vec<_>>()
    });
    images.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()
}
