//! The watches: one stream per kind, whose events are folded elsewhere. A broken stream is started again without end, and
//! tells that nothing is heard of its kind until it is back.

use std::time::Duration;

use futures::StreamExt;
use jiff::SignedDuration;
use k8s_openapi::{NamespaceResourceScope, Resource};
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::Status;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

use super::lean::{Lean, lean_list, lean_watch};
use super::{CallError, ClusterApi};
use crate::clock::Clock;
use crate::live::{Event, Kind, Object, Seen, Watch, Watched, watch_all};
use crate::model::live::{CallFailure, SILENT};

/// How long a broken watch rests at first: long enough not to add to an outage, short enough to be back at once.
const REST: SignedDuration = SignedDuration::from_millis(500);
const LONGEST_REST: SignedDuration = SignedDuration::from_secs(8);
/// Objects in one page of a list. A page is in memory as text, twice while it is copied, and as objects: of pods of 8 KB, one of
/// 500, as `kubectl` takes them, is 4 MB each time.
const PAGE: u32 = 200;
/// Seconds after which the API server ends a watch.
const WATCH: u32 = 290;
/// The longest time until a page of a list, or the beginning of a watch.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Starts the watches of all kinds. They end when the set is dropped or the receiver is closed.
pub fn watch(cluster: &ClusterApi, clock: &Clock, seen: &Sender<Seen>) -> JoinSet<()> {
    let mut streams = Streams { cluster, clock, seen, tasks: JoinSet::new() };
    watch_all(&mut streams);
    streams.tasks
}

struct Streams<'a> {
    cluster: &'a ClusterApi,
    clock: &'a Clock,
    seen: &'a Sender<Seen>,
    tasks: JoinSet<()>,
}

impl Watch for Streams<'_> {
    fn all<K: Object>(&mut self, kind: Kind, seen: fn(Event<Box<K>>) -> Watched) {
        self.stream(kind, Api::<K>::all(self.cluster.client.clone()), None, seen);
    }

    fn within<K>(&mut self, kind: Kind, seen: fn(Event<Box<K>>) -> Watched, namespace: &'static str)
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        let api = Api::<K>::namespaced(self.cluster.client.clone(), namespace);
        self.stream(kind, api, None, seen);
    }

    fn named<K>(
        &mut self,
        kind: Kind,
        seen: fn(Event<Box<K>>) -> Watched,
        namespace: &'static str,
        name: &'static str,
    ) where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        let api = Api::<K>::namespaced(self.cluster.client.clone(), namespace);
        self.stream(kind, api, Some(format!("metadata.name={name}")), seen);
    }
}

impl Streams<'_> {
    fn stream<K: Object>(
        &mut self,
        kind: Kind,
        api: Api<K>,
        fields: Option<String>,
        wrap: fn(Event<Box<K>>) -> Watched,
    ) {
        let stream = Stream { kind, api, fields, wrap, clock: self.clock.clone(), seen: self.seen.clone() };
        self.tasks.spawn(stream.run());
    }
}

/// Why a list or a watch is over.
enum Over {
    /// Nothing reads what is seen any more.
    Closed,
    /// The revision is not one to watch from: list anew; why.
    Gone(CallFailure),
    Failed(CallFailure),
}

/// The list and watch of one kind. Bookmarks, which an API server sends once a minute, are told as "heard": they are what
/// tells a quiet watch from a dead one.
struct Stream<K> {
    kind: Kind,
    api: Api<K>,
    fields: Option<String>,
    wrap: fn(Event<Box<K>>) -> Watched,
    clock: Clock,
    seen: Sender<Seen>,
}

impl<K: Object> Stream<K> {
    /// Lists and watches until nothing reads it any more.
    async fn run(self) {
        let mut from: Option<String> = None;
        let mut failures = 0;
        loop {
            let done = match from.take() {
                None => self.list().await,
                Some(revision) => self.watch(&revision, &mut from).await.map(|()| from.clone()),
            };
            let why = match done {
                Ok(revision) => {
                    (from, failures) = (revision, 0);
                    continue;
                }
                Err(Over::Closed) => return,
                Err(Over::Gone(why)) => {
                    from = None;
                    why
                }
                Err(Over::Failed(why)) => why,
            };
            if self.tell(Seen::Unseen { kind: self.kind, why }).await.is_err() {
                return;
            }
            failures += 1;
            self.clock.sleep(rest(failures)).await;
        }
    }

    async fn tell(&self, seen: Seen) -> Result<(), Over> {
        self.seen.send(seen).await.map_err(|_| Over::Closed)
    }

    async fn event(&self, event: Event<Box<K>>) -> Result<(), Over> {
        self.tell(Seen::Watched((self.wrap)(event))).await
    }

    /// Lists all objects as etcd has them now, page by page; the revision to watch from.
    async fn list(&self) -> Result<Option<String>, Over> {
        let mut params =
            ListParams { field_selector: self.fields.clone(), ..ListParams::default() }.limit(PAGE);
        let mut first = true;
        loop {
            let page = in_time(lean_list(&self.api, &params)).await?;
            if std::mem::take(&mut first) {
                self.event(Event::Begin).await?;
            }
            for Lean(object) in page.items {
                self.event(Event::Listed(Box::new(object))).await?;
            }
            let next = page.metadata.continue_.filter(|token| !token.is_empty());
            if next.is_none() {
                self.event(Event::End).await?;
                return Ok(page.metadata.resource_version);
            }
            params.continue_token = next;
        }
    }

    /// Watches from a revision until the API server ends the watch. `from` follows what was seen, also when it fails.
    async fn watch(&self, revision: &str, from: &mut Option<String>) -> Result<(), Over> {
        let params = WatchParams {
            field_selector: self.fields.clone(),
            timeout: Some(WATCH),
            bookmarks: true,
            ..WatchParams::default()
        };
        *from = Some(revision.to_owned());
        let mut stream = in_time(lean_watch(&self.api, &params, revision)).await?.boxed();
        self.tell(Seen::Heard(self.kind)).await?;
        while let Some(event) = self.unless_silent(stream.next()).await? {
            let event = event.map_err(over)?;
            let (event, revision) = match event {
                WatchEvent::Added(Lean(object)) | WatchEvent::Modified(Lean(object)) => {
                    let revision = object.metadata().resource_version.clone();
                    (Some(Event::Applied(Box::new(object))), revision)
                }
                WatchEvent::Deleted(Lean(object)) => {
                    let revision = object.metadata().resource_version.clone();
                    (Some(Event::Deleted(Box::new(object))), revision)
                }
                WatchEvent::Bookmark(bookmark) => (None, Some(bookmark.metadata.resource_version)),
                WatchEvent::Error(status) => return Err(over(kube::Error::Api(status))),
            };
            if let Some(event) = event {
                self.event(event).await?;
            }
            self.tell(Seen::Heard(self.kind)).await?;
            if revision.is_some() {
                *from = revision;
            }
        }
        // From here until the next watch has been accepted nothing is heard of the kind.
        self.tell(Seen::Unseen {
            kind: self.kind,
            why: CallFailure::Other("the watch ended, and the next one has not begun".to_owned()),
        })
        .await
    }

    /// The next event. A connection that was lost on the way says nothing, not even that it has ended. Nor does a watch
    /// from a revision that etcd has not reached, which is what is left of one after etcd was restored from a snapshot.
    /// So a list follows.
    async fn unless_silent<T>(&self, event: impl Future<Output = T>) -> Result<T, Over> {
        tokio::select! {
            biased;
            event = event => Ok(event),
            () = self.clock.sleep(SILENT) => {
                let why = format!("nothing was heard for {} s, so they are listed anew", SILENT.as_secs());
                Err(Over::Gone(CallFailure::Other(why)))
            }
        }
    }
}

/// A call with a time limit: an API server that accepts a request and never answers is no answer.
async fn in_time<T>(work: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Over> {
    match tokio::time::timeout(CALL_LIMIT, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(over(error)),
        Err(_) => {
            Err(Over::Failed(CallFailure::Other(format!("no answer within {} s", CALL_LIMIT.as_secs()))))
        }
    }
}

fn over(error: kube::Error) -> Over {
    match error {
        kube::Error::Api(status) if status.code == 410 => {
            Over::Gone(CallFailure::Other("its revision is too old, so they are listed anew".to_owned()))
        }
        kube::Error::Api(status) if is_ahead_of_etcd(&status) => {
            let why = "its revision is newer than any that etcd has, so they are listed anew";
            Over::Gone(CallFailure::Other(why.to_owned()))
        }
        other => Over::Failed(CallError::of(other).failure()),
    }
}

/// True if the API server says that a revision lies ahead: etcd was restored from a snapshot.
fn is_ahead_of_etcd(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "ResourceVersionTooLarge")
}

/// How long a list or a watch rests after so many failures in a row: doubled each time, and never long enough to make a
/// short outage longer.
fn rest(failures: u32) -> SignedDuration {
    REST.saturating_mul(1 << failures.saturating_sub(1).min(4)).min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_revision_that_cannot_be_watched_from_leads_to_a_list() {
        let told = |code: u16, reason: &str, cause: &str| {
            let status = json!({"code": code, "reason": reason, "details": {"causes": [{"reason": cause}]}});
            over(kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
        };
        assert!(matches!(told(410, "Expired", ""), Over::Gone(_)));
        assert!(matches!(told(504, "Timeout", "ResourceVersionTooLarge"), Over::Gone(_)));
        assert!(matches!(told(504, "Timeout", ""), Over::Failed(_)));
    }
}
