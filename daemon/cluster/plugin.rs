//! Runs the program that a kubeconfig names for credentials. What it was given is never shown: of a run that failed,
//! people see the command, how it ended, and what it wrote to its standard error.

use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tokio::process::Command;

use super::file::Exec;
use super::kubeconfig::{ClientCertificate, fits_header};
use super::secret::Secret;

/// How long it may take. It asks a cloud for a token, which takes seconds; what waits for a person waits for ever.
const PATIENCE: Duration = Duration::from_mins(1);
/// How much of its standard error a message quotes.
const MOST_SHOWN: usize = 600;

/// What the program gave.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) token: Option<Secret>,
    pub(super) identity: Option<ClientCertificate>,
    /// When it has to be asked again; `None` if it did not say.
    pub(super) until: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credential {
    api_version: String,
    status: Option<CredentialStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialStatus {
    token: Option<Secret>,
    client_certificate_data: Option<Secret>,
    client_key_data: Option<Secret>,
    expiration_timestamp: Option<String>,
}

/// Runs it once. The error names the command, and nothing that it was given.
pub(super) async fn run(exec: &Exec, cluster: &serde_json::Value) -> Result<Granted, String> {
    // People write arguments, and secrets among them, behind the command.
    let command_line = exec.command.display().to_string();
    let name = command_line.split_whitespace().next().unwrap_or_default();
    let with_arguments = command_line.contains(char::is_whitespace);
    let output = tokio::time::timeout(PATIENCE, command(exec, cluster).output()).await;
    let output = match output {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            let hint =
                exec.install_hint.as_deref().map(|hint| format!("; its kubeconfig says: {}", line(hint)));
            return Err(format!(
                "the exec plugin `{name}{}` is not installed where Windlass runs, or not on its PATH{}",
                if with_arguments { " …`, with more words, which belong under `args" } else { "" },
                hint.unwrap_or_default()
            ));
        }
        Ok(Err(error)) => return Err(format!("the exec plugin `{name}` cannot be run: {error}")),
        Err(_) => {
            return Err(format!("the exec plugin `{name}` did not end within {} s", PATIENCE.as_secs()));
        }
    };
    if !output.status.success() {
        let said = said(exec, cluster, &output.stderr);
        return Err(format!("the exec plugin `{name}` ended with {}{said}", output.status));
    }
    granted(exec, &output.stdout).map_err(|why| format!("the exec plugin `{name}` {why}"))
}

fn command(exec: &Exec, cluster: &serde_json::Value) -> Command {
    let cluster = if exec.provide_cluster_info { cluster.clone() } else { serde_json::Value::Null };
    let info = serde_json::json!({
        "kind": "ExecCredential",
        "apiVersion": exec.api_version,
        "spec": {"interactive": false, "cluster": cluster},
    });
    let mut command = Command::new(&exec.command);
    command.args(exec.args.iter().map(Secret::reveal));
    command.envs(exec.env.iter().map(|(name, value)| (name, value.reveal())));
    command.env("KUBERNETES_EXEC_INFO", info.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Its last words, without what it was given.
fn said(exec: &Exec, cluster: &serde_json::Value, stderr: &[u8]) -> String {
    // Its address of a proxy may hold a password.
    let proxy = cluster.get("proxy-url").and_then(serde_json::Value::as_str).map(Secret::new);
    let given = exec.env.iter().map(|(_, value)| value).chain(&exec.args).chain(&proxy);
    let text =
        given.fold(String::from_utf8_lossy(stderr).into_owned(), |text, secret| secret.taken_out_of(&text));
    let text = line(&text);
    if text.is_empty() { ", and said nothing".to_owned() } else { format!(", and said: {text}") }
}

/// One line of bounded length, of the end.
fn line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text: String = words.join(" ").chars().filter(|c| !c.is_control()).collect();
    let left_out = text.chars().count().saturating_sub(MOST_SHOWN);
    let kept: String = text.chars().skip(left_out).collect();
    if left_out == 0 { kept } else { format!("… {kept}") }
}

fn granted(exec: &Exec, stdout: &[u8]) -> Result<Granted, String> {
    let stdout = stdout.strip_prefix("\u{feff}".as_bytes()).unwrap_or(stdout);
    let credential: Credential = serde_json::from_slice(stdout)
        .map_err(|_| "printed something that is no ExecCredential".to_owned())?;
    if credential.api_version != exec.api_version {
        return Err(format!(
            "printed an ExecCredential of another apiVersion than {}, for which the kubeconfig asks",
            exec.api_version
        ));
    }
    let Some(status) = credential.status else {
        return Err("printed an ExecCredential without a status".into());
    };
    let given = |secret: Option<Secret>| secret.filter(|secret| !secret.is_empty());
    let identity = match (given(status.client_certificate_data), given(status.client_key_data)) {
        (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            return Err("gave a client certificate without its key, or a key without its certificate".into());
        }
    };
    let token = given(status.token);
    if !token.as_ref().is_none_or(fits_header) {
        return Err("gave a token that holds a line break, or another sign that no token has".into());
    }
    if token.is_none() && identity.is_none() {
        return Err("gave neither a token nor a client certificate".into());
    }
    let until = status.expiration_timestamp.map(|time| time.parse());
    let until = until.transpose().map_err(|_| "gave an expirationTimestamp that is no time".to_owned())?;
    Ok(Granted { token, identity, until })
}
