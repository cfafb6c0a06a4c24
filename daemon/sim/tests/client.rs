//! The router under a real client, in paused time.

use super::*;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kube::runtime::watcher::{self, Event};
use std::sync::Arc;
use std::time::Duration;

/// Time that starts at the world's start and follows tokio's paused clock.
#[expect(clippy::disallowed_methods, reason = "the test owns the clock")]
fn server(settings: Settings) -> Server {
    let origin = tokio::time::Instant::now();
    let now: NowFn = Arc::new(move || {
        let passed = SignedDuration::try_from(tokio::time::Instant::now() - origin).expect("a short time");
        start() + passed
    });
    let sleep: SleepUntilFn = Arc::new(move |until| {
        let wait = Duration::try_from(until.duration_since(start())).unwrap_or_default();
        Box::pin(tokio::time::sleep_until(origin + wait))
    });
    Server::new(Cluster::new(settings, start()), now, sleep)
}

#[tokio::test(start_paused = true)]
async fn a_real_client_lists_watches_and_patches() {
    let server = server(Settings::default());
    server.with(|cluster, now| {
        for name in ["n1", "n2"] {
            cluster
                .create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}), now)
                .expect("a node");
        }
        cluster.create(deployment("web", 3), now).expect("a deployment");
    });
    let driver = server.clone();
    tokio::spawn(async move { driver.drive().await });
    let client = kube::Client::new(server.router(), "default");
    let nodes: Api<Node> = Api::all(client.clone());
    assert_eq!(nodes.list(&ListParams::default()).await.expect("a list").items.len(), 2);

    let pods: Api<Pod> = Api::namespaced(client, "default");
    let mut stream = watcher::watcher(pods.clone(), watcher::Config::default()).boxed();
    let mut ready = 0;
    while ready < 3 {
        let event = tokio::time::timeout(Duration::from_mins(1), stream.next()).await.expect("in time");
        if let Some(Ok(Event::Apply(pod))) = event {
            let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
            ready += usize::from(conditions.iter().any(|row| row.type_ == "Ready" && row.status == "True"));
        }
    }
    let patch = Patch::Merge(json!({"spec": {"unschedulable": true}}));
    let node = nodes.patch("n1", &PatchParams::default(), &patch).await.expect("a cordon");
    assert_eq!(node.spec.and_then(|spec| spec.unschedulable), Some(true));
    let tainted = |node: Option<&Node>| {
        let taints = node.and_then(|node| node.spec.as_ref()?.taints.as_ref()?.first());
        taints.map(|taint| taint.key.as_str()) == Some("node.kubernetes.io/unschedulable")
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), await_condition(nodes, "n1", tainted)).await;
    waited.expect("in time").expect("a watch");
}

#[tokio::test(start_paused = true)]
async fn streaming_lists_end_with_a_bookmark() {
    let server = server(Settings::default());
    server.with(|cluster, now| cluster.create(pod("p", "a"), now).expect("a pod"));
    let pods: Api<Pod> = Api::all(kube::Client::new(server.router(), "default"));
    let stream = watcher::watcher(pods, watcher::Config::default().streaming_lists());
    let events: Vec<_> = stream.take(3).map(|event| event.expect("no error")).collect().await;
    assert!(matches!(events.as_slice(), [Event::Init, Event::InitApply(_), Event::InitDone]), "{events:?}");
}
