//! The only module with a Kubernetes client: it watches, asks, and carries out single writes. It decides nothing;
//! each write carries its preconditions.

mod observe;
mod probe;
mod write;

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

pub use observe::watch;

/// The longest time of a single call. What has not been answered by then is looked at again.
const CALL: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// With the cause in our words: the client's own errors repeat each other.
    #[error("reading kubeconfig {path}: {why}")]
    Read { path: String, why: String },
    #[error(
        "kubeconfig {path} has no context `{context}` for this cluster; it has: {there}. Name the context like the \
         cluster, map it under `contexts` in the settings file, or, for a command, pass --context"
    )]
    NoContext { path: String, context: String, there: String },
    #[error("making a client for context `{context}` of kubeconfig {path}: {why}")]
    Client { path: String, context: String, why: String },
}

/// The API of one cluster.
#[derive(Clone)]
pub struct ClusterApi {
    client: Client,
}

impl ClusterApi {
    /// A cluster over any service that speaks Kubernetes. The service must not retry by itself: a refused eviction
    /// has to be reported.
    pub fn over(client: Client) -> Self {
        Self { client }
    }

    /// A cluster over a context of a kubeconfig. There is no default context.
    pub async fn connect(path: &Path, context: &str) -> Result<Self, ConnectError> {
        let shown = path.display().to_string();
        let file = Kubeconfig::read_from(path)
            .map_err(|error| ConnectError::Read { path: shown.clone(), why: chain(&error) })?;
        if !file.contexts.iter().any(|known| known.name == context) {
            let there: Vec<&str> = file.contexts.iter().map(|known| known.name.as_str()).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            return Err(ConnectError::NoContext { path: shown, context: context.to_owned(), there });
        }
        let options = KubeConfigOptions { context: Some(context.to_owned()), ..Default::default() };
        let failed = |error: &dyn std::error::Error| ConnectError::Client {
            path: shown.clone(),
            context: context.to_owned(),
            why: chain(error),
        };
        let proxy = proxy(&file, context).map(|url| url.parse()).transpose();
        let mut config = Config::from_custom_kubeconfig(file, &options).await.map_err(|e| failed(&e))?;
        // The client would also take a proxy from the environment; only the kubeconfig counts.
        config.proxy_url = proxy.map_err(|e: http::uri::InvalidUri| failed(&e))?;
        config.default_retry = false;
        config.connect_timeout = Some(CALL);
        let agent = HeaderValue::from_static(concat!("windlass/", env!("CARGO_PKG_VERSION")));
        config.headers.push((HeaderName::from_static("user-agent"), agent));
        Ok(Self { client: Client::try_from(config).map_err(|e| failed(&e))? })
    }
}

/// The proxy in the kubeconfig for the cluster of a context.
fn proxy(file: &Kubeconfig, context: &str) -> Option<String> {
    let context = file.contexts.iter().find(|known| known.name == context)?.context.as_ref()?;
    let cluster = file.clusters.iter().find(|known| known.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.clone().filter(|url| !url.is_empty())
}

/// One call with its deadline, and its error in words.
async fn call<T>(work: impl Future<Output = Result<T, kube::Error>>) -> Result<T, CallError> {
    match tokio::time::timeout(CALL, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(CallError::of(error)),
        Err(_) => Err(CallError::Silent),
    }
}

/// What came back instead of a value.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// A Kubernetes `Status`.
    #[error("{} ({})", .0.message, .0.code)]
    Status(Box<kube::core::Status>),
    /// An answer that is no `Status`, or a broken connection.
    #[error("{0}")]
    Transport(String),
    #[error("no answer within {} s", CALL.as_secs())]
    Silent,
}

impl CallError {
    fn of(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Status(status),
            // The error's own words name only the layer of the client that it went through.
            kube::Error::Service(cause) => Self::Transport(chain(&*cause)),
            other => Self::Transport(chain(&other)),
        }
    }

    fn code(&self) -> u16 {
        match self {
            Self::Status(status) => status.code,
            Self::Transport(_) | Self::Silent => 0,
        }
    }

    fn words(&self) -> String {
        self.to_string()
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    words.chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// A kubeconfig with two contexts, the first of them behind a proxy.
    fn kubeconfig(proxy: &str) -> String {
        format!(
            "apiVersion: v1
kind: Config
clusters:
  - {{name: far, cluster: {{server: 'http://cluster.invalid:6443', proxy-url: '{proxy}'}}}}
  - {{name: near, cluster: {{server: 'http://cluster.invalid:6443'}}}}
contexts:
  - {{name: far, context: {{cluster: far, user: nobody}}}}
  - {{name: near, context: {{cluster: near, user: nobody}}}}
users: []
"
        )
    }

    #[test]
    fn a_proxy_is_that_of_the_contexts_cluster() {
        let file = |url: &str| Kubeconfig::from_yaml(&kubeconfig(url)).unwrap();
        let named = file("http://proxy.example.com:3128");
        assert_eq!(proxy(&named, "far").as_deref(), Some("http://proxy.example.com:3128"));
        for (file, context) in [(&named, "near"), (&named, "elsewhere"), (&file(""), "far")] {
            assert_eq!(proxy(file, context), None, "{context}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn requests_go_through_the_proxy_that_the_kubeconfig_names() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
            stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").unwrap();
            line
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kube");
        std::fs::write(&path, kubeconfig(&format!("http://{address}"))).unwrap();
        let cluster = ClusterApi::connect(&path, "far").await.unwrap();
        cluster.client.apiserver_version().await.unwrap_err();
        assert_eq!(asked.join().unwrap(), "CONNECT cluster.invalid:6443 HTTP/1.1\r\n");
    }
}
