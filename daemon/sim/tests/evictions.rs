//! Evictions: who decides, in which order, and the arithmetic of budgets.

use super::*;

fn protected(replicas: usize, rule: &Value) -> World {
    let mut world = World::new();
    world.nodes(4);
    world.add(deployment("web", replicas));
    world.add(budget("web", "web", rule));
    world.pass(10.0);
    world
}

#[test]
fn arithmetic_of_budgets() {
    let table = [
        (3, json!({"maxUnavailable": 1}), (3, 2, 1)),
        (3, json!({"maxUnavailable": "50%"}), (3, 1, 2)),
        (3, json!({"maxUnavailable": 0}), (3, 3, 0)),
        (3, json!({"maxUnavailable": "0%"}), (3, 3, 0)),
        (1, json!({"maxUnavailable": 1}), (1, 0, 1)),
        (2, json!({"maxUnavailable": 5}), (2, 0, 2)),
        (3, json!({"minAvailable": 2}), (3, 2, 1)),
        (1, json!({"minAvailable": 1}), (1, 1, 0)),
        (2, json!({"minAvailable": "51%"}), (2, 2, 0)),
        (4, json!({"minAvailable": "100%"}), (4, 4, 0)),
        (4, json!({"minAvailable": "50%"}), (4, 2, 2)),
        (0, json!({"minAvailable": 0}), (0, 0, 0)),
    ];
    for (replicas, rule, (expected, desired, allowed)) in table {
        let world = protected(replicas, &rule);
        let status = world.tree(Kind::PodDisruptionBudget, "default", "web")["status"].clone();
        let found = (&status["expectedPods"], &status["desiredHealthy"], &status["disruptionsAllowed"]);
        assert_eq!(found, (&json!(expected), &json!(desired), &json!(allowed)), "{replicas} {rule}");
        assert_eq!(status["observedGeneration"], 1);
        assert_eq!(status["currentHealthy"], replicas);
    }
}

#[test]
fn a_budget_lets_one_go_and_refuses_the_next() {
    let mut world = protected(3, &json!({"maxUnavailable": 1}));
    let pods = world.pods();
    let (code, answer) = world.evict(&pods[0], &json!({}));
    assert_eq!((code, &answer["status"]), (201, &json!("Success")));
    let evicted = world.tree(Kind::Pod, "default", &pods[0]);
    let mark = json::find_condition(&evicted, "DisruptionTarget").expect("the mark");
    assert_eq!(mark["reason"], "EvictionByEvictionAPI");
    let status = world.tree(Kind::PodDisruptionBudget, "default", "web")["status"].clone();
    assert!(status["disruptedPods"][&pods[0]].is_string());

    let (code, answer) = world.evict(&pods[1], &json!({}));
    assert_eq!(code, 429);
    assert_eq!(answer["reason"], "TooManyRequests");
    assert_eq!(answer["details"]["causes"][0]["reason"], "DisruptionBudget");
    assert!(answer["details"].get("retryAfterSeconds").is_none());

    world.pass(10.0);
    assert_eq!(world.ready(), 3);
    assert_eq!(world.evict(&pods[1], &json!({})).0, 201);
    assert!(world.cluster.breaches().is_empty());
}

#[test]
fn an_evicted_pod_is_gone_after_its_termination_and_never_twice() {
    let mut world = protected(3, &json!({"maxUnavailable": 1}));
    let name = world.pods()[0].clone();
    world.evict(&name, &json!({}));
    // Already deleting: the budget is not asked.
    assert_eq!(world.evict(&name, &json!({})).0, 201);
    world.pass(2.9);
    assert!(world.pods().contains(&name));
    world.pass(0.2);
    assert!(!world.pods().contains(&name));
    assert_eq!(world.evict(&name, &json!({})).0, 404);
}

#[test]
fn a_stale_uid_is_a_conflict_after_the_budget_has_been_asked() {
    let mut world = protected(3, &json!({"maxUnavailable": 1}));
    let pods = world.pods();
    let (code, answer) = world.evict(&pods[0], &json!({"preconditions": {"uid": "other"}}));
    assert_eq!((code, &answer["reason"]), (409, &json!("Conflict")));
    assert!(
        answer["message"].as_str().is_some_and(|text| text.contains("the UID in the precondition (other)"))
    );
    let status = world.tree(Kind::PodDisruptionBudget, "default", "web")["status"].clone();
    assert_eq!(status["disruptionsAllowed"], 0, "a real server has booked it by then");
}

#[test]
fn two_budgets_are_an_error_that_never_passes() {
    let mut world = protected(3, &json!({"maxUnavailable": 1}));
    world.add(budget("second", "web", &json!({"minAvailable": 0})));
    world.pass(1.0);
    let name = world.pods()[0].clone();
    let (code, answer) = world.evict(&name, &json!({}));
    assert_eq!(code, 500);
    assert!(
        answer["message"].as_str().is_some_and(|text| text.contains("more than one PodDisruptionBudget"))
    );
}

#[test]
fn a_fresh_budget_is_still_being_processed() {
    let mut world = World::new();
    world.nodes(2);
    world.add(deployment("web", 2));
    world.pass(10.0);
    world.add(budget("web", "web", &json!({"maxUnavailable": 1})));
    let name = world.pods()[0].clone();
    let (code, answer) = world.evict(&name, &json!({}));
    assert_eq!((code, &answer["details"]["retryAfterSeconds"]), (429, &json!(10)));
    world.pass(0.3);
    assert_eq!(world.evict(&name, &json!({})).0, 201);
}

#[test]
fn unready_pods_go_by_policy() {
    for (policy, healthy_enough, code) in
        [("IfHealthyBudget", true, 201), ("IfHealthyBudget", false, 429), ("AlwaysAllow", false, 201)]
    {
        let rule = json!({"minAvailable": 2, "unhealthyPodEvictionPolicy": policy});
        let mut world = protected(if healthy_enough { 3 } else { 2 }, &rule);
        let name = world.pods()[0].clone();
        let unready = |tree: &mut Value| {
            for row in tree["status"]["conditions"].as_array_mut().expect("conditions") {
                if row["type"] == "Ready" {
                    row["status"] = json!("False");
                }
            }
        };
        world.cluster.change(Kind::Pod, "default", &name, world.now, unready);
        world.pass(0.3);
        assert_eq!(world.evict(&name, &json!({})).0, code, "{policy} {healthy_enough}");
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let mut world = protected(3, &json!({"maxUnavailable": 1}));
    let name = world.pods()[0].clone();
    let version = world.cluster.version();
    assert_eq!(world.evict(&name, &json!({"dryRun": ["All"]})).0, 201);
    assert_eq!(world.cluster.version(), version);
}

#[test]
fn an_empty_selector_protects_everything_and_none_protects_nothing() {
    for (selector, code) in [(json!({}), 429), (Value::Null, 201)] {
        let mut world = World::new();
        world.nodes(1);
        world.add(pod("bare", "x"));
        let mut tree = budget("all", "x", &json!({"minAvailable": 1}));
        tree["spec"]["selector"] = selector;
        world.add(tree);
        world.pass(10.0);
        assert_eq!(world.evict("bare", &json!({})).0, code);
    }
}

#[test]
fn deleting_past_a_budget_is_a_breach_and_losing_a_node_is_not() {
    let mut world = protected(3, &json!({"maxUnavailable": 1}));
    let node = world.tree(Kind::Pod, "default", &world.pods()[0])["spec"]["nodeName"]
        .as_str()
        .expect("a node")
        .to_owned();
    world.cluster.kill_node(&node, world.now);
    world.pass(120.0);
    assert!(world.cluster.breaches().is_empty());
    let healthy: Vec<_> =
        world.cluster.objects(Kind::Pod, "default").filter(|pod| pod.healthy()).cloned().collect();
    for pod in healthy {
        world.delete(&format!("/api/v1/namespaces/default/pods/{}", pod.key.name), &Value::Null);
    }
    assert!(!world.cluster.breaches().is_empty());
}

#[test]
fn the_body_must_be_an_eviction_of_the_pod_in_the_path() {
    let mut world = protected(1, &json!({"maxUnavailable": 1}));
    let name = world.pods()[0].clone();
    let path = format!("/api/v1/namespaces/default/pods/{name}/eviction");
    assert_eq!(world.post(&path, &json!({"metadata": {"name": "other"}})).0, 400);
    let old = json!({"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": name}});
    assert_eq!(world.post(&path, &old).0, 400);
}

#[test]
fn the_audit_knows_what_was_observed() {
    let mut world = protected(3, &json!({"maxUnavailable": 1}));
    let name = world.pods()[0].clone();
    let uid = world.tree(Kind::Pod, "default", &name)["metadata"]["uid"].as_str().expect("a uid").to_owned();
    world.evict(&name, &json!({"preconditions": {"uid": uid}}));
    let (entry, eviction) = world.cluster.audit().evictions().next().expect("an entry");
    assert_eq!((entry.code, entry.agent.as_str()), (201, "test/1"));
    assert_eq!((&eviction.uid, eviction.expected_uid.as_ref(), eviction.accepted), (&uid, Some(&uid), true));
    world.pass(1.0);
    let mark = world.cluster.audit().low_water.values().next().expect("a mark");
    assert_eq!((mark.ready, mark.replicas, mark.name.as_str()), (2, 3, "web"));
}
