//! Label and field selectors.

use super::selector::{Fields, Labels};
use super::*;

#[test]
fn label_grammar() {
    let labels = json!({"app": "web", "tier": "front"});
    let table = [
        ("", true),
        ("app=web", true),
        ("app==web", true),
        ("app = web", true),
        ("app!=web", false),
        ("missing!=x", true),
        ("app in (api, web)", true),
        ("app in (api)", false),
        ("app notin (api),tier=front", true),
        ("missing notin (x)", true),
        ("app", true),
        ("missing", false),
        ("!app", false),
        ("!missing", true),
        ("app in (web),tier in (front,back),!x", true),
        ("app in(web)", true),
    ];
    for (text, matches) in table {
        let selector = Labels::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(selector.matches_map(Some(&labels)), matches, "{text}");
    }
    for text in ["a b", "a in b", "a=(", "?"] {
        assert!(Labels::parse(text).is_err() || text == "a=(", "{text}");
    }
}

#[test]
fn selectors_as_json() {
    let labels = json!({"app": "web"});
    let table = [
        (json!({}), Some(true)),
        (Value::Null, None),
        (json!({"matchLabels": {"app": "web"}}), Some(true)),
        (json!({"matchLabels": {"app": "api"}}), Some(false)),
        (json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]}), Some(true)),
        (json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}), Some(false)),
        (json!({"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}), Some(true)),
        (json!({"matchExpressions": [{"key": "x", "operator": "Sometimes"}]}), None),
    ];
    for (selector, matches) in table {
        let found = Labels::from_json(Some(&selector)).map(|selector| selector.matches_map(Some(&labels)));
        assert_eq!(found, matches, "{selector}");
    }
}

#[test]
fn fields_that_are_not_served_are_refused_by_name() {
    assert_eq!(Fields::parse("foo=bar", Kind::Pod), Err("field label not supported: foo".to_owned()));
    assert!(Fields::parse("spec.nodeName=n1,status.phase!=Failed", Kind::Pod).is_ok());
    assert!(Fields::parse("spec.nodeName=n1", Kind::Node).is_err());
}

#[test]
fn pods_of_a_node_and_events_of_an_object() {
    let mut world = World::new();
    world.nodes(2);
    world.add(deployment("web", 4));
    world.pass(5.0);
    let (_, list) = world.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn0");
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
    let (_, list) = world.get("/api/v1/pods?fieldSelector=status.phase%21%3DRunning");
    assert_eq!(list["items"], json!([]));
    let event = json!({"metadata": {"name": "e", "namespace": "default"}, "regarding": {"kind": "Node", "name": "n0"},
        "reason": "Upgraded", "note": "done", "type": "Normal", "eventTime": "2026-11-23T00:00:00.000000Z"});
    assert_eq!(world.post("/apis/events.k8s.io/v1/namespaces/default/events", &event).0, 201);
    let (_, list) = world.get("/api/v1/events?fieldSelector=involvedObject.name%3Dn0");
    assert_eq!(list["items"][0]["message"], "done");
    let (_, list) = world.get("/apis/events.k8s.io/v1/events");
    assert_eq!(list["items"][0]["note"], "done");
    let path = "/apis/events.k8s.io/v1/namespaces/default/events/e";
    let (_, patched) = world.merge(path, &json!({"note": "again", "series": {"count": 2}}));
    assert_eq!((&patched["note"], &patched["apiVersion"]), (&json!("again"), &json!("events.k8s.io/v1")));
    assert_eq!(world.get("/api/v1/namespaces/default/events/e").1["message"], "again");
}
