//! The format of a kubeconfig, as far as it is used. Unknown keys are passed over, as kubectl does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ConnectError;
use super::secret::Secret;

/// The versions of `ExecCredential` that kubectl knows.
const EXEC_VERSIONS: [&str; 2] = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

#[derive(Debug, Default, Deserialize)]
pub(super) struct KubeconfigFile {
    clusters: Option<Vec<NamedCluster>>,
    users: Option<Vec<NamedUser>>,
    contexts: Option<Vec<NamedContext>>,
}

#[derive(Debug, Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Option<ClusterEntry>,
}

#[derive(Debug, Deserialize)]
struct NamedUser {
    name: String,
    user: Option<UserEntry>,
}

#[derive(Debug, Deserialize)]
struct NamedContext {
    name: String,
    context: Option<Context>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Context {
    pub(super) cluster: String,
    pub(super) user: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct ClusterEntry {
    pub(super) server: Option<String>,
    pub(super) tls_server_name: Option<String>,
    pub(super) insecure_skip_tls_verify: Option<bool>,
    pub(super) certificate_authority: Option<String>,
    pub(super) certificate_authority_data: Option<Secret>,
    pub(super) proxy_url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct UserEntry {
    pub(super) client_certificate: Option<String>,
    pub(super) client_certificate_data: Option<Secret>,
    pub(super) client_key: Option<String>,
    pub(super) client_key_data: Option<Secret>,
    pub(super) token: Option<Secret>,
    #[serde(rename = "tokenFile")]
    pub(super) token_file: Option<String>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    #[serde(rename = "as")]
    pub(super) impersonate: Option<String>,
    #[serde(rename = "as-uid")]
    pub(super) impersonate_uid: Option<String>,
    #[serde(rename = "as-groups")]
    pub(super) impersonate_groups: Option<Vec<String>>,
    #[serde(rename = "as-user-extra")]
    pub(super) impersonate_extra: Option<BTreeMap<String, Vec<String>>>,
    pub(super) exec: Option<RawExec>,
    pub(super) auth_provider: Option<AuthProvider>,
}

#[derive(Deserialize)]
pub(super) struct AuthProvider {
    pub(super) name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawExec {
    api_version: Option<String>,
    command: Option<String>,
    args: Option<Vec<Secret>>,
    env: Option<Vec<EnvVar>>,
    install_hint: Option<String>,
    interactive_mode: Option<String>,
    provide_cluster_info: bool,
}

#[derive(Deserialize)]
struct EnvVar {
    name: String,
    value: Option<Secret>,
}

/// A program that prints credentials, checked.
pub(super) struct Exec {
    pub(super) api_version: String,
    pub(super) command: PathBuf,
    /// People write secrets into both.
    pub(super) args: Vec<Secret>,
    pub(super) env: Vec<(String, Secret)>,
    pub(super) install_hint: Option<String>,
    pub(super) provide_cluster_info: bool,
}

impl std::fmt::Debug for Exec {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("(an exec plugin)")
    }
}

impl std::fmt::Debug for UserEntry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("(a user of a kubeconfig)")
    }
}

/// The first document of a file: kubectl reads no further.
fn first_document(text: &str) -> &str {
    let mut seen = false;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if seen && line.trim_end() == "---" {
            return text.get(..at).unwrap_or(text);
        }
        seen |= !matches!(line.trim(), "" | "---") && !line.trim_start().starts_with('#');
        at += line.len();
    }
    text
}

impl KubeconfigFile {
    /// The words of the YAML reader may hold what was read, so only the place of an error is told.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ConnectError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let options = serde_saphyr::options! {
            strict_booleans: true,
            with_snippet: false,
            duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        };
        let read: Result<Option<Self>, _> =
            serde_saphyr::from_str_with_options(first_document(text), options);
        read.map(Option::unwrap_or_default).map_err(|error| {
            let place = error.location().map_or_else(String::new, |at| format!(":{}:{}", at.line(), at.column()));
            ConnectError::Read {
                path: format!("{}{place}", path.display()),
                why: "this is not what a kubeconfig has there; the text is not shown, because it may be a credential"
                    .to_owned(),
            }
        })
    }

    pub(super) fn context(&self, name: &str) -> Option<&Context> {
        self.contexts.iter().flatten().find(|known| known.name == name)?.context.as_ref()
    }

    pub(super) fn context_names(&self) -> impl Iterator<Item = &str> {
        self.contexts.iter().flatten().map(|known| known.name.as_str())
    }

    pub(super) fn cluster(&self, name: &str) -> Option<&ClusterEntry> {
        self.clusters.iter().flatten().find(|known| known.name == name)?.cluster.as_ref()
    }

    pub(super) fn user(&self, name: &str) -> Option<&UserEntry> {
        self.users.iter().flatten().find(|known| known.name == name)?.user.as_ref()
    }
}

impl UserEntry {
    pub(super) fn has_certificate(&self) -> bool {
        let data = self.client_certificate_data.as_ref().is_some_and(|data| !data.is_empty());
        data || self.client_certificate.as_deref().is_some_and(|path| !path.is_empty())
    }
}

impl RawExec {
    /// What kubectl asks of it. A command with a `/` is relative to the folder of its kubeconfig; any other is looked
    /// for on the `PATH`.
    pub(super) fn checked(&self, folder: Option<&Path>) -> Result<Exec, String> {
        let command = self.command.as_deref().unwrap_or_default();
        if command.is_empty() {
            return Err("its exec plugin has no `command`".into());
        }
        let version = self.api_version.as_deref().unwrap_or_default();
        if !EXEC_VERSIONS.contains(&version) {
            let known = EXEC_VERSIONS.join("` or `");
            // What stands here by mistake may be a credential.
            let shown = if version.starts_with("client.authentication.k8s.io/") { version } else { "…" };
            return Err(format!("its exec plugin has the apiVersion `{shown}`: write `{known}`"));
        }
        match self.interactive_mode.as_deref() {
            Some("Never" | "IfAvailable") => {}
            None if version.ends_with("/v1beta1") => {}
            None => return Err("its exec plugin has no interactiveMode: write `Never`".into()),
            Some("Always") => {
                let text = "its exec plugin has `interactiveMode: Always`, and nobody is there to be asked: write \
                            `Never`, and credentials that need no person";
                return Err(text.into());
            }
            Some(_) => {
                return Err("its exec plugin has an interactiveMode that is none: write `Never`".into());
            }
        }
        let command = match folder {
            Some(folder) if command.contains('/') => folder.join(command),
            Some(_) | None => PathBuf::from(command),
        };
        if self.env.iter().flatten().any(|variable| variable.name.is_empty()) {
            return Err("its exec plugin has an `env` without a name".into());
        }
        let value = |variable: &EnvVar| variable.value.clone().unwrap_or_default();
        Ok(Exec {
            api_version: version.to_owned(),
            command,
            args: self.args.clone().unwrap_or_default(),
            env: self.env.iter().flatten().map(|variable| (variable.name.clone(), value(variable))).collect(),
            install_hint: self.install_hint.clone().filter(|hint| !hint.trim().is_empty()),
            provide_cluster_info: self.provide_cluster_info,
        })
    }
}
