//! What goes wrong, on purpose: refused and lost requests, late and broken watches, machines that misbehave.

use super::answer::Answer;
use super::request::Call;
use super::status::Refusal;
use http::{HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// All faults in force.
#[derive(Debug, Default)]
pub struct Faults {
    requests: Vec<RequestFault>,
    watch_lag: SignedDuration,
    expire_resumptions: u32,
    outages: Vec<(Timestamp, Timestamp)>,
    denied_evictions: BTreeMap<String, String>,
    pub(super) never_return: BTreeSet<String>,
    pub(super) failing_jobs: BTreeSet<String>,
}

/// Which requests a fault is for. Empty fields match everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    pub verb: &'static str,
    pub resource: &'static str,
    pub subresource: &'static str,
    pub name: String,
}

/// What a client gets to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// A proper `Status`.
    Status { code: u16, reason: &'static str, message: String },
    /// A body that is no `Status`.
    Plain { code: u16, body: String },
    /// Priority and fairness has no seat for the request.
    TooManyRequests { retry_after: u32 },
    /// The server is on its way down.
    ShuttingDown,
    /// The request was carried out, and its answer got lost.
    AppliedButTimedOut,
}

#[derive(Clone, Debug)]
struct RequestFault {
    when: When,
    skip: u64,
    times: u64,
    how: How,
}

impl How {
    pub(super) fn applies(&self) -> bool {
        *self == Self::AppliedButTimedOut
    }

    pub(super) fn answer(&self) -> Answer {
        let code = |code: u16| StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match self {
            Self::Status { code: number, reason, message } => {
                Answer::from(&Refusal::new(code(*number), reason, message.clone()))
            }
            Self::Plain { code: number, body } => Answer::text(code(*number), body.clone()),
            Self::TooManyRequests { retry_after } => {
                let mut answer = Answer::text(
                    StatusCode::TOO_MANY_REQUESTS,
                    "Too many requests, please try again later.\n",
                );
                answer.headers.insert(header::RETRY_AFTER, (*retry_after).into());
                answer
            }
            Self::ShuttingDown => {
                let mut answer = Answer::text(
                    StatusCode::TOO_MANY_REQUESTS,
                    "The apiserver is shutting down, please try again later.",
                );
                answer.headers.insert(header::RETRY_AFTER, 5.into());
                answer.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
                answer
            }
            Self::AppliedButTimedOut => Answer::from(&Refusal::new(
                StatusCode::GATEWAY_TIMEOUT,
                "Timeout",
                "Timeout: request did not complete within the allotted timeout",
            )),
        }
    }
}

impl When {
    fn matches(&self, call: &Call) -> bool {
        let Some(place) = &call.place else { return false };
        (self.verb.is_empty() || self.verb == call.verb())
            && (self.resource.is_empty() || self.resource == place.resource.plural)
            && (self.subresource.is_empty() || self.subresource == place.subresource)
            && (self.name.is_empty() || self.name == place.name)
    }
}

impl Faults {
    /// Lets `skip` matching requests pass, then meets the next `times` of them with `how`.
    pub fn on(&mut self, when: When, skip: u64, times: u64, how: How) {
        self.requests.push(RequestFault { when, skip, times, how });
    }

    /// Watches show every change this much later.
    pub fn delay_watches(&mut self, by: SignedDuration) {
        self.watch_lag = by;
    }

    /// The next watches that resume from a version are told that it is too old.
    pub fn expire_next_resumptions(&mut self, count: u32) {
        self.expire_resumptions = count;
    }

    /// The whole API is away for a while, and watches end.
    pub fn outage(&mut self, from: Timestamp, until: Timestamp) {
        self.outages.push((from, until));
    }

    /// A webhook refuses evictions in a namespace, until it is allowed again.
    pub fn deny_evictions(&mut self, namespace: &str, message: &str) {
        self.denied_evictions.insert(namespace.to_owned(), message.to_owned());
    }

    pub fn allow_evictions(&mut self, namespace: &str) {
        self.denied_evictions.remove(namespace);
    }

    /// The node's kubelet does not come back from its next upgrade.
    pub fn never_return(&mut self, node: &str) {
        self.never_return.insert(node.to_owned());
    }

    /// Upgrade Jobs on the node fail without having changed anything.
    pub fn fail_jobs_on(&mut self, node: &str) {
        self.failing_jobs.insert(node.to_owned());
    }

    pub fn heal_jobs_on(&mut self, node: &str) {
        self.failing_jobs.remove(node);
    }

    /// Forgets all request faults, outages and denials; broken machines stay broken.
    pub fn clear(&mut self) {
        let (never_return, failing_jobs) =
            (std::mem::take(&mut self.never_return), std::mem::take(&mut self.failing_jobs));
        *self = Self { never_return, failing_jobs, ..Self::default() };
    }

    pub(super) fn hit(&mut self, call: &Call) -> Option<How> {
        for fault in &mut self.requests {
            if fault.times == 0 || !fault.when.matches(call) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            fault.times -= 1;
            return Some(fault.how.clone());
        }
        None
    }

    pub(super) fn lag(&self) -> SignedDuration {
        self.watch_lag
    }

    pub(super) fn expire_resumption(&mut self, resumes: bool) -> bool {
        let hit = resumes && self.expire_resumptions > 0;
        if hit {
            self.expire_resumptions -= 1;
        }
        hit
    }

    pub(super) fn away(&self, now: Timestamp) -> bool {
        self.outages.iter().any(|(from, until)| *from <= now && now < *until)
    }

    pub(super) fn next_outage(&self, now: Timestamp) -> Option<Timestamp> {
        self.outages.iter().map(|(from, _)| *from).filter(|from| now < *from).min()
    }

    pub(super) fn denied_eviction(&self, namespace: &str) -> Option<&str> {
        self.denied_evictions.get(namespace).map(String::as_str)
    }
}
