//! The addons that are charts: what helm would add, change and remove, and what keeps it from that.

use super::Inventory;
use super::addons::{AddonSurvey, PendingMove, SurveyedAddon};
use super::compatible::AddonVersion;
use super::manifests::{change, images_of, staying, taken_over, told_drift, unusable};
use crate::model::addon::{Addon, AddonWork};
use crate::model::decision::{Key, Reason};
use crate::model::helm::{AddonHelm, HelmMove, ReleaseRead};
use crate::model::manifest::{ManifestsMove, ManifestsRead, ObjectRef, ObjectStanding};

pub(super) fn look_at_release<'a>(
    inventory: &Inventory,
    survey: &mut AddonSurvey<'a>,
    addon: &'a Addon,
    of: &AddonHelm,
) {
    let object = || format!("addon/{}", addon.name);
    let read = inventory.live.manifests_of(&addon.name, &of.digest);
    let Some((read, release)) = read.and_then(|read| Some((read, read.release.as_ref()?))) else {
        let text = format!("{} has not been looked at yet", of.release);
        return survey.blockers.push(Reason::new(Key::VersionUnknown, object(), text));
    };
    if let Some((key, text)) = release.told_objection(Key::VersionUnknown) {
        return survey.blockers.push(Reason::new(key, object(), text));
    }
    if let Some(text) = of_others(release, &of.label) {
        survey.blockers.push(Reason::new(Key::AddonConflict, object(), text));
    }
    let (run, asked): (Vec<String>, Vec<String>) = images_of(read).into_iter().unzip();
    if release.has(&of.digest) {
        survey.risks.extend(told_drift(read).map(|text| Reason::new(Key::AddonDrifted, object(), text)));
        for (workload, found) in read.workloads() {
            survey.unchanged(addon, &workload.to_string(), found);
        }
        let versions = vec![AddonVersion::asked(addon, asked)];
        return survey.addons.push(SurveyedAddon { addon, versions, moves: Vec::new() });
    }
    survey.blockers.extend(unusable(read).map(|(key, text)| Reason::new(key, object(), text)));
    if let Some(newest) = release.newest().filter(|newest| newest.mark.is_none()) {
        let text = format!("somebody else made the newest revision of {}: {}", of.release, newest.words());
        survey.risks.push(Reason::new(Key::AddonManager, object(), text));
    }
    survey.risks.extend(left_alone(read, release).map(|text| Reason::new(Key::AddonManager, object(), text)));
    survey.risks.extend(taken_over(read).map(|text| Reason::new(Key::AddonManager, object(), text)));
    survey.blockers.extend(staying(read).map(|text| Reason::new(Key::AddonNotRolledOut, object(), text)));
    let from = installed(release);
    let change = AddonWork::Helm(Box::new(of_release(of, read, release)));
    let runs = AddonVersion { version: from.clone(), images: run, requires: None };
    survey.addons.push(SurveyedAddon {
        addon,
        versions: vec![runs, AddonVersion::asked(addon, asked)],
        moves: vec![PendingMove { from, to: addon.version.clone(), change }],
    });
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

/// The version of the chart that is installed.
fn installed(release: &ReleaseRead) -> String {
    let rendering = release.rendering.as_ref();
    let version = rendering.and_then(|rendering| rendering.deployed.clone());
    version.unwrap_or_else(|| if release.deployed().is_some() { "unknown" } else { "none" }.to_owned())
}

fn of_release(of: &AddonHelm, read: &ManifestsRead, release: &ReleaseRead) -> HelmMove {
    HelmMove {
        release: of.release.clone(),
        archive: release.rendering.as_ref().and_then(|rendering| rendering.archive.clone()),
        revision: release.deployed().map(|revision| revision.number),
        objects: kept(release, change(&of.chart.to_string(), read)),
    }
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
