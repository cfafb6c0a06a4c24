//! Watches: one stream per kind, folded by somebody else. A broken stream is picked up again for ever.

use futures::{StreamExt, TryStreamExt};
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::runtime::watcher;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

use super::{Cluster, NAMESPACE, NOTES, RESUME, STOP};
use crate::clock::Clock;
use crate::live::{Event, Seen};

/// How long a broken watch rests: long enough not to add to an outage, short enough for a stop to be seen in time.
const REST: SignedDuration = SignedDuration::from_millis(500);

/// Starts all watches; they end when the set is dropped or nobody listens any more.
pub fn watch(cluster: &Cluster, clock: &Clock, seen: &Sender<Seen>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let client = || cluster.client.clone();
    let all = watcher::Config::default;
    let named = |name: &str| all().fields(&format!("metadata.name={name}"));
    let mut start = Starter { tasks: &mut tasks, clock, seen };
    start.stream(Api::<Node>::all(client()), all(), Seen::Node);
    start.stream(Api::<Pod>::all(client()), all(), Seen::Pod);
    start.stream(Api::<PodDisruptionBudget>::all(client()), all(), Seen::Budget);
    start.stream(Api::<Deployment>::all(client()), all(), Seen::Deployment);
    start.stream(Api::<ReplicaSet>::all(client()), all(), Seen::ReplicaSet);
    start.stream(Api::<StatefulSet>::all(client()), all(), Seen::StatefulSet);
    start.stream(Api::<DaemonSet>::all(client()), all(), Seen::DaemonSet);
    start.stream(Api::<Job>::namespaced(client(), NAMESPACE), all(), Seen::Job);
    start.stream(Api::<VolumeAttachment>::all(client()), all(), Seen::Attachment);
    start.stream(Api::<ConfigMap>::namespaced(client(), NOTES), named(STOP), Seen::Stop);
    start.stream(Api::<ConfigMap>::namespaced(client(), NOTES), named(RESUME), Seen::Resume);
    tasks
}

struct Starter<'a> {
    tasks: &'a mut JoinSet<()>,
    clock: &'a Clock,
    seen: &'a Sender<Seen>,
}

impl Starter<'_> {
    fn stream<K>(&mut self, api: Api<K>, config: watcher::Config, wrap: fn(Event<Box<K>>) -> Seen)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
    {
        let (clock, seen) = (self.clock.clone(), self.seen.clone());
        self.tasks.spawn(async move {
            let mut stream = watcher(api, config).boxed();
            loop {
                match stream.try_next().await {
                    Ok(Some(event)) => {
                        if seen.send(wrap(translate(event))).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => return,
                    // The stream lists or watches anew at its next poll.
                    Err(error) => {
                        let (kind, why) = (K::plural(&()).into_owned(), super::chain(&error));
                        tracing::debug!(kind, why, "watch interrupted");
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
