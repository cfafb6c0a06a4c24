//! Get and list: one object, or a page of a collection as it stood at one version.

use super::answer::{Answer, Page};
use super::cluster::Cluster;
use super::events;
use super::object::{Key, Object};
use super::request::{Call, Place, Query, View};
use super::resource::Kind;
use super::selector::{Fields, Labels};
use super::status::{Refusal, Served};
use http::StatusCode;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a list or a watch is restricted to.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub kind: Kind,
    pub namespace: String,
    pub labels: Labels,
    pub fields: Fields,
}

impl Filter {
    pub(super) fn new(place: &Place, query: &Query) -> Served<Self> {
        let kind = place.resource.kind;
        let labels = Labels::parse(query.get("labelSelector")).map_err(Refusal::bad_request)?;
        let fields = Fields::parse(query.get("fieldSelector"), kind).map_err(Refusal::bad_request)?;
        let mut filter = Self { kind, namespace: place.namespace.clone(), labels, fields };
        if !place.name.is_empty() {
            filter.fields = Fields::parse(&format!("metadata.name={}", place.name), kind)
                .map_err(Refusal::bad_request)?;
        }
        Ok(filter)
    }

    pub(super) fn matches(&self, object: &Object) -> bool {
        (self.namespace.is_empty() || *object.key.namespace == *self.namespace)
            && self.labels.matches(object)
            && self.fields.matches(object)
    }

    /// The one key that can match, where there is only one.
    fn only(&self) -> Option<Key> {
        let name = self.fields.pinned("metadata.name")?;
        let namespaced = self.kind.resource().namespaced;
        (!namespaced || !self.namespace.is_empty()).then(|| Key::new(&self.namespace, name))
    }
}

impl Cluster {
    pub(super) fn get(&mut self, call: &Call, place: &Place, now: Timestamp) -> Served<Answer> {
        self.newer_than_us(&call.query)?;
        let object = self.find(place, now)?;
        match place.subresource.as_str() {
            "" | "status" if place.resource.kind == Kind::Event && call.view == View::Full => {
                Ok(Answer::tree(StatusCode::OK, &events::modern(object.tree())))
            }
            "" | "status" => Ok(Answer::object(StatusCode::OK, &object, call.view, now)),
            "scale" => Ok(Answer::tree(StatusCode::OK, &super::subresource::scale_of(&object))),
            _ => Err(Refusal::method()),
        }
    }

    /// The stored object that a place names; a node's lease is brought up to date first.
    pub(super) fn find(&mut self, place: &Place, now: Timestamp) -> Served<Arc<Object>> {
        let key = Key::new(&place.namespace, &place.name);
        self.renew_leases(place.resource.kind, &place.namespace, Some(&place.name), now);
        let found = self.store.get(place.resource.kind, &key).cloned();
        found.ok_or_else(|| Refusal::not_found(place.resource, &place.name))
    }

    pub(super) fn list(&mut self, call: &Call, place: &Place, now: Timestamp) -> Served<Answer> {
        let filter = Filter::new(place, &call.query)?;
        self.renew_leases(filter.kind, &filter.namespace, filter.fields.pinned("metadata.name"), now);
        self.newer_than_us(&call.query)?;
        let page = self.page(&filter, &call.query)?;
        Ok(page.answer(filter.kind, call.view, now))
    }

    fn page(&self, filter: &Filter, query: &Query) -> Served<Page> {
        let limit = query.number::<usize>("limit").filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let plain = filter.labels.is_empty() && filter.fields.is_empty();
        let token =
            match query.get("continue") {
                "" => None,
                text => Some(Token::parse(text).ok_or_else(|| {
                    Refusal::bad_request("invalid continue token: continue key is not valid")
                })?),
            };
        let version = token
            .as_ref()
            .map(|token| token.version)
            .or_else(|| exact(query))
            .unwrap_or(self.store.version());
        let past = self.past(filter.kind, version, token.is_some())?;
        let total = match &token {
            Some(token) => token.remaining,
            None if plain && limit < usize::MAX => Some(self.total(filter)),
            None => None,
        };
        let mut objects = self.candidates(filter, token.as_ref().map(|token| &token.last), past, limit);
        let more = objects.len() > limit;
        objects.truncate(limit);
        let remaining = total.map(|total| total.saturating_sub(objects.len()));
        let next = match objects.last().filter(|_| more) {
            Some(last) => Token { version, remaining, last: last.key.clone() }.write(),
            None => String::new(),
        };
        Ok(Page { objects, version, next, remaining: remaining.filter(|_| more) })
    }

    fn total(&self, filter: &Filter) -> usize {
        if filter.namespace.is_empty() {
            self.store.len(filter.kind)
        } else {
            self.store.range(filter.kind, &filter.namespace, None).count()
        }
    }

    /// What differed at an earlier version from what is stored now.
    fn past(&self, kind: Kind, version: u64, continued: bool) -> Served<Past> {
        if version >= self.store.version() {
            return Ok(Past::new());
        }
        let changes = self.store.since(kind, version).ok_or_else(|| {
            Refusal::expired(if continued {
                "The provided continue parameter is too old to display a consistent list result. You can start a new \
                 list without the continue parameter, or use the continue token in this response to retrieve the \
                 remainder of the results."
                    .to_owned()
            } else {
                format!("The resourceVersion for the provided list is too old. ({version})")
            })
        })?;
        let mut past = Past::new();
        for change in changes {
            past.entry(change.new.key.clone()).or_insert_with(|| change.old.clone());
        }
        Ok(past)
    }

    /// Up to one more than `limit` objects that match, in order.
    fn candidates(&self, filter: &Filter, after: Option<&Key>, past: Past, limit: usize) -> Vec<Arc<Object>> {
        let wanted = |object: &&Arc<Object>| filter.matches(object);
        let many = limit.saturating_add(1);
        if past.is_empty() && after.is_none() {
            if let Some(key) = filter.only() {
                return self.store.get(filter.kind, &key).into_iter().filter(wanted).cloned().collect();
            }
            if let (Kind::Pod, Some(node)) = (filter.kind, filter.fields.pinned("spec.nodeName"))
                && !node.is_empty()
            {
                return self.store.pods_on(node).filter(wanted).take(many).cloned().collect();
            }
        }
        let live = self.store.range(filter.kind, &filter.namespace, after);
        if past.is_empty() {
            return live.filter(wanted).take(many).cloned().collect();
        }
        let first = after.cloned().unwrap_or_else(|| Key::new(&filter.namespace, ""));
        let past = past.into_iter().filter(|(key, _)| *key > first);
        merged(live, past).filter(|object| filter.matches(object)).take(many).collect()
    }

    /// A client may have seen a version that we have not reached, from another server behind the same name.
    pub(super) fn newer_than_us(&self, query: &Query) -> Served<()> {
        let Some(asked) = asked_version(query)? else { return Ok(()) };
        let current = self.store.version();
        if asked <= current {
            return Ok(());
        }
        let message = format!("Too large resource version: {asked}, current: {current}");
        let mut refusal = Refusal::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", format!("Timeout: {message}"))
            .cause("ResourceVersionTooLarge", "Too large resource version", None)
            .detail("retryAfterSeconds", 1);
        refusal.retry_after = Some(1);
        Err(refusal)
    }
}

type Past = BTreeMap<Key, Option<Arc<Object>>>;

/// The version in a query; absent and "0" ask for none in particular.
pub(super) fn asked_version(query: &Query) -> Served<Option<u64>> {
    match query.get("resourceVersion") {
        "" | "0" => Ok(None),
        text => text.parse().map(Some).map_err(|_| invalid_version(text)),
    }
}

fn invalid_version(text: &str) -> Refusal {
    Refusal::bad_request(format!(
        "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid \
         syntax"
    ))
}

/// The version that a list must be answered from, where it asks for exactly one.
fn exact(query: &Query) -> Option<u64> {
    let version = query.number::<u64>("resourceVersion").filter(|version| *version > 0)?;
    let legacy = query.get("resourceVersionMatch").is_empty() && query.has("limit");
    (query.get("resourceVersionMatch") == "Exact" || legacy).then_some(version)
}

/// Objects in order, the past winning over the present.
fn merged<'a>(
    live: impl Iterator<Item = &'a Arc<Object>>,
    past: impl Iterator<Item = (Key, Option<Arc<Object>>)>,
) -> impl Iterator<Item = Arc<Object>> {
    let (mut live, mut past) = (live.peekable(), past.peekable());
    std::iter::from_fn(move || {
        loop {
            let take_live = match (live.peek(), past.peek()) {
                (Some(object), Some((key, _))) => object.key < *key,
                (Some(_), None) => true,
                (None, _) => false,
            };
            if take_live {
                return live.next().cloned();
            }
            let (key, object) = past.next()?;
            if live.peek().is_some_and(|object| object.key == key) {
                live.next();
            }
            if object.is_some() {
                return object;
            }
        }
    })
}

/// Where a paged list goes on. Opaque to clients, as hexadecimal text.
struct Token {
    version: u64,
    remaining: Option<usize>,
    last: Key,
}

impl Token {
    fn write(&self) -> String {
        let remaining = self.remaining.map_or(String::new(), |remaining| remaining.to_string());
        let plain = format!("{}|{remaining}|{}|{}", self.version, self.last.namespace, self.last.name);
        plain.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes: Option<Vec<u8>> = (0..text.len())
            .step_by(2)
            .map(|place| text.get(place..place + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect();
        let plain = String::from_utf8(bytes?).ok()?;
        let mut parts = plain.split('|');
        let version = parts.next()?.parse().ok()?;
        let remaining = parts.next()?.parse().ok();
        let last = Key::new(parts.next()?, parts.next()?);
        Some(Self { version, remaining, last })
    }
}
