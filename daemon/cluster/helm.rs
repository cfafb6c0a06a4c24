//! Asks about a release of Helm: what its records say, and how its objects compare with what its chart makes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde::Deserialize;

use super::chart::RenderedChart;
use super::helm_run::{asked_folder, words};
use super::manifest::{Versions, address_if_served};
use super::rendering::{Places, Rendered, manifests_of, objects_of};
use super::{CallError, ClusterApi, call};
use crate::live::{ObjectsAnswer, ReleaseAnswer};
use crate::model::addon::NO_VERSION;
use crate::model::helm::{
    LaterRendering, ReleaseAsked, ReleaseMark, ReleaseObjection, ReleaseRef, ReleaseRevision, Rendering,
};
use crate::model::live::CallFailure;
use crate::model::manifest::{AllManifests, FoundObject, ManifestsQuestion, ObjectRef};
use crate::model::names::{ADDON, ATTEMPT, CONTENT, RELEASE_NAME, RELEASE_NAMESPACE, REVISION, TIMEOUT};

/// One row of `helm history`.
#[derive(Deserialize)]
struct HistoryRow {
    revision: u64,
    chart: String,
    description: String,
}

impl ClusterApi {
    /// How a release is, and how its objects compare with what its chart makes.
    pub(super) async fn release(&self, question: &ManifestsQuestion, asked: &ReleaseAsked) -> ObjectsAnswer {
        let mut answer = ReleaseAnswer {
            revisions: Vec::new(),
            rendering: None,
            objection: None,
            has_namespace: true,
            foreign: Vec::new(),
            question: Arc::new(question.clone()),
        };
        match self.revisions(&asked.release).await {
            Ok(revisions) => answer.revisions = revisions,
            Err(error) => return unread(answer, ReleaseObjection::Unread(error.failure())),
        }
        let rendering = match self.rendering(asked, &answer.revisions).await {
            Ok(rendering) => rendering,
            Err(objection) => return unread(answer, objection),
        };
        answer.rendering = Some(Arc::clone(&rendering));
        answer.revisions.clone_from(&rendering.revisions);
        if answer.revisions.is_empty() {
            let namespaces = Api::<Namespace>::all(self.client.clone());
            match call(namespaces.get_metadata_opt(&asked.release.namespace)).await {
                Ok(found) => answer.has_namespace = found.is_some(),
                Err(error) => return unread(answer, ReleaseObjection::Unread(error.failure())),
            }
        }
        match self.foreign(&asked.release, &rendering).await {
            Ok(foreign) => answer.foreign = foreign,
            Err(why) => return unread(answer, ReleaseObjection::Unread(why)),
        }
        let same = asked.rendering.as_ref().is_some_and(|known| Arc::ptr_eq(known, &rendering));
        let mut all = AllManifests::default();
        rendering.objects.iter().for_each(|manifest| all.add(manifest));
        // The versions that come later are not compared with the cluster: the step before them changes it.
        let of_objects = ManifestsQuestion {
            digest: rendering.asked.digest.clone(),
            objects: Arc::clone(&rendering.objects),
            before: Arc::new(rendering.last.keys().cloned().collect()),
            all: Arc::new(all),
            known: if same { Arc::clone(&question.known) } else { Arc::default() },
            release: Some(Arc::new(ReleaseAsked {
                versions: vec![rendering.asked.clone()],
                rendering: Some(Arc::clone(&rendering)),
                ..asked.clone()
            })),
            ..question.clone()
        };
        let objects = self.objects(&of_objects).await;
        answer.question = Arc::new(of_objects);
        ObjectsAnswer { release: Some(answer), ..objects }
    }

    /// The objects that later versions add, and that are there already without being of the release. No step before changes that.
    async fn foreign(
        &self,
        release: &ReleaseRef,
        rendering: &Rendering,
    ) -> Result<Vec<ObjectRef>, CallFailure> {
        let known = |object: &ObjectRef| {
            rendering.last.contains_key(object)
                || rendering.objects.iter().any(|manifest| manifest.object == *object)
        };
        let later = rendering.later.iter().flat_map(|later| {
            let objects = later.objects.iter().map(|manifest| &manifest.object);
            objects.filter(|object| !later.first.contains(*object))
        });
        let added: BTreeSet<&ObjectRef> = later.filter(|object| !known(object)).collect();
        let served = self.served(added.iter().map(|object| &object.api_version)).await;
        let mut foreign = Vec::new();
        for object in added {
            // What has no place is not there.
            let Some(address) = address_if_served(object, &served, Versions::Own)? else { continue };
            let found = call(self.api_of(object, &address).get_metadata_opt(&object.name)).await;
            let found = found.map_err(|error| error.failure())?;
            let is = |key: &str, value: &str| {
                found
                    .as_ref()
                    .is_some_and(|found| found.annotations().get(key).is_some_and(|has| has == value))
            };
            let ours = is(RELEASE_NAME, &release.name) && is(RELEASE_NAMESPACE, &release.namespace);
            if found.is_some() && !ours {
                foreign.push(object.clone());
            }
        }
        Ok(foreign)
    }

    /// The revisions of a release, oldest first, without what only helm knows of them.
    pub(super) async fn revisions(&self, release: &ReleaseRef) -> Result<Vec<ReleaseRevision>, CallError> {
        let secrets = Api::<Secret>::namespaced(self.client.clone(), &release.namespace);
        let of_release = ListParams::default().labels(&format!("owner=helm,name={}", release.name));
        let list = call(secrets.list_metadata(&of_release)).await?;
        let mut all: Vec<ReleaseRevision> = list
            .items
            .iter()
            .filter_map(|secret| {
                let label = |key: &str| secret.labels().get(key).cloned();
                let number = label("version")?.parse().ok()?;
                // A later revision of somebody else has the labels of the one before it.
                let ours = label(REVISION).and_then(|noted| noted.parse().ok()) == Some(number);
                let mark = || {
                    Some(ReleaseMark {
                        addon: label(ADDON)?,
                        content: label(CONTENT)?,
                        attempt: label(ATTEMPT)?,
                        timeout_seconds: label(TIMEOUT)?.parse().ok()?,
                    })
                };
                Some(ReleaseRevision {
                    number,
                    status: label("status")?,
                    mark: mark().filter(|_| ours),
                    record: secret.name_any(),
                    found: FoundObject {
                        uid: secret.uid().unwrap_or_default(),
                        resource_version: secret.resource_version().unwrap_or_default(),
                    },
                    chart: None,
                    description: None,
                })
            })
            .collect();
        all.sort_by_key(|revision| revision.number);
        Ok(all)
    }

    /// The objects of the newest revision if it is as asked, else those that the chart makes with the version that is next, and with
    /// each that comes after it.
    async fn rendering(
        &self,
        asked: &ReleaseAsked,
        revisions: &[ReleaseRevision],
    ) -> Result<Arc<Rendering>, ReleaseObjection> {
        if let Some(known) = &asked.rendering
            && known.revisions.len() == revisions.len()
            && known.revisions.iter().zip(revisions).all(|(known, now)| known.found == now.found)
            && known.answers(asked)
        {
            return Ok(Arc::clone(known));
        }
        let folder = asked_folder(asked)?;
        let program = self.helm_version(folder.path()).await?;
        let namespace = asked.release.namespace.as_str();
        let told = self.told(&asked.release, folder.path(), revisions).await?;
        let kinds = self.all_kinds().await.map_err(|error| ReleaseObjection::Unread(error.failure()))?;
        let is_namespaced = |version: &str, kind: &str| {
            kinds
                .iter()
                .find(|(of, name, _)| of == version && name == kind)
                .map(|(_, _, namespaced)| *namespaced)
        };
        let places = Places { namespace, is_namespaced: &is_namespaced };
        let deployed = told.iter().rev().find(|revision| revision.is_deployed());
        let last = match deployed {
            Some(revision) => self.made(&asked.release, folder.path(), revision, &places).await?,
            None => Vec::new(),
        };
        let installed = installed(&told, asked);
        let ahead = asked.ahead_of(&installed);
        let Some((first, later)) = ahead.split_first() else {
            return Err(ReleaseObjection::Refused("no version of its chart is asked for".to_owned()));
        };
        let as_asked = told.last().is_some_and(|newest| newest.is_deployed() && newest.has(&first.digest));
        let apis = api_versions(&kinds);
        let of_run = (folder.path(), program.as_str());
        let rendered = if as_asked {
            let objects = manifests_of(&last, asked);
            let (kubernetes, again) = (first.kubernetes.clone(), BTreeMap::new());
            RenderedChart { objects, first: BTreeSet::new(), again, archive: None, kubernetes, refused: None }
        } else {
            self.render((asked, first), of_run, (!revisions.is_empty(), &apis), &places).await?
        };
        let mut after = Vec::new();
        for version in later {
            let rendered = self.render((asked, version), of_run, (true, &apis), &places).await;
            let RenderedChart { objects, first, again, archive, kubernetes, refused } =
                rendered.map_err(|objection| objection.of_version(&version.version))?;
            let asked = version.rendered_for(&kubernetes, refused);
            after.push(LaterRendering { asked, archive, objects, first, again });
        }
        Ok(Arc::new(Rendering {
            asked: first.rendered_for(&rendered.kubernetes, rendered.refused),
            as_asked,
            archive: rendered.archive,
            objects: rendered.objects,
            first: rendered.first,
            again: rendered.again,
            last: manifests_of(&last, asked).iter().map(|of| (of.object.clone(), of.body.clone())).collect(),
            later: after,
            program,
            installed,
            revisions: told,
        }))
    }

    /// The revisions with what only helm knows of them.
    async fn told(
        &self,
        release: &ReleaseRef,
        folder: &Path,
        revisions: &[ReleaseRevision],
    ) -> Result<Vec<ReleaseRevision>, ReleaseObjection> {
        let mut told = revisions.to_vec();
        if told.is_empty() {
            return Ok(told);
        }
        let arguments = ["history", &release.name, "--namespace", &release.namespace, "--output", "json"];
        let history = self.read_of(folder, arguments).await?;
        let rows: Vec<HistoryRow> = serde_json::from_str(&history).map_err(|error| {
            ReleaseObjection::Unread(CallFailure::Other(format!("helm's history cannot be read: {error}")))
        })?;
        for revision in &mut told {
            if let Some(row) = rows.iter().find(|row| row.revision == revision.number) {
                revision.chart = Some(row.chart.clone());
                revision.description = Some(words(&row.description));
            }
        }
        Ok(told)
    }

    /// The objects of a revision.
    async fn made(
        &self,
        release: &ReleaseRef,
        folder: &Path,
        revision: &ReleaseRevision,
        places: &Places<'_>,
    ) -> Result<Vec<Rendered>, ReleaseObjection> {
        let number = revision.number.to_string();
        let of = ["--namespace", &release.namespace, "--revision", &number];
        let text = self.read_of(folder, ["get", "manifest", &release.name].into_iter().chain(of)).await?;
        objects_of(&text, places).map_err(ReleaseObjection::Refused)
    }

    /// Every kind that is served, by its API version and name, and whether its objects are in namespaces.
    async fn all_kinds(&self) -> Result<Vec<(String, String, bool)>, CallError> {
        let groups = call(self.client.list_api_groups()).await?.groups;
        let versions =
            groups.iter().flat_map(|group| &group.versions).map(|version| version.group_version.clone());
        let versions: Vec<String> = ["v1".to_owned()].into_iter().chain(versions).collect();
        let served = self.served(versions.iter()).await;
        let mut kinds = Vec::new();
        for (version, served) in served {
            // A version whose server is away serves nothing, for helm too.
            for (kind, (_, namespaced)) in served.into_iter().flatten() {
                kinds.push((version.clone(), kind, namespaced));
            }
        }
        Ok(kinds)
    }
}

/// The versions and kinds that charts can ask for, `apps/v1,apps/v1/Deployment`, in arguments that are not too long.
fn api_versions(kinds: &[(String, String, bool)]) -> Vec<String> {
    let mut all: Vec<String> = kinds.iter().map(|(version, kind, _)| format!("{version}/{kind}")).collect();
    all.extend(kinds.iter().map(|(version, _, _)| version.clone()));
    all.sort();
    all.dedup();
    let mut arguments: Vec<String> = Vec::new();
    for version in all {
        match arguments.last_mut().filter(|argument| argument.len() + version.len() < LONGEST_ARGUMENT) {
            Some(argument) => {
                argument.push(',');
                argument.push_str(&version);
            }
            None => arguments.push(version),
        }
    }
    arguments
}

/// Linux takes no argument of 128 KiB.
const LONGEST_ARGUMENT: usize = 100 * 1024;

/// The version from which the release moves on: that of its deployed revision, or where none is deployed, of the last one that was.
fn installed(revisions: &[ReleaseRevision], asked: &ReleaseAsked) -> String {
    let deployed = revisions.iter().rev().find(|revision| revision.is_deployed());
    let Some(from) = deployed.or_else(|| revisions.iter().rev().find(|revision| revision.was_deployed()))
    else {
        return NO_VERSION.to_owned();
    };
    if let Some(of) = asked.versions.iter().find(|of| from.has(&of.digest)) {
        return of.version.clone();
    }
    from.chart.as_deref().and_then(version_of).unwrap_or_else(|| "unknown".to_owned())
}

/// The version in the name of a chart: `web-1.2.3`.
fn version_of(chart: &str) -> Option<String> {
    let starts = chart.match_indices('-').map(|(at, _)| at + 1);
    let mut versions = starts.filter_map(|at| chart.get(at..));
    versions
        .find(|rest| semver::Version::parse(rest.strip_prefix('v').unwrap_or(rest)).is_ok())
        .map(str::to_owned)
}

fn unread(answer: ReleaseAnswer, objection: ReleaseObjection) -> ObjectsAnswer {
    let release = ReleaseAnswer { objection: Some(objection), ..answer };
    ObjectsAnswer { objects: Vec::new(), gone: Vec::new(), release: Some(release) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_chart_is_behind_its_name() {
        for (chart, version) in [
            ("web-1.2.3", Some("1.2.3")),
            ("kube-state-metrics-v5.0.0-rc.1", Some("v5.0.0-rc.1")),
            ("web", None),
        ] {
            assert_eq!(version_of(chart).as_deref(), version, "{chart}");
        }
    }
}
