//! Controllers, scheduler, kubelets and upgrades, in time.

use super::*;

fn job(name: &str, node: &str, labels: &Value) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": {
            "nodeName": node, "restartPolicy": "Never", "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "c", "image": "i:1"}]}}}})
}

fn upgrading() -> World {
    let rule = |component: &str, effect| UpgradeRule {
        pod_selector: [("component".to_owned(), component.to_owned())].into(),
        version_label: "target".to_owned(),
        effect,
    };
    World::with(Settings {
        rules: vec![rule("kubelet", Effect::Kubelet), rule("cp", Effect::ControlPlane)],
        ..Settings::default()
    })
}

fn condition(world: &World, kind: Kind, namespace: &str, name: &str, which: &str) -> String {
    json::condition(&world.tree(kind, namespace, name), which).to_owned()
}

fn version(world: &World, node: &str) -> String {
    json::text(&world.tree(Kind::Node, "", node), &["status", "nodeInfo", "kubeletVersion"]).to_owned()
}

#[test]
fn a_deployment_comes_up_spreads_and_scales() {
    let mut world = World::new();
    world.nodes(3);
    world.add(deployment("web", 6));
    world.pass(3.0);
    assert_eq!(world.ready(), 6);
    for node in ["n0", "n1", "n2"] {
        assert_eq!(world.cluster.pods_on(node).count(), 2);
    }
    assert_eq!(condition(&world, Kind::Deployment, "default", "web", "Available"), "True");
    world.merge("/apis/apps/v1/namespaces/default/deployments/web/scale", &json!({"spec": {"replicas": 2}}));
    world.pass(5.0);
    assert_eq!(world.pods().len(), 2);
    let version = world.cluster.version();
    world.pass(600.0);
    assert_eq!(world.cluster.version(), version, "a cluster at rest writes nothing");
    assert_eq!(world.cluster.next_due(), None);
}

#[test]
fn a_new_template_rolls_out_within_its_limits() {
    let mut world = World::new();
    world.nodes(3);
    world.add(deployment("web", 4));
    world.pass(5.0);
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}});
    world.merge("/apis/apps/v1/namespaces/default/deployments/web", &image);
    for _ in 0..200 {
        world.pass(0.1);
        assert!(world.ready() >= 3);
    }
    let images: Vec<_> = world
        .cluster
        .objects(Kind::Pod, "default")
        .map(|pod| pod.tree()["spec"]["containers"][0]["image"].clone())
        .collect();
    assert_eq!(images, vec![json!("i:2"); 4]);
}

#[test]
fn a_rollout_that_does_not_go_on_says_so_in_time_and_can_be_taken_back() {
    let mut world = World::new();
    world.nodes(2);
    let mut web = deployment("web", 1);
    web["spec"]["progressDeadlineSeconds"] = json!(60);
    world.add(web);
    world.pass(3.0);
    let before = world.pods();
    let path = "/apis/apps/v1/namespaces/default/deployments/web";
    let template =
        |annotations: Value| json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    world.merge(path, &template(json!({"sim/ready": "false"})));
    world.pass(30.0);
    assert_eq!((world.ready(), world.pods().len()), (1, 2), "the old pod waits for the new one");
    assert_eq!(condition(&world, Kind::Deployment, "default", "web", "Progressing"), "True");
    world.pass(60.0);
    assert_eq!(condition(&world, Kind::Deployment, "default", "web", "Progressing"), "False");
    world.merge(path, &template(json!({"sim/ready": null})));
    world.pass(60.0);
    assert_eq!(world.pods(), before, "it is as it was");
    assert_eq!(condition(&world, Kind::Deployment, "default", "web", "Progressing"), "True");
}

#[test]
fn stateful_pods_come_in_order_and_return_under_their_name() {
    let mut world = World::new();
    world.nodes(2);
    world.add(json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
        "replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}}));
    world.pass(1.0);
    assert_eq!(world.pods(), ["db-0"]);
    world.pass(10.0);
    assert_eq!(world.pods(), ["db-0", "db-1"]);
    let before = world.tree(Kind::Pod, "default", "db-0");
    let node = json::text(&before, &["spec", "nodeName"]).to_owned();
    assert_eq!(world.tree(Kind::Node, "", &node)["status"]["volumesInUse"].as_array().map(Vec::len), Some(1));
    world.merge(&format!("/api/v1/nodes/{node}"), &json!({"spec": {"unschedulable": true}}));
    world.evict("db-0", &json!({}));
    world.pass(2.0);
    assert_eq!(world.tree(Kind::Pod, "default", "db-0")["metadata"]["uid"], before["metadata"]["uid"]);
    world.pass(20.0);
    let after = world.tree(Kind::Pod, "default", "db-0");
    assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_ne!(json::text(&after, &["spec", "nodeName"]), node);
    assert_eq!(world.tree(Kind::Node, "", &node)["status"]["volumesInUse"], json!([]));
    assert_eq!(world.ready(), 2);
}

#[test]
fn daemons_run_everywhere_cordoned_or_not() {
    let mut world = World::new();
    world.nodes(2);
    world.add(json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "cni"}, "spec": {
        "selector": {"matchLabels": {"app": "cni"}},
        "template": {"metadata": {"labels": {"app": "cni"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}}}));
    world.pass(5.0);
    world.merge("/api/v1/nodes/n0", &json!({"spec": {"unschedulable": true}}));
    world.pass(5.0);
    assert_eq!(world.ready(), 2);
    world.add(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "late"}}));
    world.pass(5.0);
    assert_eq!(world.ready(), 3);
    assert_eq!(world.tree(Kind::DaemonSet, "default", "cni")["status"]["numberReady"], 3);
}

#[test]
fn the_scheduler_says_why_not() {
    let table = [
        (json!({"nodeSelector": {"x": "y"}}), "didn't match Pod's node affinity/selector"),
        (
            json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "17"}}}]}),
            "Insufficient cpu",
        ),
        (
            json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"memory": "65Gi"}}}]}),
            "Insufficient memory",
        ),
    ];
    for (spec, why) in table {
        let mut world = World::new();
        world.nodes(2);
        let mut tree = pod("p", "a");
        for (key, value) in spec.as_object().expect("a spec") {
            tree["spec"][key] = value.clone();
        }
        world.add(tree);
        world.pass(1.0);
        let found = world.tree(Kind::Pod, "default", "p");
        let row = json::find_condition(&found, "PodScheduled").expect("a condition");
        assert_eq!((&row["status"], &row["reason"]), (&json!("False"), &json!("Unschedulable")));
        assert!(row["message"].as_str().is_some_and(|text| text.contains(why)), "{row}");
    }
}

#[test]
fn cordons_taints_and_neighbours_keep_pods_away_until_there_is_room() {
    let mut world = World::new();
    world.nodes(2);
    let mut tree = deployment("web", 3);
    tree["spec"]["template"]["spec"]["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}]}});
    world.add(tree);
    world.pass(5.0);
    assert_eq!(world.ready(), 2);
    world.add(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n3"}, "spec": {"unschedulable": true}}));
    world.pass(5.0);
    assert_eq!(world.ready(), 2);
    world.merge("/api/v1/nodes/n3", &json!({"spec": {"unschedulable": false}}));
    world.pass(5.0);
    assert_eq!(world.ready(), 3);
    let taints = world.tree(Kind::Node, "", "n3")["spec"].get("taints").cloned();
    assert_eq!(taints, None, "the mirrored taint went with the cordon");
}

#[test]
fn a_silent_node_is_unknown_then_emptied_and_comes_back() {
    let mut world = World::new();
    world.nodes(2);
    world.add(deployment("web", 2));
    world.pass(5.0);
    world.cluster.kill_node("n0", world.now);
    world.pass(44.0);
    assert_eq!(condition(&world, Kind::Node, "", "n0", "Ready"), "True");
    world.pass(2.0);
    assert_eq!(condition(&world, Kind::Node, "", "n0", "Ready"), "Unknown");
    assert_eq!(world.ready(), 1);
    world.pass(303.0);
    assert_eq!(world.ready(), 2, "replaced elsewhere");
    assert_eq!(world.pods().len(), 3, "the old one stays until its kubelet says that it is gone");
    world.cluster.revive_node("n0", world.now);
    world.pass(5.0);
    assert_eq!((world.pods().len(), condition(&world, Kind::Node, "", "n0", "Ready").as_str()), (2, "True"));
}

#[test]
fn a_deleted_node_takes_its_pods_along_and_returns_as_another() {
    let mut world = World::new();
    world.nodes(2);
    world.add(deployment("web", 2));
    world.pass(5.0);
    let uid = world.tree(Kind::Node, "", "n0")["metadata"]["uid"].clone();
    world.delete("/api/v1/nodes/n0", &Value::Null);
    world.pass(30.0);
    assert_eq!((world.ready(), world.cluster.pods_on("n0").count()), (2, 0));
    world.add(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n0"}}));
    assert_ne!(world.tree(Kind::Node, "", "n0")["metadata"]["uid"], uid);
}

#[test]
fn jobs_complete_fail_and_run_out_of_time() {
    let mut world = World::new();
    world.nodes(1);
    world.add(job("good", "n0", &json!({})));
    let mut bad = job("bad", "n0", &json!({}));
    bad["spec"]["template"]["metadata"]["annotations"] = json!({"sim/fail": "true"});
    world.add(bad);
    let mut slow = job("slow", "n0", &json!({}));
    slow["spec"]["activeDeadlineSeconds"] = json!(5);
    world.add(slow);
    world.pass(40.0);
    assert_eq!(condition(&world, Kind::Job, "default", "good", "Complete"), "True");
    assert_eq!(world.tree(Kind::Job, "default", "good")["status"]["succeeded"], 1);
    let reason = |name: &str| {
        let tree = world.tree(Kind::Job, "default", name);
        json::find_condition(&tree, "Failed").map(|row| row["reason"].clone()).unwrap_or_default()
    };
    assert_eq!((reason("bad"), reason("slow")), (json!("BackoffLimitExceeded"), json!("DeadlineExceeded")));
    let pods =
        world.cluster.objects(Kind::Pod, "default").find(|pod| pod.key.name.starts_with("good-")).cloned();
    let labels = pods.map(|pod| pod.tree()["metadata"]["labels"].clone()).unwrap_or_default();
    assert_eq!(
        (&labels["job-name"], &labels["batch.kubernetes.io/job-name"]),
        (&json!("good"), &json!("good"))
    );
}

#[test]
fn a_kubelet_goes_away_and_comes_back_as_the_new_version() {
    for kills in [false, true] {
        let mut world = upgrading();
        world.cluster.settings.timings.restart_kills_job = kills;
        world.nodes(1);
        world.add(job("up", "n0", &json!({"component": "kubelet", "target": "v1.37.2"})));
        world.pass(23.0);
        let lease = |world: &mut World| {
            world.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n0").1["spec"]["renewTime"].clone()
        };
        let stopped = lease(&mut world);
        assert_eq!(version(&world, "n0"), "v1.36.3");
        world.pass(8.0);
        assert_eq!(
            (version(&world, "n0").as_str(), condition(&world, Kind::Node, "", "n0", "Ready").as_str()),
            ("v1.37.2", "False")
        );
        world.pass(3.0);
        assert_eq!(condition(&world, Kind::Node, "", "n0", "Ready"), "True");
        assert_ne!(lease(&mut world), stopped);
        let ended = if kills { "Failed" } else { "Complete" };
        assert_eq!(condition(&world, Kind::Job, "default", "up", ended), "True");
    }
}

#[test]
fn broken_upgrades_leave_the_node_as_it_is_or_away() {
    let mut world = upgrading();
    world.nodes(2);
    world.cluster.faults.fail_jobs_on("n0");
    world.cluster.faults.never_return("n1");
    for node in ["n0", "n1"] {
        world.add(job(node, node, &json!({"component": "kubelet", "target": "v1.37.2"})));
    }
    world.pass(200.0);
    assert_eq!(condition(&world, Kind::Job, "default", "n0", "Failed"), "True");
    assert_eq!(
        (version(&world, "n0").as_str(), condition(&world, Kind::Node, "", "n0", "Ready").as_str()),
        ("v1.36.3", "True")
    );
    assert_eq!(condition(&world, Kind::Node, "", "n1", "Ready"), "Unknown");
}

#[test]
fn a_control_plane_moves_one_static_pod_after_the_other() {
    let mut world = upgrading();
    for name in ["cp1", "cp2"] {
        world.add(json!({"apiVersion": "v1", "kind": "Node", "metadata": {
            "name": name, "labels": {"node-role.kubernetes.io/control-plane": ""}}}));
    }
    world.pass(1.0);
    let before = world.tree(Kind::Pod, "kube-system", "kube-apiserver-cp1");
    assert_eq!(before["spec"]["containers"][0]["image"], "registry.k8s.io/kube-apiserver:v1.36.3");
    assert!(before["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string());
    world.add(job("up1", "cp1", &json!({"component": "cp", "target": "v1.37.2"})));
    world.pass(24.0);
    assert_eq!(condition(&world, Kind::Pod, "kube-system", "kube-apiserver-cp1", "Ready"), "False");
    world.pass(30.0);
    for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let pod = world.tree(Kind::Pod, "kube-system", &format!("{component}-cp1"));
        assert_eq!(pod["spec"]["containers"][0]["image"], format!("registry.k8s.io/{component}:v1.37.2"));
        assert_eq!(json::condition(&pod, "Ready"), "True");
    }
    assert_eq!(world.get("/version").1["gitVersion"], "v1.36.3", "the lowest instance");
    world.add(job("up2", "cp2", &json!({"component": "cp", "target": "v1.37.2"})));
    world.pass(60.0);
    assert_eq!(world.get("/version").1["gitVersion"], "v1.37.2");
    let started = |world: &World| {
        world.tree(Kind::Pod, "kube-system", "kube-apiserver-cp1")["status"]["containerStatuses"][0]["state"]
            .clone()
    };
    let old = started(&world);
    world.add(job("kubelet", "cp1", &json!({"component": "kubelet", "target": "v1.37.2"})));
    world.pass(90.0);
    assert_ne!(started(&world), old, "a kubelet of a new minor restarts them once");
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let run = |seed| {
        let mut world = World::with(Settings { seed, ..Settings::default() });
        world.nodes(3);
        world.add(deployment("web", 5));
        world.pass(10.0);
        let objects = world.cluster.objects(Kind::Pod, "").map(|pod| pod.body());
        objects.collect::<Vec<_>>()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn a_large_cluster_loads_and_lists_in_pages() {
    let mut world = World::with(Settings { controllers: false, ..Settings::default() });
    for number in 0..200 {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("n{number}")}});
        world.cluster.load(node, world.now).expect("a node");
        for pod in 0..30 {
            let tree = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("p{number}-{pod}")},
                "spec": {"nodeName": format!("n{number}"), "containers": [{"name": "c", "image": "i"}]},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
            world.cluster.load(tree, world.now).expect("a pod");
        }
    }
    let (mut token, mut seen) = (String::new(), 0);
    loop {
        let (_, page) = world.get(&format!("/api/v1/pods?limit=500&continue={token}"));
        seen += page["items"].as_array().map_or(0, Vec::len);
        token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((seen, world.cluster.pods_on("n7").count()), (6000, 30));
}
