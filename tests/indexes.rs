//! What the picture of a cluster keeps beside its objects, and what is counted from one change to the next: after any
//! folds both are as if they had been made anew.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use windlass::gate::Census;
use windlass::live::{Event, Folder, Seen, Watched};
use windlass::model::desired::Cluster;
use windlass::model::live::{Live, Pod};

use crate::worlds;

/// One object that is seen, or seen no more.
#[derive(Clone, Debug)]
enum Change {
    Node(Value, bool),
    Pod(Value, bool),
    Budget(Value, bool),
    /// A list of all pods with these alone.
    Pods(Vec<Value>),
}

fn there() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.8)
}

fn node() -> impl Strategy<Value = Value> {
    let labels = prop_oneof![
        Just(json!({"pool": "general"})),
        Just(json!({"pool": "batch"})),
        Just(json!({"pool": "batch", "also": "general"})),
        Just(json!({})),
        Just(json!({"node-role.kubernetes.io/control-plane": ""})),
        Just(json!({"pool": "general", "kubernetes.io/os": "windows"})),
    ];
    let version = prop_oneof![Just("v1.35.4"), Just("v1.36.3"), Just("v1.36.3+k3s1"), Just("none")];
    let ready = prop_oneof![3 => Just("True"), 1 => Just("False")];
    (0..4_u8, labels, version, ready, any::<bool>()).prop_map(|(number, labels, version, ready, cordoned)| {
        json!({
            "metadata": {"name": format!("w{number}"), "uid": format!("uid-w{number}"), "labels": labels},
            "spec": {"unschedulable": cordoned},
            "status": {
                "nodeInfo": {"kubeletVersion": version, "architecture": "", "bootID": "", "containerRuntimeVersion": "",
                    "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "", "osImage": "",
                    "systemUUID": ""},
                "conditions": [{"type": "Ready", "status": ready}]},
        })
    })
}

fn pod() -> impl Strategy<Value = Value> {
    let labels = prop::collection::btree_map("[abc]", "[xyz]", 0..=3);
    let owner = prop::option::of(0..3_u8);
    (0..8_u8, 0..2_u8, 0..4_u8, labels, owner).prop_map(|(number, space, node, labels, owner)| {
        let owner = owner.map(|owner| {
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": format!("owner-{owner}"), "controller": true})
        });
        json!({
            "metadata": {"name": format!("p{number}"), "namespace": format!("s{space}"), "uid": format!("uid-{number}"),
                "labels": labels, "ownerReferences": owner.into_iter().collect::<Vec<_>>()},
            "spec": {"nodeName": format!("w{node}"), "containers": []},
        })
    })
}

fn budget() -> impl Strategy<Value = Value> {
    let expression = (
        "[abc]",
        prop_oneof![Just("In"), Just("NotIn"), Just("Exists"), Just("DoesNotExist")],
        prop::collection::vec("[xyz]", 1..=2),
    );
    let expression = expression.prop_map(|(key, operator, values)| {
        let values = if operator.ends_with("In") { values } else { Vec::new() };
        json!({"key": key, "operator": operator, "values": values})
    });
    let selector =
        (prop::collection::btree_map("[abc]", "[xyz]", 0..=2), prop::collection::vec(expression, 0..=2));
    let selector = prop::option::of(
        selector.prop_map(|(labels, of)| json!({"matchLabels": labels, "matchExpressions": of})),
    );
    (0..4_u8, 0..2_u8, selector).prop_map(|(number, space, selector)| {
        json!({"metadata": {"name": format!("b{number}"), "namespace": format!("s{space}")}, "spec": {"selector": selector}})
    })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (node(), there()).prop_map(|(node, there)| Change::Node(node, there)),
        4 => (pod(), there()).prop_map(|(pod, there)| Change::Pod(pod, there)),
        4 => (budget(), there()).prop_map(|(budget, there)| Change::Budget(budget, there)),
        1 => prop::collection::vec(pod(), 0..4).prop_map(Change::Pods),
    ]
}

fn read<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn event<K: DeserializeOwned>(value: Value, there: bool) -> Event<Box<K>> {
    let object = Box::new(read(value));
    if there { Event::Applied(object) } else { Event::Deleted(object) }
}

fn fold(folder: &mut Folder, change: Change, revision: usize) {
    let now = Timestamp::UNIX_EPOCH;
    let mut fold = |watched: Watched| folder.fold(Seen::Watched(watched), now);
    let newer = |mut value: Value| {
        value["metadata"]["resourceVersion"] = json!(revision.to_string());
        value
    };
    match change {
        Change::Node(value, there) => fold(Watched::Node(event(newer(value), there))),
        Change::Pod(value, there) => fold(Watched::Pod(event(newer(value), there))),
        Change::Budget(value, there) => fold(Watched::Budget(event(newer(value), there))),
        Change::Pods(values) => {
            fold(Watched::Pod(Event::Begin));
            for value in values {
                fold(Watched::Pod(Event::Listed(Box::new(read(newer(value))))));
            }
            fold(Watched::Pod(Event::End));
        }
    }
}

/// Pools of which one selects nodes of two kinds, so that a node may belong to several.
fn cluster() -> Cluster {
    let pools = vec![
        worlds::pool("general", "pool=general"),
        worlds::pool("batch", "pool=batch"),
        worlds::pool("also", "also=general"),
    ];
    worlds::desired("v1.36.3".parse().unwrap(), pools).cluster
}

fn every_index_is_as_made_anew(live: &Live) -> Result<(), TestCaseError> {
    for pod in live.pods.values() {
        let of_namespace = live.budgets.iter().filter(|((namespace, _), _)| *namespace == pod.namespace);
        let anew: Vec<_> = of_namespace.filter(|(_, budget)| budget.selects(pod)).collect();
        let blocks = anew.len() > 1 || anew.iter().any(|(_, budget)| budget.never.is_some());
        prop_assert!(!blocks || live.budgets.may_block(&pod.namespace));
        prop_assert_eq!(live.budgets_of(pod), anew);
    }
    let names =
        |pods: &mut dyn Iterator<Item = &Pod>| pods.map(|pod| pod.uid.to_string()).collect::<Vec<_>>();
    let (mut of_nodes, mut of_owners, mut unowned) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for pod in live.pods.values() {
        let node = pod.node.clone().unwrap();
        of_nodes.entry(node).or_insert_with(Vec::new).push(pod.uid.to_string());
        match &pod.owner {
            Some(owner) => {
                of_owners.entry(owner.uid.clone()).or_insert_with(Vec::new).push(pod.uid.to_string());
            }
            None => unowned.push(pod.uid.to_string()),
        }
    }
    for node in ["w0", "w1", "w2", "w3"] {
        let anew = of_nodes.get(node).cloned().unwrap_or_default();
        prop_assert_eq!(names(&mut live.pods_on(node)), anew);
    }
    let by_owner: Vec<_> = live.pods.by_owner().map(|mut pods| names(&mut pods)).collect();
    prop_assert_eq!(by_owner, of_owners.into_values().collect::<Vec<_>>());
    prop_assert_eq!(names(&mut live.pods.unowned()), unowned);
    let control_plane: BTreeSet<_> = live.control_plane().map(|node| &node.name).collect();
    let anew: BTreeSet<_> =
        live.nodes.values().filter(|node| node.control_plane).map(|node| &node.name).collect();
    prop_assert_eq!(control_plane, anew);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_any_folds_all_is_as_if_made_anew(changes in prop::collection::vec(change(), 1..40)) {
        let (mut folder, mut census, cluster) = (Folder::default(), Census::default(), cluster());
        for (revision, change) in changes.into_iter().enumerate() {
            fold(&mut folder, change, revision);
            every_index_is_as_made_anew(&folder.live)?;
            let changed = folder.live.nodes.take_changed();
            census.update(&cluster, &folder.live, &changed);
            prop_assert_eq!(&census, &Census::of(&cluster, &folder.live));
        }
    }
}
