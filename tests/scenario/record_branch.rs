//! The record's branch and its tags, written by people who may not change the desired branch.

use git2::{Repository, Signature};
use windlass::model::decision::Key;
use windlass::model::entry::{RunEvent, RunOutcome, What};
use windlass::model::state::RunState;

use super::processes::Daemon;
use crate::world::World;
use crate::world::fixtures::workers_only;
use crate::world::process::{HOUR, MINUTE, SECOND};

const EVIL: &str = "evil.example.com/rootkit:1";

/// Commits on the record's branch as somebody else; `change` gets the files of the branch.
fn tamper(world: &World, path: &str, text: &str) {
    let repo = Repository::open(world.repo()).unwrap();
    let tip = repo.find_reference("refs/heads/windlass/status").unwrap().peel_to_commit().unwrap();
    let mut index = git2::Index::new().unwrap();
    index.read_tree(&tip.tree().unwrap()).unwrap();
    let mut entry = index.get_path(std::path::Path::new(path), 0).unwrap();
    entry.id = repo.blob(text.as_bytes()).unwrap();
    index.add(&entry).unwrap();
    let tree = repo.find_tree(index.write_tree_to(&repo).unwrap()).unwrap();
    let mallory = Signature::now("mallory", "mallory@example.com").unwrap();
    repo.commit(Some("refs/heads/windlass/status"), &mallory, &mallory, "tidy up", &tree, &[&tip]).unwrap();
}

fn images(world: &World) -> Vec<String> {
    let image = |job: &serde_json::Value| {
        job["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    };
    world.jobs().iter().map(image).collect()
}

/// Another image in the plan of the run in progress, and all digests made to fit.
fn change_the_image(world: &World) -> String {
    let run = world.record().run.unwrap().id;
    let path = format!("demo/runs/{run}/plan.yaml");
    let text = world.record_files()[&path].clone();
    let image = text.lines().find_map(|line| line.trim().strip_prefix("image: ")).unwrap();
    tamper(world, &path, &text.replace(image, EVIL));
    run
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_the_image_of_the_commit_whatever_the_frozen_plan_says_after_a_restart() {
    let mut world = workers_only(3).await;
    let process = world.daemon();
    world.until("w1 done", HOUR, |world| world.node("w1") == ("v1.36.3".to_owned(), true, false)).await;
    drop(process);
    let run = change_the_image(&world);
    world.assert_run_ends(RunState::AsDesired).await;
    assert!(!images(&world).iter().any(|image| image == EVIL), "{:?}", images(&world));
    let ended = world.record().ended;
    let refused = ended.iter().find(|ended| ended.run == run).unwrap();
    assert_eq!(refused.outcome, RunOutcome::Superseded);
    assert!(
        refused.reasons.iter().any(|reason| reason.key == Key::PlanNotVouched && reason.text.contains(EVIL))
    );
    world.assert_converged("v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_job_runs_the_image_of_the_commit_when_the_record_is_changed_under_a_daemon() {
    let world = workers_only(3).await;
    let process = Daemon::on(&world, "one");
    world.until("w1 done", HOUR, |world| world.node("w1") == ("v1.36.3".to_owned(), true, false)).await;
    change_the_image(&world);
    world
        .until("the end", HOUR * 3, |world| {
            ["w1", "w2", "w3"].iter().all(|node| world.node(node).0 == "v1.36.3")
        })
        .await;
    world.pass(MINUTE * 10).await;
    assert!(!images(&world).iter().any(|image| image == EVIL), "{:?}", images(&world));
    process.end().await;
    world.assert_converged("v1.36.3");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_only_the_record_names_changes_no_node() {
    let mut world = workers_only(2).await;
    world.assert_run_ends(RunState::AsDesired).await;
    let accepted = world.record().accepted.unwrap().0.0;
    // Mallory has a branch of her own, on which the image is another one, and names its commit in the record.
    let evil = {
        let repo = Repository::open(world.repo()).unwrap();
        let main = repo.find_reference("refs/heads/main").unwrap().peel_to_commit().unwrap();
        let path = std::path::Path::new("desired-state/demo/cluster.yaml");
        let entry = main.tree().unwrap().get_path(path).unwrap();
        let text = String::from_utf8(repo.find_blob(entry.id()).unwrap().content().to_vec()).unwrap();
        let text = text.replace("v1.36.3", "v1.36.4");
        let mut index = git2::Index::new().unwrap();
        index.read_tree(&main.tree().unwrap()).unwrap();
        let mut entry = index.get_path(path, 0).unwrap();
        entry.id = repo.blob(text.as_bytes()).unwrap();
        index.add(&entry).unwrap();
        let tree = repo.find_tree(index.write_tree_to(&repo).unwrap()).unwrap();
        let mallory = Signature::now("mallory", "mallory@example.com").unwrap();
        repo.commit(Some("refs/heads/feature"), &mallory, &mallory, "a feature", &tree, &[&main])
            .unwrap()
            .to_string()
    };
    let files = world.record_files();
    let (path, text) =
        files.iter().find(|(path, text)| path.contains("/journal/") && text.contains("accepted")).unwrap();
    tamper(&world, path, &text.replace(&accepted, &evil));
    world.assert_run_ends(RunState::Refused).await;
    for node in ["w1", "w2"] {
        world.assert_in_service(node, "v1.36.3");
    }
    let record = world.record();
    let waits = record.waiting.iter().map(|wait| wait.value.reason.key).collect::<Vec<_>>();
    assert!(waits.contains(&Key::CommitNotProven), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_somebody_made_beforehand_keeps_no_run_from_starting() {
    let mut world = workers_only(1).await;
    world.assert_run_ends(RunState::AsDesired).await;
    let commit = world.desire("v1.36.4");
    {
        let repo = Repository::open(world.repo()).unwrap();
        let target = repo.find_reference("refs/heads/main").unwrap().peel_to_commit().unwrap();
        let mallory = Signature::now("mallory", "mallory@example.com").unwrap();
        let name = format!("windlass/demo/rollback/{}-1", &commit[..12]);
        repo.tag(&name, target.as_object(), &mallory, "x", false).unwrap();
    }
    world.assert_run_ends(RunState::AsDesired).await;
    world.assert_converged("v1.36.4");
    let begun =
        world.journal().into_iter().filter(|entry| matches!(entry.what, What::Run(RunEvent::Started { .. })));
    assert_eq!(begun.count(), 2);
    world.pass(SECOND).await;
}
