//! Pulls charts and lets helm render them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::ClusterApi;
use super::helm_program::{HelmRun, LOOK};
use super::helm_run::{CHART, VALUES, no_program, numbers, owned, words};
use super::rendering::{Places, Rendered, manifest_of, manifests_of, objects_of};
use crate::model::helm::{AskedVersion, Chart, ReleaseAsked, ReleaseObjection};
use crate::model::live::CallFailure;
use crate::model::manifest::{Manifest, ObjectRef};
use crate::model::text::one_line;

/// What is known of the objects that a release has, or would have.
pub(super) struct RenderedChart {
    pub(super) objects: Arc<[Manifest]>,
    /// Those of them that the chart has in `crds/`.
    pub(super) first: BTreeSet<ObjectRef>,
    pub(super) again: BTreeMap<ObjectRef, serde_json::Value>,
    pub(super) archive: Option<String>,
    /// For which version of Kubernetes it was rendered.
    pub(super) kubernetes: String,
    /// Why it was not rendered for the version that was asked for.
    pub(super) refused: Option<String>,
}

/// How helm says that a chart does not support a version of Kubernetes (`kubeVersion`).
const UNSUPPORTED: &str = "incompatible with Kubernetes";

impl ClusterApi {
    /// What a version of the chart makes, for the first version of Kubernetes that it supports.
    pub(super) async fn render(
        &self,
        (asked, version): (&ReleaseAsked, &AskedVersion),
        (folder, program): (&Path, &str),
        with: (bool, &[String]),
        places: &Places<'_>,
    ) -> Result<RenderedChart, ReleaseObjection> {
        let chart = self.chart(asked, &version.version, folder).await?;
        let of_run = (folder, program);
        let first = self.render_for(&version.kubernetes, (asked, &chart), of_run, with, places).await;
        let unsupported = |tried: &Result<_, ReleaseObjection>| matches!(tried, Err(ReleaseObjection::Refused(words)) if words.contains(UNSUPPORTED));
        if unsupported(&first) {
            for other in &version.others {
                let tried = self.render_for(other, (asked, &chart), of_run, with, places).await;
                if !unsupported(&tried) {
                    let refused = first.err().and_then(|objection| match objection {
                        ReleaseObjection::Refused(words) => Some(words),
                        _ => None,
                    });
                    return tried.map(|rendered| RenderedChart { refused, ..rendered });
                }
            }
        }
        first
    }

    /// What a chart makes, twice: what differs then is drawn anew each time.
    async fn render_for(
        &self,
        kubernetes: &str,
        (asked, (chart, archive)): (&ReleaseAsked, &(String, Option<String>)),
        (folder, program): (&Path, &str),
        (is_upgrade, apis): (bool, &[String]),
        places: &Places<'_>,
    ) -> Result<RenderedChart, ReleaseObjection> {
        let mut arguments =
            vec!["template", asked.release.name.as_str(), chart, "--namespace", places.namespace];
        arguments.extend(["--kube-version", kubernetes]);
        arguments.extend(apis.iter().flat_map(|apis| ["--api-versions", apis.as_str()]));
        arguments.extend(["--no-hooks", "--skip-tests", self.dry_run(kubernetes, program).await]);
        arguments.push("--include-crds");
        if is_upgrade {
            arguments.push("--is-upgrade");
        }
        if asked.files.values.is_some() {
            arguments.extend(["--values", VALUES]);
        }
        let text = match self.look(folder, arguments.clone()).await {
            // Another addon of the same run may bring the kind.
            Err(ReleaseObjection::Refused(words)) if words.contains("no matches for kind") => {
                arguments.retain(|argument| !argument.starts_with("--dry-run"));
                self.look(folder, arguments.clone()).await?
            }
            looked => looked?,
        };
        let objects = objects_of(&text, places).map_err(ReleaseObjection::Refused)?;
        let second = self.look(folder, arguments).await?;
        let again = objects_of(&second, places).map_err(ReleaseObjection::Refused)?;
        let differs =
            |of: &Rendered| objects.iter().any(|other| other.object == of.object && other.value != of.value);
        let again = again.iter().filter(|of| differs(of));
        let again = again.map(|of| (of.object.clone(), manifest_of(of, &asked.release, "").body)).collect();
        let first = objects.iter().filter(|of| of.first).map(|of| of.object.clone()).collect();
        Ok(RenderedChart {
            objects: manifests_of(&objects, asked),
            first,
            again,
            archive: archive.clone(),
            kubernetes: kubernetes.to_owned(),
            refused: None,
        })
    }

    /// How helm renders: with the objects that the chart looks up in the cluster, if it then still renders for the version of
    /// Kubernetes that is asked for. From its fourth major on helm takes that of the API server instead.
    async fn dry_run(&self, kubernetes: &str, program: &str) -> &'static str {
        let takes_servers = numbers(program).is_some_and(|(major, _)| major >= 4);
        let meets = !takes_servers
            || self.oldest_answer().await.ok().flatten().is_some_and(|runs| runs.to_string() == kubernetes);
        if meets { "--dry-run=server" } else { "--dry-run=client" }
    }

    /// Where a version of the chart lies in the folder of the run, and the digest of its archive.
    pub(super) async fn chart(
        &self,
        asked: &ReleaseAsked,
        version: &str,
        folder: &Path,
    ) -> Result<(String, Option<String>), ReleaseObjection> {
        let (named, repository): (&str, &[&str]) = match &asked.chart {
            Chart::Folder(_) => return Ok((CHART.to_owned(), None)),
            Chart::Oci(reference) => (reference, &[]),
            Chart::Repository { url, name } => (name, &["--repo", url]),
        };
        let unable = |error: std::io::Error| {
            ReleaseObjection::Unread(CallFailure::Other(format!(
                "a folder for the chart cannot be made: {error}"
            )))
        };
        let into = format!("pulled/{version}");
        std::fs::create_dir_all(folder.join(&into)).map_err(unable)?;
        let mut arguments = vec!["pull", named, "--version", version, "--destination", &into];
        arguments.extend(repository);
        let run = HelmRun { arguments: owned(arguments), folder, limit: LOOK };
        let output = self.helm_run(run).await.map_err(|error| no_program(&error))?;
        if !output.succeeded {
            return Err(ReleaseObjection::NoChart(words(&output.stderr)));
        }
        let pulled = || -> std::io::Result<Option<(String, Vec<u8>)>> {
            let Some(entry) = std::fs::read_dir(folder.join(&into))?.next() else { return Ok(None) };
            let path = entry?.path();
            let bytes = std::fs::read(&path)?;
            Ok(Some((path.display().to_string(), bytes)))
        };
        match pulled() {
            Ok(Some((path, bytes))) => {
                self.is_version(version, folder, &path).await?;
                Ok((path, Some(format!("sha256:{:x}", Sha256::digest(bytes)))))
            }
            Ok(None) => Err(ReleaseObjection::NoChart("helm pulled no archive".to_owned())),
            Err(error) => {
                Err(ReleaseObjection::NoChart(format!("the chart's archive cannot be read: {error}")))
            }
        }
    }

    /// Helm takes the closest version where a repository has not the very one.
    async fn is_version(&self, asked: &str, folder: &Path, path: &str) -> Result<(), ReleaseObjection> {
        let about = self.look(folder, ["show", "chart", path]).await?;
        let version =
            about.lines().find_map(|line| line.strip_prefix("version:")).map(str::trim).unwrap_or_default();
        let plain = |version: &str| version.trim_matches(['"', '\'']).trim_start_matches('v').to_owned();
        if plain(version) == plain(asked) {
            return Ok(());
        }
        Err(ReleaseObjection::NoChart(format!(
            "its repository has no version {} and gives {} instead",
            asked,
            one_line(version)
        )))
    }
}
