//! The line to the API server: requests and watches that are lost or late on their way.

use serde_json::json;
use windlass::live::ProbeAnswer;
use windlass::model::label_value::label_value;
use windlass::model::live::Probe;

use crate::world::fixtures::workers_only;
use crate::world::line::{Fault, How, Line, Sent};
use crate::world::process::{HOUR, MINUTE, SECOND};
use crate::world::{ALWAYS, World, hosted_yaml};

/// A faulty line between the processes and the API server, with nothing wrong yet.
fn lay_line(world: &mut World) -> Line {
    let line = Line::new(kube::Client::new(world.server.router(), "default"), world.clock.clone());
    world.line = Some(line.clone());
    line
}

/// A fault from now on, for some seconds.
fn fault(
    world: &World,
    seconds: i32,
    verbs: &'static [&'static str],
    kinds: &'static [&'static str],
    how: How,
) -> Fault {
    let from = world.clock.now();
    Fault { from, until: from + SECOND * seconds, verbs, kinds, every: 1, how }
}

/// Right before a node is changed, it is read with the Jobs that name it. A name that no label can hold is hashed there.
#[tokio::test(start_paused = true)]
async fn the_read_of_a_node_has_the_upgrade_jobs_that_name_it() {
    let world = workers_only(1).await;
    let long = "n".repeat(80);
    world.create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "windlass-system"}}));
    for (name, node) in [("one", "w1"), ("two", long.as_str()), ("three", "w1")] {
        let metadata = json!({"name": name, "namespace": "windlass-system",
            "labels": {"windlass.dev/node": label_value(node).label}});
        let pod = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
        world.create(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata,
            "spec": {"suspend": true, "template": pod}}));
    }
    for (node, there, jobs) in [("w1", true, &["one", "three"][..]), (&long, false, &["two"])] {
        let answer = world.cluster().ask(&Probe::Node(node.to_owned()), &world.clock).await;
        let ProbeAnswer::Node(read) = answer else { panic!("{answer:?}") };
        let names: Vec<_> = read.jobs.items.iter().filter_map(|job| job.metadata.name.as_deref()).collect();
        assert_eq!((read.node.is_some(), names.as_slice()), (there, jobs));
        assert!(read.jobs.resource_version.is_some() && read.pods.resource_version.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_connection_was_lost_without_a_word_begins_anew() {
    for kinds in [&["nodes"], &["pods"], &["jobs"]] {
        let mut world = workers_only(2).await;
        let line = lay_line(&mut world);
        let process = world.daemon();
        world.until("a Job", MINUTE * 10, |world| !world.jobs().is_empty()).await;
        line.add(fault(&world, 1, &["watch"], kinds, How::Dead));
        world.done_within(HOUR, "v1.36.3").await;
        process.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_after_a_stop_although_the_answer_that_there_is_none_is_slow() {
    let mut world = workers_only(3).await;
    let line = lay_line(&mut world);
    line.add(fault(&world, 3600, &["get"], &["configmaps"], How::SlowBack(8)));
    // Its watch is late as well, so the reads alone can tell.
    line.add(fault(&world, 3600, &["watch"], &["configmaps"], How::Late(60)));
    let asks = |line: &Line| line.log().iter().filter(|sent| sent.name == "windlass-stop").count();
    let process = world.daemon();
    world.until("the stop is asked for", MINUTE * 10, |_| asks(&line) > 0).await;
    world.pass(SECOND).await;
    world.note("windlass-stop", "the shop is down");
    let stopped = world.clock.now();
    world.pass(MINUTE).await;
    let disturbs = |sent: &&Sent| sent.is_write() && ["nodes", "pods", "jobs"].contains(&&*sent.kind);
    let log = line.log();
    let late: Vec<&Sent> =
        log.iter().filter(disturbs).filter(|sent| sent.at > stopped + SECOND * 2).collect();
    assert!(late.is_empty(), "{late:#?}");
    process.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_process_whose_first_question_for_the_version_was_lost_asks_again() {
    let mut world = World::at("v1.36.3");
    world.workers("w", 3).pass(MINUTE).await;
    for node in ["w1", "w2", "w3"] {
        world.change_node(node, |tree| tree["status"]["nodeInfo"]["kubeletVersion"] = json!("v1.35.4"));
    }
    world.desire_within(ALWAYS, &hosted_yaml("v1.36.3"));
    let line = lay_line(&mut world);
    let process = world.daemon();
    world.until("w1 done", HOUR, |world| world.node("w1").0 == "v1.36.3" && world.node("w1").1).await;
    drop(process);
    line.add(fault(&world, 60, &["get"], &[""], How::Cut));
    let process = world.daemon();
    world.done_within(HOUR, "v1.36.3").await;
    process.end().await;
}

/// A process is frozen right before a write about a Job is sent, and wakes up when the one after it has given the node
/// back, because the commit was reverted meanwhile.
#[tokio::test(start_paused = true)]
async fn a_write_of_a_frozen_process_changes_no_node_that_was_given_back() {
    for verbs in [&["create"], &["patch"]] {
        let mut world = workers_only(1).await;
        let line = lay_line(&mut world);
        line.add(fault(&world, 600, verbs, &["jobs"], How::SlowThere(1200)));
        let frozen = world.daemon();
        let is_sent =
            |line: &Line| line.log().iter().any(|sent| sent.kind == "jobs" && verbs.contains(&sent.verb));
        world.until("the write is sent", MINUTE * 9, |_| is_sent(&line)).await;
        drop(frozen);
        world.desire("v1.35.4");
        let process = world.daemon();
        let is_back = |world: &World| world.node("w1").1 && !world.node("w1").2;
        world.until("the node is given back", MINUTE * 10, |world| is_back(world)).await;
        world.pass(HOUR).await;
        let landed = line.log().iter().filter(|sent| sent.kind == "jobs" && sent.answer.is_some()).count();
        assert!(landed > 0, "the write was carried out late");
        assert_eq!(world.node("w1"), ("v1.35.4".to_owned(), true, false), "{:#?}", world.jobs());
        process.end().await;
    }
}

/// What is left of a watch after etcd was restored from a snapshot: it is accepted, and nothing comes.
#[tokio::test(start_paused = true)]
async fn nodes_whose_watch_stays_silent_are_listed_anew() {
    let mut world = workers_only(3).await;
    world.desire("v1.35.4");
    let line = lay_line(&mut world);
    let process = world.daemon();
    world.pass(MINUTE * 2).await;
    line.add(fault(&world, 3600, &["watch"], &["nodes"], How::Silent));
    world.pass(SECOND * 10).await;
    world.annotate("w1", "windlass.dev/hold", Some("anna repairs its disk"));
    world.pass(MINUTE * 2).await;
    let pool = "  nodePools: [{name: w, selector: {matchLabels: {pool: w}}, canary: 0, maxUnavailable: 2}]\n";
    world.desire_with("v1.36.3", pool);
    world.until("w2 is upgraded", HOUR / 2, |world| world.node("w2").0 == "v1.36.3").await;
    world.assert_in_service("w1", "v1.35.4");
    process.end().await;
}

/// Effects wait for each other's proof that there is no stop. What was decided before a long wait is not sent after it.
#[tokio::test(start_paused = true)]
async fn what_was_decided_before_a_long_wait_is_not_sent_after_it() {
    let mut world = workers_only(1).await;
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        world.deployment(name, 1);
    }
    world.pass(MINUTE).await;
    let line = lay_line(&mut world);
    let process = world.daemon();
    world.until("w1 is cordoned", MINUTE * 10, |world| world.node("w1").2).await;
    line.add(fault(&world, 45, &["get"], &["configmaps"], How::SlowBack(60)));
    world.pass(SECOND * 5).await;
    world.annotate("w1", "windlass.dev/hold", Some("anna repairs its disk"));
    let held = world.clock.now();
    world.pass(MINUTE * 5).await;
    let log = line.log();
    let late: Vec<&Sent> = log.iter().filter(|sent| sent.is_eviction() && sent.at > held).collect();
    assert!(late.is_empty(), "{late:#?}");
    world.annotate("w1", "windlass.dev/hold", None);
    world.done_within(HOUR, "v1.36.3").await;
    process.end().await;
}
