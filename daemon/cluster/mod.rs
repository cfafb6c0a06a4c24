//! The only module with a Kubernetes client: it watches, asks, and carries out single writes. It decides nothing;
//! each write carries its preconditions.

mod addon;
mod chart;
mod evidence;
mod file;
mod helm;
mod helm_call;
mod helm_program;
mod helm_run;
mod kubeconfig;
mod lean;
mod line;
mod manifest;
mod observe;
mod plugin;
mod probe;
mod rendering;
mod secret;
#[cfg(test)]
mod tests;
mod tls;
mod write;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;

use crate::model::live::CallFailure;
use crate::model::text::one_line;

pub use helm_program::{HelmError, HelmOutput, HelmProgram, HelmRun, InstalledHelm};
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
         cluster, map it under `contexts` in the settings file, or give a command `--context NAME`"
    )]
    NoContext { path: String, context: String, there: String },
    #[error("kubeconfig {path}: {object}: {why}")]
    Entry { path: String, object: String, why: String },
    #[error("making a client for context `{context}` of kubeconfig {path}: {why}")]
    Client { path: String, context: String, why: String },
}

/// The API of one cluster.
#[derive(Clone)]
pub struct ClusterApi {
    client: Client,
    helm: Option<Arc<dyn HelmProgram>>,
}

impl ClusterApi {
    /// A cluster over any service that speaks Kubernetes. The service must not retry by itself: a refused eviction
    /// has to be reported.
    pub fn over(client: Client) -> Self {
        Self { client, helm: None }
    }

    /// A cluster over a context of kubeconfigs, read as kubectl reads a list of them. There is no default context.
    /// Renewed credentials are read again while it is used.
    pub async fn connect(kubeconfigs: &[PathBuf], context: &str) -> Result<Self, ConnectError> {
        Ok(Self { client: line::client(kubeconfigs, context).await?, helm: None })
    }

    /// The same cluster, with a program that moves releases of Helm.
    #[must_use]
    pub fn with_helm(self, helm: Arc<dyn HelmProgram>) -> Self {
        Self { helm: Some(helm), ..self }
    }
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
        self.failure().words().to_owned()
    }

    fn failure(&self) -> CallFailure {
        match self {
            Self::Status(status) => CallFailure::of(status.code, &status.message),
            Self::Transport(_) | Self::Silent => CallFailure::Other(self.to_string()),
        }
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
    one_line(&words)
}
