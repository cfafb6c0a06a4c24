//! A git server on loopback: the real `git http-backend` behind HTTP, with faults to order.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What happens to a request instead of, or around, an answer by git.
#[derive(Clone, Default)]
pub(super) enum Fault {
    #[default]
    None,
    /// A push is never answered, and git does not see it.
    HangPush,
    /// No request is answered.
    HangAll,
    /// git takes the push, and the connection ends without an answer.
    CutPush,
    /// As before, and no later request is answered.
    CutPushThenHang,
    /// Every request gets this status.
    Status(u16),
    /// Every request is sent to another address.
    Redirect(String),
}

#[derive(Default)]
struct Orders {
    fault: Fault,
    /// Runs when a push has been negotiated and before git sees it.
    before_push: Option<Box<dyn FnOnce() + Send>>,
    /// User and password that are asked for.
    password: Option<(String, String)>,
    requests: Vec<String>,
}

pub(super) struct Server {
    pub(super) address: String,
    orders: Arc<Mutex<Orders>>,
    /// Serves for as long as it lives.
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Clone)]
struct Shared {
    root: PathBuf,
    backend: PathBuf,
    orders: Arc<Mutex<Orders>>,
}

impl Server {
    /// Serves every repository below `root`.
    pub(super) fn start(root: &Path) -> Self {
        let found = Command::new("git").arg("--exec-path").output().expect("git runs");
        let found = String::from_utf8(found.stdout).expect("a path");
        let backend = PathBuf::from(found.trim()).join("git-http-backend");
        let orders = Arc::new(Mutex::new(Orders::default()));
        let shared = Shared { root: root.to_owned(), backend, orders: Arc::clone(&orders) };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let router = Router::new().fallback(serve).with_state(shared);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address, orders, runtime: Some(runtime) }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/origin.git", self.address)
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.orders_handle().fault(fault);
    }

    pub(super) fn before_push(&self, act: impl FnOnce() + Send + 'static) {
        self.orders.lock().expect("no panic").before_push = Some(Box::new(act));
    }

    pub(super) fn ask_for(&self, user: &str, password: &str) {
        self.orders.lock().expect("no panic").password = Some((user.to_owned(), password.to_owned()));
    }

    /// To give orders from elsewhere.
    pub(super) fn orders_handle(&self) -> Handle {
        Handle(Arc::clone(&self.orders))
    }

    /// Method and path of every request so far, and whether it came with a name.
    pub(super) fn requests(&self) -> Vec<String> {
        self.orders.lock().expect("no panic").requests.clone()
    }
}

/// Gives orders to a server that somebody else holds.
#[derive(Clone)]
pub(super) struct Handle(Arc<Mutex<Orders>>);

impl Handle {
    pub(super) fn fault(&self, fault: Fault) {
        self.0.lock().expect("no panic").fault = fault;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(State(shared): State<Shared>, request: Request) -> Response {
    let named = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let named = named.map(str::to_owned);
    let note = format!(
        "{} {} {}",
        request.method(),
        request.uri(),
        if named.is_some() { "named" } else { "nameless" }
    );
    let (fault, password) = {
        let mut orders = shared.orders.lock().expect("no panic");
        orders.requests.push(note);
        (orders.fault.clone(), orders.password.clone())
    };
    if let Some((user, password)) = password {
        let wanted = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        if named.as_deref() != Some(wanted.as_str()) {
            return answer(StatusCode::UNAUTHORIZED, &[("www-authenticate", "Basic realm=\"git\"")]);
        }
    }
    let push = *request.method() == Method::POST && request.uri().path().ends_with("git-receive-pack");
    match fault {
        Fault::HangAll => std::future::pending().await,
        Fault::HangPush if push => std::future::pending().await,
        Fault::Status(code) => answer(StatusCode::from_u16(code).expect("a status"), &[]),
        Fault::Redirect(to) => {
            let to = format!("{to}{}", request.uri());
            answer(StatusCode::MOVED_PERMANENTLY, &[("location", &to)])
        }
        Fault::CutPush | Fault::CutPushThenHang if push => {
            let _ = backend(shared.clone(), request).await;
            if matches!(fault, Fault::CutPushThenHang) {
                shared.orders.lock().expect("no panic").fault = Fault::HangAll;
            }
            let broken = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("cut")) });
            Response::new(Body::from_stream(broken))
        }
        Fault::None | Fault::HangPush | Fault::CutPush | Fault::CutPushThenHang => {
            if push {
                let act = shared.orders.lock().expect("no panic").before_push.take();
                if let Some(act) = act {
                    tokio::task::spawn_blocking(act).await.expect("no panic");
                }
            }
            backend(shared, request).await
        }
    }
}

fn answer(status: StatusCode, headers: &[(&str, &str)]) -> Response {
    let mut response = Response::builder().status(status).header("content-length", "0");
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::empty()).expect("a response")
}

async fn backend(shared: Shared, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a body");
    let header = |name: &str| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let mut command = Command::new(&shared.backend);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", &shared.root)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_PROJECT_ROOT", &shared.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("git http-backend runs");
        let mut input = child.stdin.take().expect("an input");
        let writer = std::thread::spawn(move || input.write_all(&body));
        let output = child.wait_with_output().expect("git http-backend ends");
        // It may end without reading all, as at an unknown repository.
        let _ = writer.join().expect("no panic");
        output.stdout
    })
    .await
    .expect("no panic");
    response(&output)
}

/// Turns a CGI answer into an HTTP one.
fn response(output: &[u8]) -> Response {
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("headers");
    let head = std::str::from_utf8(&output[..end]).expect("plain headers");
    let mut response = Response::builder();
    for line in head.lines() {
        let (name, value) = line.split_once(": ").expect("a header");
        if name == "Status" {
            response = response.status(value.split(' ').next().expect("a status"));
        } else {
            response = response.header(name, value);
        }
    }
    response.body(Body::from(output[end + 4..].to_vec())).expect("a response")
}
