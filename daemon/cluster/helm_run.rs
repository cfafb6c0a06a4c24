//! What all runs of helm for a release have in common: their folder, their words, and the version of the program.

use std::path::Path;

use super::ClusterApi;
use super::helm_program::{HelmError, HelmOutput, HelmRun, LOOK, folder_of};
use crate::model::helm::{ReleaseAsked, ReleaseObjection};
use crate::model::live::CallFailure;
use crate::model::text::one_line;

/// The oldest helm, by major and minor, that notes labels on a revision from its beginning.
const OLDEST: (u64, u64) = (3, 13);
/// How much of helm's words is told.
const MOST_WORDS: usize = 600;
/// How helm says that the API server is away.
const AWAY: [&str; 4] =
    ["cluster unreachable", "connection refused", "context deadline exceeded", "i/o timeout"];
/// Where the values and the chart lie in the folder of a run.
pub(super) const VALUES: &str = "values.yaml";
pub(super) const CHART: &str = "chart";

impl ClusterApi {
    pub(super) async fn helm_version(&self, folder: &Path) -> Result<String, ReleaseObjection> {
        let text = self.look(folder, ["version", "--template", "{{.Version}}"]).await?;
        let version = text.trim();
        match numbers(version) {
            Some(numbers) if numbers >= OLDEST => Ok(version.to_owned()),
            _ => Err(ReleaseObjection::NoProgram(format!(
                "the program helm has the version {}, and Windlass needs 3.13 or later",
                one_line(version)
            ))),
        }
    }

    /// A run that changes nothing: what it prints.
    pub(super) async fn look<'s>(
        &self,
        folder: &Path,
        arguments: impl IntoIterator<Item = &'s str>,
    ) -> Result<String, ReleaseObjection> {
        let run = HelmRun { arguments: owned(arguments), folder, limit: LOOK };
        let output = self.helm_run(run).await.map_err(|error| no_program(&error))?;
        match output.succeeded {
            true => Ok(output.stdout),
            false if AWAY.iter().any(|away| output.stderr.contains(away)) => Err(not_read(&output.stderr)),
            false => Err(ReleaseObjection::Refused(words(&output.stderr))),
        }
    }

    /// A run that reads what the cluster has of a release. That it fails says nothing of the chart.
    pub(super) async fn read_of<'s>(
        &self,
        folder: &Path,
        arguments: impl IntoIterator<Item = &'s str>,
    ) -> Result<String, ReleaseObjection> {
        self.look(folder, arguments).await.map_err(|objection| match objection {
            ReleaseObjection::Refused(words) => not_read(&words),
            other => other,
        })
    }

    pub(super) async fn helm_run(&self, run: HelmRun<'_>) -> Result<HelmOutput, HelmError> {
        match &self.helm {
            Some(program) => program.run(run).await,
            None => Err(HelmError::Missing("helm".to_owned())),
        }
    }
}

pub(super) fn asked_folder(asked: &ReleaseAsked) -> Result<tempfile::TempDir, ReleaseObjection> {
    let values = asked.files.values.as_deref().map(|text| (VALUES.to_owned(), text));
    let chart = asked.files.chart.iter().map(|(path, text)| (format!("{CHART}/{path}"), text.as_str()));
    folder_of(values.into_iter().chain(chart)).map_err(|error| no_program(&error))
}

pub(super) fn owned<'s>(arguments: impl IntoIterator<Item = &'s str>) -> Vec<String> {
    arguments.into_iter().map(str::to_owned).collect()
}

pub(super) fn no_program(error: &HelmError) -> ReleaseObjection {
    match error {
        HelmError::Missing(_) => ReleaseObjection::NoProgram(error.to_string()),
        HelmError::Unable(_) | HelmError::Silent(_) => {
            ReleaseObjection::Unread(CallFailure::Other(error.to_string()))
        }
    }
}

/// The major and minor of helm's version. One that was built from its source prints no more: `v3.22`.
pub(super) fn numbers(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.strip_prefix('v')?.split(['.', '-', '+']).map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

fn not_read(text: &str) -> ReleaseObjection {
    ReleaseObjection::Unread(CallFailure::of(403, &words(text)))
}

/// How words are known that may have values of a Secret.
const SECRETS: [&str; 6] =
    ["Kind=Secret", "Secret \"", "kind Secret", "as a Secret", "Secret.", "valueUnstructured"];

/// Helm's words in one line, without values of a Secret and of the file of values.
pub(super) fn words(text: &str) -> String {
    let lines =
        text.lines().filter(|line| !line.starts_with("level=") && !line.starts_with("Use --debug flag"));
    let text = one_line(lines.collect::<Vec<_>>().join(" ").trim());
    let text = text.strip_prefix("Error: ").unwrap_or(&text);
    if text.contains("meet the specifications of the schema") {
        let places = text.split("at '").skip(1).filter_map(|rest| rest.split('\'').next());
        let places: Vec<&str> = places.collect();
        return format!("the values do not fit the chart's schema: {}", places.join(", "));
    }
    if SECRETS.iter().any(|sign| text.contains(sign)) {
        return "helm's words are not told, because they are about a Secret and may have its values; `helm template` shows them"
            .to_owned();
    }
    match text.char_indices().nth(MOST_WORDS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secrets_are_not_told() {
        assert_eq!(words("Error: a\nb"), "a b");
        let typed = "Error: /v1, Kind=Secret: failed: &value.valueUnstructured{Value:\"hunter2\"}";
        assert!(!words(typed).contains("hunter2"));
        let schema = "Error: values don't meet the specifications of the schema(s) in the following chart(s):\nweb:\n- at '/password': 'hunter2' does not match pattern";
        assert_eq!(words(schema), "the values do not fit the chart's schema: /password");
        let fail = "level=ERROR msg=x\nError: execution error at (web/a.yaml:1:2): name the Secret in auth\n\nUse --debug flag to render";
        assert_eq!(words(fail), "execution error at (web/a.yaml:1:2): name the Secret in auth");
        assert!(!words("Error: Secret \"a\" is invalid: data[x]: \"hunter2\"").contains("hunter2"));
    }
}
