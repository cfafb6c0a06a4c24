//! Watches. A subscription is a cursor into the history; it is asked for its next lines, nothing is pushed into it.

use super::answer::metadata;
use super::cluster::Cluster;
use super::object::Object;
use super::read::{Filter, asked_version};
use super::request::{Call, Place, View};
use super::resource::Kind;
use super::status::{Refusal, Served};
use super::store::{self, Change, Event};
use super::{events, table, time};
use bytes::Bytes;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;

/// Lines handed out at once, so that a large initial state is not built in one piece.
const CHUNK: usize = 500;

/// One watch and how far it has come.
#[derive(Debug)]
pub struct Subscription {
    filter: Filter,
    view: View,
    cursor: u64,
    initial: VecDeque<Arc<Object>>,
    /// A streaming list owes a bookmark after its initial state.
    owes_end: bool,
    bookmarks: Option<Timestamp>,
    ends: Timestamp,
    epoch: u64,
    refused: Option<Refusal>,
}

/// The next lines of a watch.
#[derive(Debug, Default)]
pub struct Polled {
    pub lines: Vec<Bytes>,
    /// When to ask again even if nothing changes.
    pub wake: Option<Timestamp>,
    pub done: bool,
}

impl Cluster {
    pub(super) fn watch(&mut self, call: &Call, place: &Place, now: Timestamp) -> Served<Subscription> {
        let query = &call.query;
        let filter = Filter::new(place, query)?;
        self.newer_than_us(query)?;
        self.renew_leases(filter.kind, &filter.namespace, filter.fields.pinned("metadata.name"), now);
        let asked = asked_version(query)?;
        let streaming = initial_events(query)?;
        let bookmarks =
            query.flag("allowWatchBookmarks").then(|| time::after(now, self.settings.timings.bookmark));
        let length = match query.number::<i64>("timeoutSeconds").filter(|seconds| *seconds > 0) {
            Some(seconds) => SignedDuration::from_secs(seconds),
            None => self.settings.timings.watch_timeout,
        };
        let wants_state = streaming.unwrap_or(asked.is_none());
        let initial = if wants_state { self.matching(&filter) } else { VecDeque::new() };
        let cursor = asked.filter(|_| !wants_state).unwrap_or(self.store.version());
        let refused = self
            .faults
            .expire_resumption(asked.is_some())
            .then(|| too_old(cursor, self.store.oldest(filter.kind)));
        Ok(Subscription {
            owes_end: streaming == Some(true) && bookmarks.is_some(),
            ends: time::after(now, length),
            view: call.view,
            epoch: self.watch_epoch,
            refused,
            filter,
            cursor,
            initial,
            bookmarks,
        })
    }

    fn matching(&self, filter: &Filter) -> VecDeque<Arc<Object>> {
        let all = self.store.range(filter.kind, &filter.namespace, None);
        all.filter(|object| filter.matches(object)).cloned().collect()
    }

    /// What a watch has to say at `now`. Not to be held while waiting: ask, let go, wait, ask again.
    pub fn poll(&mut self, watch: &mut Subscription, now: Timestamp) -> Polled {
        self.run_until(now);
        let name = watch.filter.fields.pinned("metadata.name").map(str::to_owned);
        let renewal = self.renew_leases(watch.filter.kind, &watch.filter.namespace, name.as_deref(), now);
        if watch.epoch != self.watch_epoch || self.is_away(now) {
            return Polled { done: true, ..Polled::default() };
        }
        if let Some(refusal) = watch.refused.take() {
            return Polled { lines: vec![error_line(&refusal)], done: true, wake: None };
        }
        if let Some(polled) = watch.initial_lines(now) {
            return polled;
        }
        let mut polled = self.later_lines(watch, now);
        if !polled.done {
            let outage = self.faults.next_outage(now);
            let wake = [renewal, outage].into_iter().flatten().min();
            watch.close_or_wait(&mut polled, wake, self.settings.timings.bookmark, now);
        }
        polled
    }

    fn later_lines(&self, watch: &mut Subscription, now: Timestamp) -> Polled {
        let Some(changes) = self.store.since(watch.filter.kind, watch.cursor) else {
            let refusal = too_old(watch.cursor, self.store.oldest(watch.filter.kind));
            return Polled { lines: vec![error_line(&refusal)], done: true, wake: None };
        };
        let lag = self.faults.lag();
        let mut polled = Polled::default();
        for change in changes {
            let visible = time::after(change.at, lag);
            if visible > now || polled.lines.len() >= CHUNK {
                polled.wake = Some(visible.max(now));
                return polled;
            }
            watch.cursor = change.version;
            if let Some(event) = watch.event(change) {
                polled.lines.push(watch.line(change, event, now));
            }
        }
        if lag.is_zero() {
            watch.cursor = watch.cursor.max(self.store.version());
        }
        polled
    }
}

impl Subscription {
    /// A part of the initial state, as long as there is one.
    fn initial_lines(&mut self, now: Timestamp) -> Option<Polled> {
        if self.initial.is_empty() && !self.owes_end {
            return None;
        }
        let part = self.initial.len().min(CHUNK);
        let objects: Vec<_> = self.initial.drain(..part).collect();
        let mut lines: Vec<_> = objects.iter().map(|object| self.shaped(Event::Added, object, now)).collect();
        if self.initial.is_empty() && self.owes_end {
            self.owes_end = false;
            lines.push(self.bookmark(true));
        }
        Some(Polled { lines, wake: Some(now), done: false })
    }

    fn event(&self, change: &Change) -> Option<Event> {
        let before = change.old.as_ref().is_some_and(|old| self.filter.matches(old));
        let after = !change.deleted && self.filter.matches(&change.new);
        match (before, after) {
            (false, true) => Some(Event::Added),
            (true, true) => Some(Event::Modified),
            (true, false) => Some(Event::Deleted),
            (false, false) => None,
        }
    }

    fn line(&self, change: &Change, event: Event, now: Timestamp) -> Bytes {
        match self.view {
            View::Full if self.filter.kind != Kind::Event => change.frame(event),
            View::Full | View::Metadata | View::Table => self.shaped(event, &change.new, now),
        }
    }

    fn shaped(&self, event: Event, object: &Object, now: Timestamp) -> Bytes {
        match self.view {
            View::Full if self.filter.kind == Kind::Event => {
                store::frame(event, events::modern(object.tree()).to_string().as_bytes())
            }
            View::Full => store::frame(event, &object.body()),
            View::Metadata => store::frame(event, metadata(object).to_string().as_bytes()),
            View::Table => {
                let version = object.version.to_string();
                let table = table::render(object.kind, std::iter::once(object), &version, true, now);
                store::frame(event, table.to_string().as_bytes())
            }
        }
    }

    fn bookmark(&self, ends_initial: bool) -> Bytes {
        let resource = self.filter.kind.resource();
        let mut object = json!({
            "kind": resource.name, "apiVersion": resource.api_version(),
            "metadata": {"resourceVersion": self.cursor.to_string(), "creationTimestamp": null},
        });
        if self.view == View::Metadata {
            super::json::set(&mut object, &["kind"], "PartialObjectMetadata");
            super::json::set(&mut object, &["apiVersion"], "meta.k8s.io/v1");
        }
        if ends_initial {
            super::json::set(&mut object, &["metadata", "annotations", "k8s.io/initial-events-end"], "true");
        }
        format!("{}\n", json!({"type": "BOOKMARK", "object": object})).into()
    }

    fn close_or_wait(
        &mut self,
        polled: &mut Polled,
        earliest: Option<Timestamp>,
        every: SignedDuration,
        now: Timestamp,
    ) {
        let over = self.ends <= now;
        if let Some(due) = self.bookmarks.filter(|due| over || *due <= now) {
            polled.lines.push(self.bookmark(false));
            self.bookmarks = Some(time::after(due.max(now), every));
        }
        polled.done = over && polled.wake.is_none_or(|wake| wake > now);
        let wakes = [polled.wake, earliest, self.bookmarks, Some(self.ends)];
        polled.wake = wakes.into_iter().flatten().min();
    }
}

/// Whether the initial state was asked for or declined in so many words.
fn initial_events(query: &super::request::Query) -> Served<Option<bool>> {
    if !query.has("sendInitialEvents") {
        return Ok(None);
    }
    if query.get("resourceVersionMatch") != "NotOlderThan" {
        let why = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        return Err(Refusal::invalid_options("ListOptions", "meta.k8s.io", "", "resourceVersionMatch", why));
    }
    Ok(Some(query.flag("sendInitialEvents")))
}

fn too_old(asked: u64, oldest: u64) -> Refusal {
    Refusal::new(StatusCode::GONE, "Expired", format!("too old resource version: {asked} ({oldest})"))
}

fn error_line(refusal: &Refusal) -> Bytes {
    let line: Value = json!({"type": "ERROR", "object": refusal.to_value()});
    format!("{line}\n").into()
}
