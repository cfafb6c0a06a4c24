//! Lets helm move a release.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};

use super::helm_program::{HelmOutput, HelmRun};
use super::helm_run::{VALUES, asked_folder, no_program, owned, words};
use super::write::refused;
use super::{ClusterApi, call};
use crate::live::WriteAnswer;
use crate::model::helm::{HelmAct, HelmCall, ReleaseObjection, ReleaseRef};
use crate::model::live::CallFailure;
use crate::model::manifest::FoundObject;
use crate::model::names::{ADDON, ATTEMPT, CONTENT, REVISION, TIMEOUT};

/// Revisions that helm keeps of a release, as it does by itself.
const HISTORY: &str = "10";
/// How much longer than its own limit a run of helm may take.
const MARGIN: Duration = Duration::from_secs(30);

impl ClusterApi {
    /// Lets helm move a release that is as it was read.
    pub async fn helm(&self, of: &HelmCall) -> WriteAnswer {
        let release = &of.asked.release;
        match self.revisions(release).await {
            Ok(revisions) if revisions.last().map_or(0, |newest| newest.number) == of.newest => {}
            Ok(_) => return WriteAnswer::Stale(format!("somebody changed {release} meanwhile")),
            Err(error) => return refused(&error),
        }
        if let HelmAct::Forget { record, found } = &of.act {
            return self.forget(release, record, found).await;
        }
        match self.act(of).await {
            Ok(output) if output.succeeded => WriteAnswer::Done,
            Ok(output) => WriteAnswer::Failed(CallFailure::of(403, &words(&output.stderr))),
            Err(ReleaseObjection::Unread(why)) => WriteAnswer::Failed(why),
            Err(
                ReleaseObjection::NoProgram(words)
                | ReleaseObjection::NoChart(words)
                | ReleaseObjection::Refused(words),
            ) => WriteAnswer::Failed(CallFailure::Other(words)),
        }
    }

    async fn act(&self, of: &HelmCall) -> Result<HelmOutput, ReleaseObjection> {
        let asked = &of.asked;
        let folder = asked_folder(asked)?;
        let (name, namespace) = (asked.release.name.as_str(), asked.release.namespace.as_str());
        let timeout = format!("{}s", of.timeout_seconds);
        let (chart, labels, to);
        let mut arguments = match &of.act {
            HelmAct::Upgrade { archive, mark, creates_namespace, takes_over } => {
                let pulled = self.chart(asked, &of.version, folder.path()).await?;
                if pulled.1 != *archive {
                    let text = format!(
                        "the archive of {} {} is another one than the plan has: {}, and not {}",
                        asked.chart,
                        of.version,
                        pulled.1.as_deref().unwrap_or("none"),
                        archive.as_deref().unwrap_or("none")
                    );
                    return Err(ReleaseObjection::NoChart(text));
                }
                chart = pulled.0;
                labels = format!(
                    "{ADDON}={},{CONTENT}={},{ATTEMPT}={},{TIMEOUT}={},{REVISION}={}",
                    mark.addon,
                    mark.content,
                    mark.attempt,
                    mark.timeout_seconds,
                    of.newest + 1
                );
                let mut arguments =
                    vec!["upgrade", name, &chart, "--install", "--reset-values", "--labels", &labels];
                if asked.files.values.is_some() {
                    arguments.extend(["--values", VALUES]);
                }
                if *takes_over {
                    arguments.extend(["--server-side=true", "--force-conflicts"]);
                }
                if *creates_namespace {
                    arguments.push("--create-namespace");
                }
                arguments
            }
            HelmAct::Rollback { to: revision } => {
                to = revision.to_string();
                // A hook that fails would leave the rollback pending.
                vec!["rollback", name, &to, "--no-hooks"]
            }
            HelmAct::Forget { .. } => {
                return Err(ReleaseObjection::Refused("there is nothing to run".to_owned()));
            }
        };
        arguments.extend(["--namespace", namespace, "--timeout", &timeout, "--history-max", HISTORY]);
        let limit = Duration::from_secs(of.timeout_seconds.unsigned_abs()) + MARGIN;
        let run = HelmRun { arguments: owned(arguments), folder: folder.path(), limit };
        self.helm_run(run).await.map_err(|error| no_program(&error))
    }

    /// Deletes the record of a revision, and nothing that belongs to the release.
    async fn forget(&self, release: &ReleaseRef, record: &str, found: &FoundObject) -> WriteAnswer {
        let only = Preconditions {
            uid: Some(found.uid.clone()),
            resource_version: Some(found.resource_version.clone()),
        };
        let params = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
        let secrets = Api::<Secret>::namespaced(self.client.clone(), &release.namespace);
        match call(secrets.delete(record, &params)).await {
            Ok(_) => WriteAnswer::Done,
            Err(error) if error.code() == 404 => WriteAnswer::Done,
            Err(error) => refused(&error),
        }
    }
}
