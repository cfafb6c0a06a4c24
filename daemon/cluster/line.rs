//! The line to one cluster: a client that is made again when its credentials are renewed. It watches the kubeconfig and
//! every file that this names, the end of what a plugin granted, and the answer 401. It knows no request.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use kube::config::AuthInfo;
use kube::{Client, Config};
use tokio::sync::Mutex;

use super::kubeconfig::{self, Access, ClientCertificate, Login, Trust};
use super::secret::Secret;
use super::{CALL, ConnectError, chain, plugin, tls};
use crate::clock::Clock;

/// What a plugin granted is asked for again this long before its end, so that no request is refused.
const BEFORE_END: SignedDuration = SignedDuration::from_secs(60);
/// A server that says 401 does so for each watch. Credentials are read again at most this often for it.
const REST: SignedDuration = SignedDuration::from_secs(10);

/// A client over the line: it stays the same while the credentials change.
pub(super) async fn client(paths: &[PathBuf], context: &str) -> Result<Client, ConnectError> {
    let line = RenewedLine::open(paths.to_vec(), context.to_owned()).await?;
    let line = Arc::new(line);
    let service = tower::service_fn(move |request: Request<Body>| {
        let line = Arc::clone(&line);
        async move { line.send(request).await }
    });
    Ok(Client::new(service, "default"))
}

struct RenewedLine {
    paths: Vec<PathBuf>,
    context: String,
    state: Mutex<LineState>,
}

struct LineState {
    client: Client,
    /// The files that the client was made from, as they were.
    files: Vec<(PathBuf, Stamp)>,
    until: Option<Timestamp>,
    made: Timestamp,
    refused: bool,
}

/// What tells that a file was written: a projected volume swaps a link, an editor a file, `kubectl` the content.
type Stamp = Option<(std::time::SystemTime, u64, u64)>;

impl RenewedLine {
    async fn open(paths: Vec<PathBuf>, context: String) -> Result<Self, ConnectError> {
        let state = Mutex::new(LineState::new(&paths, &context).await?);
        Ok(Self { paths, context, state })
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let client = self.current().await;
        let answer = client.send(request).await;
        if answer.as_ref().is_ok_and(|answer| answer.status() == StatusCode::UNAUTHORIZED) {
            self.state.lock().await.refused = true;
        }
        answer
    }

    /// The client, made again if something says that its credentials are old. What cannot be read now is told, and the
    /// old client goes on: a file may be in the middle of being written.
    async fn current(&self) -> Client {
        let mut state = self.state.lock().await;
        let now = Clock::machine().now();
        let rested = now.duration_since(state.made) >= REST;
        let ends = state.until.is_some_and(|until| now.duration_since(until) >= -BEFORE_END);
        let changed = state.files.iter().any(|(path, then)| stamp(path) != *then);
        if changed || (rested && (ends || state.refused)) {
            match LineState::new(&self.paths, &self.context).await {
                Ok(new) => {
                    tracing::info!(context = self.context, "credentials of the cluster were read again");
                    *state = new;
                }
                Err(error) => {
                    tracing::warn!(context = self.context, "credentials cannot be read again: {error}");
                    state.made = now;
                    for (path, then) in &mut state.files {
                        *then = stamp(path);
                    }
                }
            }
        }
        state.client.clone()
    }
}

impl LineState {
    async fn new(paths: &[PathBuf], context: &str) -> Result<Self, ConnectError> {
        // First the stamps: what is written meanwhile is then read once more.
        let before = Clock::machine().now();
        let access = kubeconfig::read(paths, context)?;
        let files = access.files.iter().map(|path| (path.clone(), stamp(path))).collect();
        let wrong = |object: &str, why: String| ConnectError::Entry {
            path: kubeconfig::shown(paths),
            object: object.to_owned(),
            why,
        };
        let user = format!("user `{}`", access.user);
        let mut token = None;
        let mut identity = access.identity.clone();
        let mut until = None;
        if let Login::Exec(exec) = &access.login {
            let granted = plugin::run(exec, &access.cluster).await.map_err(|why| wrong(&user, why))?;
            token = granted.token;
            identity = granted.identity.or(identity);
            until = granted.until;
        }
        let config = config(&access, token.as_ref(), identity.as_ref());
        let client = tls::secured_client(config).map_err(|error| ConnectError::Client {
            path: kubeconfig::shown(paths),
            context: context.to_owned(),
            why: chain(&*error),
        })?;
        Ok(Self { client, files, until, made: before, refused: false })
    }
}

fn stamp(path: &Path) -> Stamp {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len(), found.ino()))
}

fn config(access: &Access, token: Option<&Secret>, identity: Option<&ClientCertificate>) -> Config {
    let mut config = Config::new(access.server.clone());
    match &access.trust {
        Trust::Anything => config.accept_invalid_certs = true,
        Trust::Roots(roots) => config.root_cert = Some(roots.clone()),
        Trust::System => {}
    }
    config.tls_server_name.clone_from(&access.server_name);
    // The client would also take a proxy from the environment; only the kubeconfig counts.
    config.proxy_url.clone_from(&access.proxy);
    config.auth_info = login(access, token, identity);
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(CALL.as_secs()));
    let agent = HeaderValue::from_static(concat!("windlass/", env!("CARGO_PKG_VERSION")));
    config.headers.push((HeaderName::from_static("user-agent"), agent));
    config
}

fn login(access: &Access, token: Option<&Secret>, identity: Option<&ClientCertificate>) -> AuthInfo {
    let mut info = AuthInfo::default();
    // As with kubectl, none go over a line that is not encrypted.
    if access.server.scheme_str() != Some("https") {
        return info;
    }
    let granted = token.or(match &access.login {
        Login::Token(token) => Some(token),
        Login::Anonymous | Login::Password(..) | Login::Exec(_) => None,
    });
    info.token = granted.map(|token| token.reveal().to_owned().into());
    if let Login::Password(name, password) = &access.login {
        info.username = Some(name.clone());
        info.password = Some(password.reveal().to_owned().into());
    }
    if let Some(identity) = identity {
        info.client_certificate_data = Some(STANDARD.encode(identity.certificate.reveal()));
        info.client_key_data = Some(STANDARD.encode(identity.key.reveal()).into());
    }
    if let Some(other) = &access.impersonate {
        info.impersonate = Some(other.user.clone());
        info.impersonate_uid.clone_from(&other.uid);
        info.impersonate_groups = Some(other.groups.clone());
        info.impersonate_user_extra = Some(other.extra.clone().into_iter().collect());
    }
    info
}
