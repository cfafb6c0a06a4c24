//! The line between a daemon and its API server, and what goes wrong on it: requests that are refused, slow or lost, answers
//! that are cut, watches that end, fall silent or are late. It writes down what was sent over it, and what came of that.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response, header};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::BoxError;
use windlass::clock::Clock;

/// What a fault does to a request, or to a watch that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Answered with this code and this `Retry-After`, and not carried out.
    Refused(u16, &'static str),
    /// Carried out, and the connection ends before the answer.
    Lost,
    /// Carried out, and the connection ends in the middle of the answer.
    Cut,
    /// Carried out so many seconds later, even if nobody waits for it any more.
    SlowThere(i64),
    /// Carried out at once, and answered so many seconds later.
    SlowBack(i64),
    /// Open watches end.
    Ended,
    /// Watches say nothing as long as the fault lasts, and then everything.
    Silent,
    /// Watches that were open during the fault never say anything again.
    Dead,
    /// Watches say everything so many seconds later.
    Late(i64),
}

impl How {
    fn is_of_streams(self) -> bool {
        matches!(self, Self::Ended | Self::Silent | Self::Dead | Self::Late(_))
    }
}

/// One fault, from one time until another.
#[derive(Clone, Debug)]
pub struct Fault {
    pub from: Timestamp,
    pub until: Timestamp,
    /// Which requests; empty means all.
    pub verbs: &'static [&'static str],
    pub kinds: &'static [&'static str],
    /// Each of them, or only every second or third.
    pub every: u64,
    pub how: How,
}

impl Fault {
    fn is_about(&self, verb: &str, kind: &str) -> bool {
        (self.verbs.is_empty() || self.verbs.contains(&verb))
            && (self.kinds.is_empty() || self.kinds.contains(&kind))
    }
}

/// A request that went over the line.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When it left the daemon.
    pub at: Timestamp,
    pub verb: &'static str,
    pub kind: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub body: Value,
    /// True if the API server only tries it.
    pub dry_run: bool,
    /// When the API server had carried it out, and its answer, also where the daemon never saw that.
    pub answer: Option<(Timestamp, u16)>,
}

impl Sent {
    fn new(request: &Request<Bytes>, at: Timestamp) -> Self {
        let path: Vec<&str> = request.uri().path().split('/').filter(|part| !part.is_empty()).collect();
        let rest = match path.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => &[],
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, kind, rest @ ..] => (*namespace, [&[*kind], rest].concat()),
            rest => ("", rest.to_vec()),
        };
        let part = |place: usize| rest.get(place).copied().unwrap_or_default().to_owned();
        let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let verb = match *request.method() {
            http::Method::GET if watches => "watch",
            http::Method::GET if rest.len() == 1 => "list",
            http::Method::POST => "create",
            http::Method::PUT => "update",
            http::Method::PATCH => "patch",
            http::Method::DELETE => "delete",
            _ => "get",
        };
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        // The options of a deletion are its body.
        let query = request.uri().query().unwrap_or_default();
        let dry_run = query.contains("dryRun=All") || (verb == "delete" && body["dryRun"][0] == "All");
        let (kind, name, subresource) = (part(0), part(1), part(2));
        Self {
            at,
            verb,
            kind,
            subresource,
            namespace: namespace.to_owned(),
            name,
            body,
            dry_run,
            answer: None,
        }
    }

    pub fn is_write(&self) -> bool {
        !self.dry_run && !matches!(self.verb, "get" | "list" | "watch")
    }

    pub fn is_eviction(&self) -> bool {
        self.subresource == "eviction"
    }
}

/// The line. Clones are the same one.
#[derive(Clone)]
pub struct Line(Arc<Inner>);

struct Inner {
    server: kube::Client,
    clock: Clock,
    faults: Mutex<Vec<(Fault, u64)>>,
    log: Mutex<Vec<Sent>>,
}

impl Line {
    pub fn new(server: kube::Client, clock: Clock) -> Self {
        let (faults, log) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { server, clock, faults, log }))
    }

    pub fn add(&self, fault: Fault) {
        self.0.faults.lock().unwrap().push((fault, 0));
    }

    pub fn log(&self) -> Vec<Sent> {
        self.0.log.lock().unwrap().clone()
    }

    /// A client at the near end of it.
    pub fn client(&self) -> kube::Client {
        let line = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let line = line.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                line.pass(Request::from_parts(parts, body)).await
            }
        });
        kube::Client::new(service, "default")
    }

    /// One request over the line.
    pub async fn pass(&self, request: Request<Bytes>) -> Result<Response<Body>, BoxError> {
        let sent = Sent::new(&request, self.0.clock.now());
        let (verb, kind) = (sent.verb, sent.kind.clone());
        let number = {
            let mut log = self.0.log.lock().unwrap();
            log.push(sent);
            log.len() - 1
        };
        let answer = match self.fault_of(verb, &kind) {
            Some(How::Refused(code, retry_after)) => return Ok(refusal(code, retry_after)),
            Some(How::Lost) => {
                self.forward(number, request).await?;
                return Err("the connection was reset before the answer".into());
            }
            Some(How::Cut) => {
                let (parts, body) = self.forward(number, request).await?.into_parts();
                let body = body.collect().await?.to_bytes();
                return Ok(Response::from_parts(parts, half(&body)));
            }
            Some(How::SlowThere(seconds)) => {
                let (line, by) = (self.clone(), SignedDuration::from_secs(seconds));
                let going = tokio::spawn(async move {
                    line.0.clock.sleep(by).await;
                    line.forward(number, request).await
                });
                going.await??
            }
            Some(How::SlowBack(seconds)) => {
                let answer = self.forward(number, request).await?;
                self.0.clock.sleep(SignedDuration::from_secs(seconds)).await;
                answer
            }
            Some(How::Ended | How::Silent | How::Dead | How::Late(_)) | None => {
                self.forward(number, request).await?
            }
        };
        Ok(if verb == "watch" { self.followed(kind, answer) } else { answer })
    }

    fn fault_of(&self, verb: &str, kind: &str) -> Option<How> {
        let now = self.0.clock.now();
        let mut faults = self.0.faults.lock().unwrap();
        let hit = faults.iter_mut().find_map(|(fault, met)| {
            let in_force = fault.from <= now && now < fault.until && !fault.how.is_of_streams();
            if !in_force || !fault.is_about(verb, kind) {
                return None;
            }
            *met += 1;
            (*met % fault.every == 0).then_some(fault.how)
        });
        // A watch has no end that could be waited for: it ends at once, or begins late.
        hit.map(|how| if verb == "watch" && how == How::Cut { How::Lost } else { how })
    }

    async fn forward(&self, number: usize, request: Request<Bytes>) -> Result<Response<Body>, BoxError> {
        let (parts, body) = request.into_parts();
        let mut there = Request::builder()
            .method(parts.method)
            .uri(parts.uri.path_and_query().map_or("/", |path| path.as_str()));
        for name in [header::CONTENT_TYPE, header::ACCEPT, header::USER_AGENT] {
            if let Some(value) = parts.headers.get(&name) {
                there = there.header(name, value);
            }
        }
        let answer = self.0.server.send(there.body(kube::client::Body::from(body.to_vec()))?).await?;
        let told = (self.0.clock.now(), answer.status().as_u16());
        self.0.log.lock().unwrap()[number].answer = Some(told);
        let (mut parts, body) = answer.into_parts();
        // What is cut is as long as it is.
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::TRANSFER_ENCODING);
        Ok(Response::from_parts(parts, Body::from_stream(body.into_data_stream())))
    }

    /// A watch, as the faults of its kind let it through.
    fn followed(&self, kind: String, answer: Response<Body>) -> Response<Body> {
        let (parts, body) = answer.into_parts();
        let (sender, frames) = mpsc::unbounded_channel();
        let line = self.clone();
        let (pumped, opened) = (kind.clone(), self.0.clock.now());
        tokio::spawn(async move {
            let mut body = body.into_data_stream();
            loop {
                let frame = tokio::select! { frame = body.next() => frame, () = sender.closed() => return };
                let Some(Ok(frame)) = frame else { return };
                let now = line.0.clock.now();
                if sender.send((now + line.lateness(&pumped, now), frame)).is_err() {
                    return;
                }
            }
        });
        let state = Followed { line: self.clone(), kind, opened, frames, next: None, over: false };
        let stream = futures::stream::unfold(state, |mut state| async move {
            let item = state.next().await?;
            Some((item, state))
        });
        Response::from_parts(parts, Body::from_stream(stream))
    }

    fn lateness(&self, kind: &str, now: Timestamp) -> SignedDuration {
        let faults = self.0.faults.lock().unwrap();
        let late = faults.iter().find_map(|(fault, _)| match fault.how {
            How::Late(seconds) if fault.is_about("watch", kind) && fault.from <= now && now < fault.until => {
                Some(SignedDuration::from_secs(seconds))
            }
            _ => None,
        });
        late.unwrap_or_default()
    }

    fn state_of_stream(&self, kind: &str, opened: Timestamp, now: Timestamp) -> StreamState {
        let faults = self.0.faults.lock().unwrap();
        let mut changes: Option<Timestamp> = None;
        for (fault, _) in
            faults.iter().filter(|(fault, _)| fault.how.is_of_streams() && fault.is_about("watch", kind))
        {
            let begun = fault.from <= now;
            match fault.how {
                How::Ended if begun && opened < fault.from => return StreamState::Ended,
                How::Dead if begun && opened < fault.until => return StreamState::Dead,
                How::Silent if begun && now < fault.until => return StreamState::Silent(fault.until),
                _ if !begun => changes = Some(changes.map_or(fault.from, |other| other.min(fault.from))),
                _ => {}
            }
        }
        StreamState::Open(changes.unwrap_or(Timestamp::MAX))
    }
}

enum StreamState {
    Ended,
    Dead,
    Silent(Timestamp),
    /// As it should be, until the next fault.
    Open(Timestamp),
}

/// An open watch.
struct Followed {
    line: Line,
    kind: String,
    opened: Timestamp,
    frames: mpsc::UnboundedReceiver<(Timestamp, Bytes)>,
    next: Option<(Timestamp, Bytes)>,
    over: bool,
}

impl Followed {
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        let clock = self.line.0.clock.clone();
        loop {
            if self.over {
                return None;
            }
            let now = clock.now();
            let changes = match self.line.state_of_stream(&self.kind, self.opened, now) {
                StreamState::Ended => {
                    self.over = true;
                    return Some(Err("the connection was reset".into()));
                }
                StreamState::Dead => std::future::pending().await,
                StreamState::Silent(until) => {
                    clock.sleep_until(until).await;
                    continue;
                }
                StreamState::Open(changes) => changes,
            };
            if let Some((_, frame)) = self.next.take_if(|(due, _)| *due <= now) {
                return Some(Ok(frame));
            }
            let due = self.next.as_ref().map_or(Timestamp::MAX, |(due, _)| *due).min(changes);
            tokio::select! {
                biased;
                frame = self.frames.recv(), if self.next.is_none() => {
                    self.over = frame.is_none();
                    self.next = frame;
                }
                () = sleep_until(&clock, due) => {}
            }
        }
    }
}

async fn sleep_until(clock: &Clock, due: Timestamp) {
    if due == Timestamp::MAX {
        std::future::pending::<()>().await;
    } else {
        clock.sleep_until(due).await;
    }
}

fn refusal(code: u16, retry_after: &str) -> Response<Body> {
    let reason = match code {
        403 => "Forbidden",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": format!("the line says {code}")});
    let mut answer = Response::builder().status(code).header(header::CONTENT_TYPE, "application/json");
    if !retry_after.is_empty() {
        answer = answer.header(header::RETRY_AFTER, retry_after);
    }
    answer.body(Body::from(status.to_string())).unwrap()
}

fn half(body: &Bytes) -> Body {
    let items =
        [Ok(body.slice(..body.len() / 2)), Err("the connection was reset in the middle of the answer")];
    Body::from_stream(futures::stream::iter(items))
}
