//! The watches: one stream per kind, whose events are folded elsewhere. A broken stream is started again without end.

use futures::{StreamExt, TryStreamExt};
use jiff::SignedDuration;
use k8s_openapi::{NamespaceResourceScope, Resource};
use kube::Api;
use kube::runtime::watcher;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

use super::ClusterApi;
use crate::clock::Clock;
use crate::live::{Event, Kind, Object, Seen, Watch, Watched, watch_all};

/// How long a broken watch rests: long enough not to add to an outage, short enough to see a stop in time.
const REST: SignedDuration = SignedDuration::from_millis(500);

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
        self.stream(kind, Api::<K>::all(self.cluster.client.clone()), watcher::Config::default(), seen);
    }

    fn within<K>(&mut self, kind: Kind, seen: fn(Event<Box<K>>) -> Watched, namespace: &'static str)
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        let api = Api::<K>::namespaced(self.cluster.client.clone(), namespace);
        self.stream(kind, api, watcher::Config::default(), seen);
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
        let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
        self.stream(kind, api, only, seen);
    }
}

impl Streams<'_> {
    fn stream<K: Object>(
        &mut self,
        kind: Kind,
        api: Api<K>,
        config: watcher::Config,
        wrap: fn(Event<Box<K>>) -> Watched,
    ) {
        let (clock, seen) = (self.clock.clone(), self.seen.clone());
        self.tasks.spawn(async move {
            let mut stream = watcher(api, config).boxed();
            loop {
                match stream.try_next().await {
                    Ok(Some(event)) => {
                        if seen.send(Seen::Watched(wrap(translate(event)))).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => return,
                    // The stream lists or watches again when it is polled next.
                    Err(error) => {
                        let why = super::chain(&error);
                        tracing::debug!(kind = kind.name(), why, "watch interrupted");
                        if seen.send(Seen::Unseen { kind, why }).await.is_err() {
                            return;
                        }
                        clock.sleep(REST).await;
                    }
                }
            }
        });
    }
}

fn translate<K>(event: watcher::Event<K>) -> Event<Box<K>> {
    match event {
        watcher::Event::Init => Event::Begin,
        watcher::Event::InitApply(object) => Event::Listed(Box::new(object)),
        watcher::Event::InitDone => Event::End,
        watcher::Event::Apply(object) => Event::Applied(Box::new(object)),
        watcher::Event::Delete(object) => Event::Deleted(Box::new(object)),
    }
}
