//! Lists, watches, creation, deletion and refusals, as seen on the wire.

use super::*;

fn configmap(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[test]
fn creation_gives_identity_and_happens_once() {
    let mut world = World::new();
    let (code, made) = world.post(MAPS, &configmap("a"));
    assert_eq!(code, 201);
    assert_eq!(made["metadata"]["creationTimestamp"], "2026-11-23T00:00:00Z");
    assert!(made["metadata"]["uid"].as_str().is_some_and(|uid| uid.len() == 36));
    let (code, answer) = world.post(MAPS, &configmap("a"));
    assert_eq!((code, &answer["message"]), (409, &json!("configmaps \"a\" already exists")));
    let (code, made) = world.post(MAPS, &json!({"metadata": {"generateName": "x-"}}));
    assert_eq!(code, 201);
    assert!(made["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("x-") && name.len() == 7));
}

#[test]
fn an_update_needs_the_version_it_was_made_from() {
    let mut world = World::new();
    let (_, mut made) = world.post(MAPS, &configmap("a"));
    made["data"]["a"] = json!("2");
    assert_eq!(world.put(&format!("{MAPS}/a"), &made).0, 200);
    assert_eq!(world.put(&format!("{MAPS}/a"), &made).0, 409);
    if let Some(metadata) = made["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    assert_eq!(world.put(&format!("{MAPS}/a"), &made).0, 200, "no version is no expectation");
}

#[test]
fn refusals_name_what_is_not_served() {
    let mut world = World::new();
    world.add(pod("p", "a"));
    let table = [
        (Method::GET, "/api/v1/namespaces/default/pods/p/log", 501),
        (Method::GET, "/apis/cluster.x-k8s.io/v1beta1/machines", 404),
        (Method::GET, "/nope", 404),
        (Method::PUT, "/api/v1/namespaces/default/pods", 405),
        (Method::GET, "/api/v1/namespaces/default/pods/nope", 404),
    ];
    for (method, path, code) in table {
        let (found, answer) = world.ask_as(&method, path, "application/json", &Value::Null);
        assert_eq!((found, &answer["kind"]), (code, &json!("Status")), "{method} {path}: {answer}");
    }
    let request =
        Request::builder().uri("/api/v1/pods").header("accept", "application/vnd.kubernetes.protobuf");
    let answer = world.cluster.handle(request.body(Bytes::new()).expect("a request"), world.now);
    assert_eq!(answer.status.as_u16(), 406);
}

#[test]
fn pages_show_one_version_whatever_happens_meanwhile() {
    let mut world = World::new();
    for number in 0..5 {
        world.add(configmap(&format!("m{number}")));
    }
    let (_, first) = world.get(&format!("{MAPS}?limit=2"));
    assert_eq!(
        (first["items"].as_array().map(Vec::len), &first["metadata"]["remainingItemCount"]),
        (Some(2), &json!(3))
    );
    world.delete(&format!("{MAPS}/m3"), &Value::Null);
    world.add(configmap("m31"));
    let token = first["metadata"]["continue"].as_str().expect("a token").to_owned();
    let (_, rest) = world.get(&format!("{MAPS}?continue={token}"));
    let names: Vec<_> =
        rest["items"].as_array().into_iter().flatten().map(|item| item["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["m2", "m3", "m4"]);
    assert_eq!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    world.cluster.compact();
    let (code, answer) = world.get(&format!("{MAPS}?continue={token}"));
    assert_eq!((code, &answer["reason"]), (410, &json!("Expired")));
    assert_eq!(world.get(&format!("{MAPS}?limit=1&continue=zz")).0, 400);
    assert_eq!(world.get(&format!("{MAPS}?resourceVersion=99999999")).0, 504);
}

#[test]
fn watches_resume_expire_and_bookmark() {
    let mut world = World::new();
    world.add(configmap("a"));
    let version = world.cluster.version();
    let path =
        format!("{MAPS}?watch=1&allowWatchBookmarks=true&timeoutSeconds=120&resourceVersion={version}");
    let mut watch = world.watch(&path);
    assert!(world.events(&mut watch).is_empty());
    world.add(configmap("b"));
    world.merge(&format!("{MAPS}/a"), &json!({"data": {"a": "2"}}));
    world.delete(&format!("{MAPS}/b"), &Value::Null);
    assert_eq!(world.events(&mut watch), ["ADDED b", "MODIFIED a", "DELETED b"]);
    let mut again = world.watch(&path);
    assert_eq!(world.events(&mut again), ["ADDED b", "MODIFIED a", "DELETED b"]);
    world.pass(60.0);
    assert_eq!(world.events(&mut watch), ["BOOKMARK"]);
    world.pass(60.0);
    let polled = world.cluster.poll(&mut watch, world.now);
    assert!(polled.done);
    world.cluster.compact();
    let mut late = world.watch(&path);
    let polled = world.cluster.poll(&mut late, world.now);
    let line: Value = serde_json::from_slice(&polled.lines[0]).expect("a line");
    assert_eq!((&line["type"], &line["object"]["code"], polled.done), (&json!("ERROR"), &json!(410), true));
}

#[test]
fn watches_without_a_version_begin_with_what_is_there() {
    let mut world = World::new();
    world.add(configmap("a"));
    for version in ["", "&resourceVersion=0"] {
        let mut watch = world.watch(&format!("{MAPS}?watch=1{version}"));
        assert_eq!(world.events(&mut watch), ["ADDED a"]);
    }
    let streaming = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = world.watch(&format!("{MAPS}?watch=1&{streaming}"));
    assert_eq!(world.events(&mut watch), ["ADDED a", "BOOKMARK"]);
    assert_eq!(world.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).0, 422);
}

#[test]
fn an_object_that_stops_matching_is_deleted_for_a_watch() {
    let mut world = World::new();
    world.nodes(1);
    let mut watch = world.watch("/api/v1/nodes?watch=1&labelSelector=pool%3Da");
    assert!(world.events(&mut watch).is_empty());
    for value in [json!("a"), json!("b")] {
        world.merge("/api/v1/nodes/n0", &json!({"metadata": {"labels": {"pool": value}}}));
    }
    assert_eq!(world.events(&mut watch), ["ADDED n0", "DELETED n0"]);
}

#[test]
fn late_cut_and_expired_watches() {
    let mut world = World::new();
    world.cluster.faults.delay_watches(SignedDuration::from_secs(3));
    let mut watch = world.watch(&format!("{MAPS}?watch=1"));
    world.add(configmap("a"));
    assert!(world.events(&mut watch).is_empty());
    world.pass(3.0);
    assert_eq!(world.events(&mut watch), ["ADDED a"]);
    world.cluster.cut_watches();
    assert!(world.cluster.poll(&mut watch, world.now).done);
    world.cluster.faults.expire_next_resumptions(1);
    let version = world.cluster.version();
    let path = format!("{MAPS}?watch=1&resourceVersion={version}");
    let (mut first, mut second) = (world.watch(&path), world.watch(&path));
    assert!(world.cluster.poll(&mut first, world.now).done);
    assert!(!world.cluster.poll(&mut second, world.now).done);
}

#[test]
fn request_faults_hit_the_request_they_are_for() {
    let mut world = World::new();
    let creating = When { verb: "create", resource: "configmaps", ..When::default() };
    world.cluster.faults.on(creating.clone(), 1, 1, How::ShuttingDown);
    world.cluster.faults.on(creating, 1, 1, How::AppliedButTimedOut);
    assert_eq!(world.post(MAPS, &configmap("a")).0, 201);
    assert_eq!(world.post(MAPS, &configmap("b")).0, 429);
    assert_eq!(world.post(MAPS, &configmap("c")).0, 504);
    assert_eq!(world.get(&format!("{MAPS}/b")).0, 404);
    assert_eq!(world.get(&format!("{MAPS}/c")).0, 200);
    let (from, until) = (world.now, world.now + SignedDuration::from_secs(5));
    world.cluster.faults.outage(from, until);
    assert_eq!(world.get(&format!("{MAPS}/c")).0, 503);
    world.pass(5.0);
    assert_eq!(world.get(&format!("{MAPS}/c")).0, 200);
}

#[test]
fn owners_take_their_dependents_along_unless_told_not_to() {
    for (propagation, left) in [("Background", 0), ("Foreground", 0), ("Orphan", 2)] {
        let mut world = World::new();
        world.nodes(1);
        world.add(deployment("web", 2));
        world.pass(5.0);
        let options = json!({"propagationPolicy": propagation});
        assert_eq!(world.delete("/apis/apps/v1/namespaces/default/deployments/web", &options).0, 200);
        world.pass(20.0);
        assert_eq!(world.pods().len(), left, "{propagation}");
        assert_eq!(world.get("/apis/apps/v1/namespaces/default/deployments/web").0, 404);
    }
}

#[test]
fn preconditions_finalizers_and_namespaces() {
    let mut world = World::new();
    let mut held = configmap("a");
    held["metadata"]["finalizers"] = json!(["x.dev/hold"]);
    world.add(held);
    let path = format!("{MAPS}/a");
    assert_eq!(world.delete(&path, &json!({"preconditions": {"uid": "x"}})).0, 409);
    assert_eq!(world.delete(&path, &Value::Null).0, 200);
    assert!(world.get(&path).1["metadata"]["deletionTimestamp"].is_string());
    world.merge(&path, &json!({"metadata": {"finalizers": null}}));
    assert_eq!(world.get(&path).0, 404);

    world.add(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}}));
    let (_, _) = world.post("/api/v1/namespaces/ns/configmaps", &json!({"metadata": {"name": "c"}}));
    world.delete("/api/v1/namespaces/ns", &Value::Null);
    let (code, answer) = world.post("/api/v1/namespaces/ns/configmaps", &json!({"metadata": {"name": "d"}}));
    assert_eq!((code, &answer["details"]["causes"][0]["reason"]), (403, &json!("NamespaceTerminating")));
    world.pass(5.0);
    assert_eq!(world.get("/api/v1/namespaces/ns").0, 404);
}

#[test]
fn leases_are_renewed_when_somebody_looks_and_cost_nothing_otherwise() {
    let mut world = World::new();
    world.nodes(3);
    world.pass(5.0);
    let version = world.cluster.version();
    world.pass(3600.0);
    assert_eq!(world.cluster.version(), version);
    let (_, lease) = world.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n0");
    assert_eq!(lease["spec"]["renewTime"], "2026-11-23T01:00:00.000000Z");
    let mut watch = world.watch("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases?watch=1&fieldSelector=metadata.name%3Dn0");
    assert_eq!(world.events(&mut watch), ["ADDED n0"]);
    world.pass(10.0);
    assert_eq!(world.events(&mut watch), ["MODIFIED n0"]);
}

#[test]
fn other_shapes_tables_and_metadata_only() {
    let mut world = World::new();
    world.nodes(1);
    let mut ask = |accept: &str| -> Value {
        let request = Request::builder().uri("/api/v1/nodes").header("accept", accept).body(Bytes::new());
        let answer = world.cluster.handle(request.expect("a request"), world.now);
        serde_json::from_slice(answer.full().expect("a body")).expect("JSON")
    };
    let table = ask("application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][1]), (&json!("Table"), &json!("Ready")));
    let metadata = ask("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    assert_eq!(metadata["items"][0]["metadata"]["name"], "n0");
    assert!(metadata["items"][0].get("spec").is_none());
}

#[test]
fn kubectl_create_configmap_comes_as_protobuf() {
    let field = |number: u8, bytes: &[u8]| -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).expect("short")], bytes].concat()
    };
    let kind = [field(1, b"v1"), field(2, b"ConfigMap")].concat();
    let entry = [field(1, b"k"), field(2, b"v")].concat();
    let raw = [field(1, &field(1, b"windlass-stop")), field(2, &entry)].concat();
    let body = [b"k8s\0".to_vec(), field(1, &kind), field(2, &raw)].concat();
    let mut world = World::new();
    let request = Request::builder()
        .method("POST")
        .uri(MAPS)
        .header("content-type", "application/vnd.kubernetes.protobuf");
    let answer = world.cluster.handle(request.body(Bytes::from(body)).expect("a request"), world.now);
    assert_eq!(answer.status.as_u16(), 201);
    assert_eq!(world.tree(Kind::ConfigMap, "default", "windlass-stop")["data"], json!({"k": "v"}));
}
