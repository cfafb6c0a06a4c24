//! The judge finds each breach, and has nothing against a run in order.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use windlass::model::names::{CLAIM, OUTDATED};

use super::judge::{Evidence, Version};
use super::schedule::Act;
use super::{AGENT, AGENT_IMAGES, BUDGETED, SURGES};
use crate::world::line::Sent;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn version(seconds: i64, kind: &'static str, name: &str, object: Value) -> Version {
    let uid = format!("{name}-uid");
    Version { at: at(seconds), kind, name: name.to_owned(), uid, object, deleted: false }
}

/// A worker; claimed in an epoch, or cordoned by somebody else.
fn node(seconds: i64, name: &str, runs: &str, claim: Option<u64>, cordoned: bool) -> Version {
    let annotations =
        claim.map(|epoch| json!({CLAIM: json!({"epoch": epoch, "wasUnschedulable": false}).to_string()}));
    let object = json!({"metadata": {"labels": {"pool": "w"}, "annotations": annotations},
        "spec": {"unschedulable": cordoned},
        "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": runs}}});
    version(seconds, "nodes", name, object)
}

fn job(seconds: i64, name: &str, component: &str, node: &str, done: bool) -> Version {
    let conditions = if done { json!([{"type": "Complete", "status": "True"}]) } else { json!([]) };
    let labels = json!({"windlass.dev/component": component, "windlass.dev/node": node,
        "windlass.dev/target-version": "v1.36.3"});
    version(
        seconds,
        "jobs",
        name,
        json!({"metadata": {"labels": labels}, "status": {"conditions": conditions}}),
    )
}

fn agent(seconds: i64, image: &str, grace: i64) -> Version {
    let spec = json!({"terminationGracePeriodSeconds": grace, "containers": [{"name": "c", "image": image}]});
    version(seconds, "daemonsets", AGENT, json!({"spec": {"template": {"spec": spec}}}))
}

fn sent(seconds: i64, verb: &'static str, kind: &str, name: &str, subresource: &str, body: Value) -> Sent {
    let (kind, name, subresource) = (kind.to_owned(), name.to_owned(), subresource.to_owned());
    let answer = Some((at(seconds), 201));
    Sent {
        at: at(seconds),
        verb,
        kind,
        subresource,
        namespace: String::new(),
        name,
        body,
        answer,
        dry_run: false,
    }
}

fn eviction(seconds: i64) -> Sent {
    let body = json!({"deleteOptions": {"preconditions": {"uid": "web-uid"}}});
    sent(seconds, "create", "pods", "web", "eviction", body)
}

/// One worker of two is upgraded as it should be.
fn in_order() -> Evidence {
    let server = json!({"metadata": {"labels": {"component": "kube-apiserver"}},
        "spec": {"containers": [{"image": "kube-apiserver:v1.36.3"}]}});
    let history = vec![
        version(0, "pods", "kube-apiserver-cp1", server),
        node(0, "w1", "v1.35.4", None, false),
        node(0, "w2", "v1.35.4", None, false),
        version(0, "pods", "web", json!({"spec": {"nodeName": "w1"}})),
        version(5, "leases", "windlass", json!({"spec": {"leaseTransitions": 2}})),
        node(10, "w1", "v1.35.4", Some(2), true),
        job(30, "job1", "kubelet", "w1", false),
        node(40, "w1", "v1.36.3", Some(2), true),
        job(41, "job1", "kubelet", "w1", true),
        node(50, "w1", "v1.36.3", None, false),
        agent(55, AGENT_IMAGES[0], 30),
        agent(56, AGENT_IMAGES[1], 30),
    ];
    Evidence { history, sent: vec![eviction(20)], acts: Vec::new(), blur: SignedDuration::ZERO }
}

#[test]
fn a_run_in_order_is_not_complained_about() {
    assert_eq!(in_order().findings(), [""; 0]);
    let mut late = in_order();
    late.acts = vec![(at(19), Act::Stop), (at(60), Act::Resume)];
    assert_eq!(late.findings(), [""; 0], "within two seconds of the stop");
    let mut ahead = in_order();
    ahead.history[1].object["spec"]["taints"] = json!([{"key": OUTDATED, "effect": "PreferNoSchedule"}]);
    ahead.sent[0].at = at(5);
    assert_eq!(ahead.findings().len(), 1, "a pod without a budget leaves no node before its turn");
    ahead.history[3].object["metadata"] = json!({"labels": {"app": BUDGETED[0]}});
    assert_eq!(ahead.findings(), [""; 0], "the pod leaves ahead of the turn of its node");
}

#[test]
fn each_breach_is_found() {
    type Breach = fn(&mut Evidence);
    let breaches: &[(&str, Breach)] = &[
        ("was deleted", |run| run.sent.push(sent(20, "delete", "pods", "web", "", Value::Null))),
        ("names no UID", |run| run.sent[0].body = Value::Null),
        ("never was", |run| run.sent[0].body["deleteOptions"]["preconditions"]["uid"] = json!("other")),
        ("nobody had claimed", |run| run.sent[0].at = at(5)),
        ("asks for rollouts", |run| run.history[3].object["metadata"] = json!({"labels": {"app": SURGES}})),
        ("evicted 2 times", |run| run.sent.push(eviction(21))),
        ("after the stop", |run| run.acts = vec![(at(17), Act::Stop), (at(60), Act::Resume)]),
        ("are out of 1", |run| run.history.insert(6, node(11, "w2", "v1.35.4", Some(2), true))),
        ("foreign cordon", |run| {
            run.acts = vec![(at(1), Act::Cordon("w2"))];
            run.history.push(node(1, "w2", "v1.35.4", None, true));
            run.history.push(node(60, "w2", "v1.35.4", None, false));
        }),
        ("has a taint of ours", |run| {
            let mut tainted = node(60, "w2", "v1.35.4", None, false);
            tainted.object["spec"]["taints"] = json!([{"key": OUTDATED, "effect": "NoExecute"}]);
            run.history.push(tainted);
        }),
        ("the taints", |run| {
            let mut tainted = node(60, "w2", "v1.35.4", None, false);
            tainted.object["spec"]["taints"] = json!([{"key": "spot", "effect": "NoSchedule"}]);
            run.history.push(tainted);
        }),
        ("begun beside", |run| run.history.insert(7, job(31, "job2", "kubelet", "w1", false))),
        ("begun beside", |run| {
            run.history.push(job(60, "job2", "control-plane", "cp1", false));
            run.history.push(job(61, "job3", "control-plane", "cp2", false));
        }),
        ("runs its target", |run| run.history.push(job(60, "job2", "kubelet", "w1", false))),
        ("went from epoch 2 to 1", |run| {
            run.history.push(version(60, "leases", "windlass", json!({"spec": {"leaseTransitions": 1}})));
        }),
        ("nobody asked for", |run| run.history.push(agent(60, "agent:3", 30))),
        ("more than the image", |run| run.history.push(agent(60, AGENT_IMAGES[1], 31))),
        ("older API server", |run| run.history.push(node(60, "w1", "v1.37.0", None, false))),
    ];
    for (words, breach) in breaches {
        let mut run = in_order();
        breach(&mut run);
        let findings = run.findings();
        assert!(findings.len() == 1 && findings[0].contains(words), "{words}: {findings:?}");
    }
}
