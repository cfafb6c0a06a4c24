//! HTTP around the core: a router for clients in this process or behind a socket, and the task that lets time pass.

use super::answer::Body;
use super::cluster::Cluster;
use super::watch::Subscription;
use axum::Router;
use axum::response::Response;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Says what time it is.
pub type NowFn = Arc<dyn Fn() -> Timestamp + Send + Sync>;
/// Waits until a time has come.
pub type SleepUntilFn = Arc<dyn Fn(Timestamp) -> BoxFuture<'static, ()> + Send + Sync>;

/// A request body beyond this is refused, as by a real API server.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// A simulated API server. Clones share one cluster.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    cluster: Mutex<Cluster>,
    now: NowFn,
    sleep_until: SleepUntilFn,
    /// Counts what happened, so that watches and the driver look again.
    happened: watch::Sender<u64>,
}

impl Shared {
    /// Has the cluster to itself for a moment, and wakes the others if that changed anything.
    fn visit<T>(&self, with: impl FnOnce(&mut Cluster, Timestamp) -> T) -> T {
        let now = (self.now)();
        let (answer, changed) = {
            let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
            let before = (cluster.version(), cluster.next_due(), cluster.watch_epoch);
            let answer = with(&mut cluster, now);
            (answer, before != (cluster.version(), cluster.next_due(), cluster.watch_epoch))
        };
        if changed {
            self.tell();
        }
        answer
    }

    fn tell(&self) {
        self.happened.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Server {
    pub fn new(cluster: Cluster, now: NowFn, sleep_until: SleepUntilFn) -> Self {
        let shared =
            Shared { cluster: Mutex::new(cluster), now, sleep_until, happened: watch::Sender::new(0) };
        Self { shared: Arc::new(shared) }
    }

    pub fn now(&self) -> Timestamp {
        (self.shared.now)()
    }

    /// Looks at the cluster, or changes it, as it is now.
    pub fn with<T>(&self, look: impl FnOnce(&mut Cluster, Timestamp) -> T) -> T {
        let answer = self.shared.visit(|cluster, now| {
            cluster.run_until(now);
            look(cluster, now)
        });
        self.shared.tell();
        answer
    }

    /// Lets everything happen when it is due. Runs until it is dropped.
    pub async fn drive(&self) {
        let mut happened = self.shared.happened.subscribe();
        loop {
            happened.mark_unchanged();
            let next = self.shared.visit(|cluster, now| {
                cluster.run_until(now);
                cluster.next_due()
            });
            wait(&self.shared, &mut happened, next).await;
        }
    }

    /// The API as a service, for a client in this process or for a listener.
    pub fn router(&self) -> Router {
        let server = self.clone();
        Router::new().fallback(move |request: Request<axum::body::Body>| {
            let server = server.clone();
            async move { server.answer(request).await }
        })
    }

    /// Serves the API on a socket until it is dropped or fails.
    pub async fn listen(&self, listener: tokio::net::TcpListener) -> std::io::Result<()> {
        axum::serve(listener, self.router()).await
    }

    async fn answer(&self, request: Request<axum::body::Body>) -> Response {
        let (parts, body) = request.into_parts();
        let body = match http_body_util::Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return plain_text(StatusCode::PAYLOAD_TOO_LARGE, "request body too large\n"),
        };
        let answer = self.shared.visit(|cluster, now| cluster.handle(Request::from_parts(parts, body), now));
        let body = match answer.body {
            Body::Full(bytes) => axum::body::Body::from(bytes),
            Body::Watch(subscription) => {
                let lines = self.lines(*subscription).map(Ok::<_, Infallible>);
                axum::body::Body::from_stream(lines)
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response
    }

    /// The lines of a watch, each when it is due.
    fn lines(&self, subscription: Subscription) -> impl Stream<Item = Bytes> + use<> {
        let state = Follow {
            shared: Arc::clone(&self.shared),
            happened: self.shared.happened.subscribe(),
            subscription,
            ready: VecDeque::new(),
            done: false,
        };
        stream::unfold(state, |mut state| async move {
            let line = state.next().await?;
            Some((line, state))
        })
    }
}

/// A watch being followed.
struct Follow {
    shared: Arc<Shared>,
    happened: watch::Receiver<u64>,
    subscription: Subscription,
    ready: VecDeque<Bytes>,
    done: bool,
}

impl Follow {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.done {
                return None;
            }
            self.happened.mark_unchanged();
            let polled = self.shared.visit(|cluster, now| cluster.poll(&mut self.subscription, now));
            self.done = polled.done;
            self.ready.extend(polled.lines);
            if self.ready.is_empty() && !self.done {
                wait(&self.shared, &mut self.happened, polled.wake).await;
            }
        }
    }
}

/// Waits for a time, or for something to happen before it.
async fn wait(shared: &Shared, happened: &mut watch::Receiver<u64>, until: Option<Timestamp>) {
    let woken = happened.changed();
    match until {
        Some(due) => {
            tokio::select! {
                biased;
                _ = woken => {}
                () = (shared.sleep_until)(due) => {}
            }
        }
        // The sender lives in `shared`, so this cannot fail.
        None => drop(woken.await),
    }
}

fn plain_text(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(axum::body::Body::from(text));
    *response.status_mut() = status;
    response
}

/// A kubeconfig for kubectl and other clients of a listening server.
pub fn kubeconfig(address: std::net::SocketAddr, context: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {context}\nclusters:\n- name: {context}\n  cluster:\n    \
         server: http://{address}\ncontexts:\n- name: {context}\n  context:\n    cluster: {context}\n    user: {context}\n\
         users:\n- name: {context}\n  user: {{}}\n"
    )
}
