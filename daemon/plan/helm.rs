//! The addons that are charts: what helm would add, change and remove, and what keeps it from that.

use super::Inventory;
use super::addons::{AddonSurvey, PendingMove, SurveyedAddon};
use super::compatible::AddonVersion;
use super::manifests::{change, images_asked, images_of, staying, taken_over, told_drift, unusable};
use crate::model::addon::{Addon, AddonVia, AddonWork};
use crate::model::decision::{Key, Reason};
use crate::model::helm::{AddonHelm, HelmMove, ReleaseRead, Rendering};
use crate::model::manifest::{ManifestsMove, ManifestsRead, ObjectRef, ObjectStanding};
use crate::model::version::Version;

pub(super) fn look_at_release<'a>(
    inventory: &Inventory,
    survey: &mut AddonSurvey<'a>,
    addon: &'a Addon,
    of: &AddonHelm,
) {
    let object = || format!("addon/{}", addon.name);
    let unseen = || {
        let text = format!("{} has not been looked at yet", of.release);
        Reason::new(Key::VersionUnknown, object(), text)
    };
    let read = inventory.live.addon_manifests.get(&addon.name);
    let read = read.filter(|read| of.digests.values().any(|digest| *digest == read.question.digest));
    let Some((read, release)) = read.and_then(|read| Some((read, read.release.as_ref()?))) else {
        return survey.blockers.push(unseen());
    };
    if let Some((key, text)) = release.told_objection(Key::VersionUnknown) {
        return survey.blockers.push(Reason::new(key, object(), text));
    }
    if let Some(text) = of_others(release, &of.label) {
        survey.blockers.push(Reason::new(Key::AddonConflict, object(), text));
    }
    let (run, asked): (Vec<String>, Vec<String>) = images_of(read).into_iter().unzip();
    if of.digests.get(&addon.version).is_some_and(|digest| release.has(digest)) {
        survey.risks.extend(told_drift(read).map(|text| Reason::new(Key::AddonDrifted, object(), text)));
        for (workload, found) in read.workloads() {
            survey.unchanged(addon, &workload.to_string(), found);
        }
        let versions = vec![AddonVersion::asked(addon, asked)];
        return survey.addons.push(SurveyedAddon { addon, versions, moves: Vec::new() });
    }
    let from = release.installed().to_owned();
    let path = addon.path_from(&from);
    // In a run only the version of one step is looked at.
    let Some(rendering) = release.rendering.as_ref().filter(|rendering| is_whole(rendering, &path)) else {
        return survey.blockers.push(unseen());
    };
    speak_against(survey, addon, of, (read, release, rendering));
    let images = [asked].into_iter().chain(rendering.later.iter().map(|later| images_asked(&later.objects)));
    let ahead = path.into_iter().zip(images);
    let ahead =
        ahead.map(|(via, images)| AddonVersion { version: via.version, images, requires: via.requires });
    let requires = addon.requires_of(&from).map(str::to_owned);
    let versions = [AddonVersion { version: from, images: run, requires }].into_iter().chain(ahead);
    let versions: Vec<AddonVersion> = versions.collect();
    let moves =
        versions.windows(2).zip(changes_of(of, read, release, rendering)).filter_map(|(pair, change)| {
            let [from, to] = pair else { return None };
            let (from, to) = (from.version.clone(), to.version.clone());
            Some(PendingMove { from, to, change: AddonWork::Helm(Box::new(change)) })
        });
    let moves = moves.collect();
    survey.addons.push(SurveyedAddon { addon, versions, moves });
}

/// What is known against the move, beside the versions.
fn speak_against(
    survey: &mut AddonSurvey<'_>,
    addon: &Addon,
    of: &AddonHelm,
    (read, release, rendering): (&ManifestsRead, &ReleaseRead, &Rendering),
) {
    let object = || format!("addon/{}", addon.name);
    survey.blockers.extend(unusable(read).map(|(key, text)| Reason::new(key, object(), text)));
    if let Some(newest) = release.newest().filter(|newest| newest.mark.is_none()) {
        let text = format!("somebody else made the newest revision of {}: {}", of.release, newest.words());
        survey.risks.push(Reason::new(Key::AddonManager, object(), text));
    }
    survey.risks.extend(left_alone(read, release).map(|text| Reason::new(Key::AddonManager, object(), text)));
    survey.risks.extend(taken_over(read).map(|text| Reason::new(Key::AddonManager, object(), text)));
    survey.blockers.extend(staying(read).map(|text| Reason::new(Key::AddonNotRolledOut, object(), text)));
    survey.blockers.extend(release.foreign.iter().map(|foreign| {
        let text = format!(
            "{foreign}, which a later version adds, is there already and is not one of {}: helm does not take it over",
            of.release
        );
        Reason::new(Key::AddonConflict, object(), text)
    }));
    survey
        .risks
        .extend(left_later(rendering, release).map(|text| Reason::new(Key::AddonManager, object(), text)));
}

/// True if all versions of the path were rendered.
fn is_whole(rendering: &Rendering, path: &[AddonVia]) -> bool {
    let rendered = rendering.asked_versions().map(|asked| asked.version.as_str());
    rendered.eq(path.iter().map(|via| via.version.as_str()))
}

/// Why the chart has to be rendered once more: a step comes where the API servers run another version than the one for which its
/// chart was rendered.
pub(super) fn rendered_for_another<'a>(
    inventory: &'a Inventory<'_>,
    addon: &'a Addon,
    steps: impl Iterator<Item = (&'a str, &'a Version)>,
) -> Option<Reason> {
    let rendering = inventory.live.addon_manifests.get(&addon.name)?.rendering()?;
    let mut steps = steps;
    steps.find_map(|(to, at)| {
        let asked = rendering.asked_versions().find(|asked| asked.version == to)?;
        let meets = at.to_string();
        if let Some((_, words)) = asked.refused.as_ref().filter(|(refused, _)| *refused == meets) {
            let text = format!("its step to {to} comes where the API servers run {at}: {words}");
            return Some(Reason::new(Key::AddonRefused, format!("addon/{}", addon.name), text));
        }
        (asked.kubernetes != meets).then(|| {
            let text = format!(
                "{to} was rendered for Kubernetes {}, and its step comes where the API servers run {at}: it is being rendered \
                 for that",
                asked.kubernetes
            );
            Reason::new(Key::VersionUnknown, format!("addon/{}", addon.name), text)
        })
    })
}

/// Helm refuses to touch a release while an upgrade of it is on its way; whose that is decides who may end it.
fn of_others(release: &ReleaseRead, label: &str) -> Option<String> {
    let newest = release.newest().filter(|newest| newest.is_pending())?;
    (!release.left_by(label)).then(|| {
        format!(
            "{} is {} by somebody else ({}): helm changes nothing until that has ended; `helm rollback {} -n {}` ends one \
             that was interrupted",
            release.release,
            newest.status,
            newest.words(),
            release.release.name,
            release.release.namespace
        )
    })
}

/// The move to each version that was rendered: of the first by what the API server says, of the others by what their renderings
/// show.
fn changes_of(
    of: &AddonHelm,
    read: &ManifestsRead,
    release: &ReleaseRead,
    rendering: &Rendering,
) -> Vec<HelmMove> {
    let later: Vec<String> = rendering.later.iter().map(|later| later.asked.digest.clone()).collect();
    let first = HelmMove {
        release: of.release.clone(),
        archive: rendering.archive.clone(),
        revision: release.deployed().map(|revision| revision.number),
        follows: false,
        later: later.clone(),
        objects: kept(release, change(&of.chart.to_string(), read)),
    };
    let others = rendering.later.iter().zip(release.later.iter()).enumerate();
    let others = others.map(|(index, (rendered, version))| HelmMove {
        release: of.release.clone(),
        archive: rendered.archive.clone(),
        revision: None,
        follows: true,
        later: later.iter().skip(index + 1).cloned().collect(),
        objects: version.change.clone(),
    });
    [first].into_iter().chain(others).collect()
}

/// What later versions have in `crds/`, and those before them have not, or not so.
fn left_later<'a>(rendering: &'a Rendering, release: &'a ReleaseRead) -> impl Iterator<Item = String> + 'a {
    let later = rendering.later.iter().zip(release.later.iter());
    let left =
        later.flat_map(|(rendered, version)| version.left.iter().map(move |object| (rendered, object)));
    left.map(|(rendered, object)| {
        format!(
            "helm neither makes nor changes {object}, which the chart has in `crds/` and which is new or another one with {}: \
             apply it by an addon of manifests, and name that in `after`",
            rendered.asked.version
        )
    })
}

/// The change without what helm does not do: it makes what a chart has in `crds/` with the first revision, where it is not there,
/// and never again.
fn kept(release: &ReleaseRead, change: ManifestsMove) -> ManifestsMove {
    let Some(rendering) = &release.rendering else { return change };
    let is_first = |object: &&ObjectRef| rendering.first.contains(*object);
    let installs = release.revisions.is_empty();
    let left = |objects: &[ObjectRef], all: bool| -> Vec<ObjectRef> {
        objects.iter().filter(|object| all || !is_first(object)).cloned().collect()
    };
    ManifestsMove { added: left(&change.added, installs), changed: left(&change.changed, false), ..change }
}

/// What the chart has in `crds/` and the cluster has not, or not so: helm leaves that as it is.
fn left_alone<'a>(read: &'a ManifestsRead, release: &'a ReleaseRead) -> impl Iterator<Item = String> + 'a {
    let first = release.rendering.iter().flat_map(|rendering| &rendering.first);
    let installs = release.revisions.is_empty();
    first.filter_map(move |object| {
        let what = match &read.objects.get(object)?.standing {
            ObjectStanding::Missing { .. } if !installs => "does not make",
            ObjectStanding::Differs { .. } => "does not change",
            _ => return None,
        };
        Some(format!(
            "helm {what} {object}, which the chart has in `crds/`: apply it by an addon of manifests, and name that in `after`"
        ))
    })
}
