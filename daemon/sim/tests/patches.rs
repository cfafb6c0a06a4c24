//! Patches of all kinds, and what guards them.

use super::*;

#[test]
fn strategic_merge_table() {
    let table = [
        (json!({"a": 1}), json!({"b": 2}), json!({"a": 1, "b": 2})),
        (json!({"a": 1}), json!({"a": null}), json!({})),
        (json!({"a": {"x": 1}}), json!({"a": {"$patch": "replace", "y": 2}}), json!({"a": {"y": 2}})),
        (json!({"a": {"x": 1}}), json!({"a": {"$patch": "delete"}}), json!({})),
        (
            json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}),
            json!({"containers": [{"name": "b", "image": "2"}]}),
            json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]}),
        ),
        (
            json!({"containers": [{"name": "a"}, {"name": "b"}]}),
            json!({"containers": [{"name": "a", "$patch": "delete"}], "$setElementOrder/containers": [{"name": "b"}]}),
            json!({"containers": [{"name": "b"}]}),
        ),
        (
            json!({"taints": [{"key": "a", "effect": "NoSchedule"}]}),
            json!({"taints": [{"key": "b", "effect": "NoSchedule"}]}),
            json!({"taints": [{"key": "b", "effect": "NoSchedule"}]}),
        ),
        (json!({"finalizers": ["a"]}), json!({"finalizers": ["b"]}), json!({"finalizers": ["a", "b"]})),
        (
            json!({"finalizers": ["a", "b"]}),
            json!({"$deleteFromPrimitiveList/finalizers": ["a"]}),
            json!({"finalizers": ["b"]}),
        ),
        (
            json!({"ports": [{"containerPort": 80, "name": "x"}]}),
            json!({"ports": [{"containerPort": 80, "name": "y"}, {"containerPort": 81}]}),
            json!({"ports": [{"containerPort": 80, "name": "y"}, {"containerPort": 81}]}),
        ),
        (
            json!({"conditions": [{"type": "Ready", "status": "True"}]}),
            json!({"conditions": [{"type": "Ready", "status": "False"}]}),
            json!({"conditions": [{"type": "Ready", "status": "False"}]}),
        ),
        (
            json!({"s": {"type": "A", "a": {}}}),
            json!({"s": {"$retainKeys": ["type"], "type": "B"}}),
            json!({"s": {"type": "B"}}),
        ),
    ];
    for (was, patch, wanted) in table {
        let mut tree = was.clone();
        super::super::patch::strategic(&mut tree, patch.to_string().as_bytes()).expect("a valid patch");
        assert_eq!(tree, wanted, "{was} + {patch}");
    }
}

#[test]
fn a_merge_patch_with_a_stale_version_is_a_conflict() {
    let mut world = World::new();
    world.nodes(1);
    let version = world.tree(Kind::Node, "", "n0")["metadata"]["resourceVersion"].clone();
    let cordon = json!({"metadata": {"resourceVersion": version, "annotations": {"claim": "x"}}, "spec": {"unschedulable": true}});
    assert_eq!(world.merge("/api/v1/nodes/n0", &cordon).0, 200);
    let (code, answer) = world.merge("/api/v1/nodes/n0", &cordon);
    assert_eq!((code, &answer["reason"]), (409, &json!("Conflict")));
    let wanted = "Operation cannot be fulfilled on nodes \"n0\": the object has been modified; please apply your changes to \
                  the latest version and try again";
    assert_eq!(answer["message"], wanted);
}

#[test]
fn a_patch_that_changes_nothing_writes_nothing() {
    let mut world = World::new();
    world.nodes(1);
    world.pass(1.0);
    let version = world.cluster.version();
    let (code, _) =
        world.merge("/api/v1/nodes/n0", &json!({"metadata": {"labels": {"kubernetes.io/os": "linux"}}}));
    assert_eq!((code, world.cluster.version()), (200, version));
}

#[test]
fn the_object_and_its_status_are_written_apart() {
    let mut world = World::new();
    world.nodes(1);
    world.merge(
        "/api/v1/nodes/n0",
        &json!({"status": {"nodeInfo": {"kubeletVersion": "v9"}}, "spec": {"unschedulable": true}}),
    );
    let node = world.tree(Kind::Node, "", "n0");
    assert_eq!(
        (&node["status"]["nodeInfo"]["kubeletVersion"], &node["spec"]["unschedulable"]),
        (&json!("v1.36.3"), &json!(true))
    );
    world.merge(
        "/api/v1/nodes/n0/status",
        &json!({"status": {"nodeInfo": {"kubeletVersion": "v9"}}, "spec": {"unschedulable": false}}),
    );
    let node = world.tree(Kind::Node, "", "n0");
    assert_eq!(
        (&node["status"]["nodeInfo"]["kubeletVersion"], &node["spec"]["unschedulable"]),
        (&json!("v9"), &json!(true))
    );
}

#[test]
fn json_patches_test_before_they_write() {
    let mut world = World::new();
    world.nodes(1);
    let ask = |world: &mut World, patch: &Value| {
        world.ask_as(&Method::PATCH, "/api/v1/nodes/n0", "application/json-patch+json", patch).0
    };
    assert_eq!(ask(&mut world, &json!([{"op": "test", "path": "/metadata/name", "value": "x"}])), 422);
    assert_eq!(ask(&mut world, &json!([{"op": "add", "path": "/metadata/labels/a", "value": "b"}])), 200);
    assert_eq!(ask(&mut world, &json!({"op": "add"})), 400);
    assert_eq!(world.ask_as(&Method::PATCH, "/api/v1/nodes/n0", "text/plain", &json!({})).0, 415);
}

#[test]
fn applying_records_owners_and_meets_conflicts() {
    let mut world = World::new();
    let apply = |world: &mut World, query: &str, data: &Value| {
        let config =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data});
        let path = format!("/api/v1/namespaces/default/configmaps/c?{query}");
        world.ask_as(&Method::PATCH, &path, "application/apply-patch+yaml", &config)
    };
    assert_eq!(apply(&mut world, "", &json!({})).0, 422, "a manager is required");
    assert_eq!(apply(&mut world, "fieldManager=m1", &json!({"x": "1", "y": "1"})).0, 201);
    let version = world.cluster.version();
    assert_eq!(apply(&mut world, "fieldManager=m1", &json!({"x": "1", "y": "1"})).0, 200);
    assert_eq!(world.cluster.version(), version, "the same again writes nothing");
    assert_eq!(apply(&mut world, "fieldManager=m2", &json!({"x": "1"})).0, 200, "agreeing is sharing");
    let (code, answer) = apply(&mut world, "fieldManager=m2", &json!({"x": "2"}));
    assert_eq!(
        (code, &answer["message"]),
        (409, &json!("Apply failed with 1 conflict: conflict with \"m1\": .data.x"))
    );
    assert_eq!(answer["details"]["causes"][0]["reason"], "FieldManagerConflict");
    assert_eq!(apply(&mut world, "fieldManager=m2&force=true", &json!({"x": "2"})).0, 200);
    let (_, answer) = apply(&mut world, "fieldManager=m1&force=true", &json!({"x": "2"}));
    assert_eq!(answer["data"], json!({"x": "2"}), "what its only owner drops is gone");
}

#[test]
fn immutable_fields_stay() {
    let mut world = World::new();
    world.add(deployment("web", 1));
    world.add(pod("p", "a"));
    let patch = json!({"spec": {"selector": {"matchLabels": {"app": "other"}}, "template": {"metadata": {"labels": {"app": "other"}}}}});
    assert_eq!(world.merge("/apis/apps/v1/namespaces/default/deployments/web", &patch).0, 422);
    assert_eq!(world.merge("/api/v1/namespaces/default/pods/p", &json!({"spec": {"nodeName": "x"}})).0, 422);
    let image = json!({"spec": {"containers": [{"name": "c", "image": "i:2"}]}});
    assert_eq!(
        world
            .ask_as(
                &Method::PATCH,
                "/api/v1/namespaces/default/pods/p",
                "application/strategic-merge-patch+json",
                &image
            )
            .0,
        200
    );
}
