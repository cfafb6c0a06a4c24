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
        if output.succeeded {
            Ok(output.stdout)
        } else {
            Err(ReleaseObjection::Refused(words(&output.stderr)))
        }
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

/// Helm's words in one line. Of a Secret that is refused, the words may have values.
pub(super) fn words(text: &str) -> String {
    let text = one_line(text.trim());
    let text = text.strip_prefix("Error: ").unwrap_or(&text);
    if text.contains("Secret ") || text.contains("Secret.") {
        return "helm's words are not told, because they are about a Secret and may have its values"
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
        assert!(!words("Error: Secret \"a\" is invalid: data[x]: \"hunter2\"").contains("hunter2"));
    }
}
