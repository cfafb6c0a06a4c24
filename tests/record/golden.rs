//! What people read, as files to be reviewed: `tests/cases/record/`.

use std::collections::BTreeMap;

use windlass::cli::{history, status as page};
use windlass::model::decision::{Gate, Key};
use windlass::model::entry::{RunOutcome, StepPhase, What};
use windlass::model::plan::Component;
use windlass::record::{self, status};

use super::story::{CLUSTER, Story, eventful, failed, moved, plan, reason, started, v, wait};

pub fn golden(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../cases/record");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// The eventful run, brought to its end through a stop, a failure and a resume.
fn finished() -> Story {
    let mut story = eventful();
    story.pass(3, 0).say([What::Stopped { by: "anna".into(), reason: "payment incident".into() }]);
    story.pass(7, 30).say([What::StopEnded]);
    story.pass(0, 4).say([What::Waiting { answers: Vec::new() }]);
    for phase in [StepPhase::Drained, StepPhase::Upgrading] {
        story.pass(0, 9).say([moved("w2", Component::Kubelet, phase)]);
    }
    let broken = failed("w2");
    let What::StepFailed { reasons, .. } = &broken else { unreachable!() };
    story.pass(20, 0).say([broken.clone(), What::Halted { reasons: reasons.clone() }]);
    story.pass(65, 0).say([What::Resumed {
        by: "anna".into(),
        reason: "the disk was replaced".into(),
        note: Some("7b1f".into()),
    }]);
    story.pass(0, 1).through("w2", Component::Kubelet);
    story.pass(0, 1).through("w3", Component::Kubelet);
    let held = reason(Key::SetAside, "node/w4", "w4 was set aside");
    story.pass(0, 1).ended(RunOutcome::Incomplete, vec![held.clone()]);
    let answer = wait(Gate::Hold, Key::SetAside, "node/w4", "w4 was set aside", None);
    story.pass(0, 1).say([What::Waiting { answers: vec![answer] }]);
    story
}

fn run() -> String {
    "4be81d90a6c2-1".to_owned()
}

#[test]
fn every_key_of_the_status_file_is_documented() {
    let page = include_str!("../../docs/reference/status.md");
    for story in [eventful(), finished()] {
        let status = serde_json::to_value(status(CLUSTER, &story.record)).unwrap();
        for key in keys(&status) {
            assert!(page.contains(&format!("`{key}`")), "{key} is not in docs/reference/status.md");
        }
    }
}

fn keys(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::Object(map) => {
            map.iter().flat_map(|(key, value)| std::iter::once(key.clone()).chain(keys(value))).collect()
        }
        serde_json::Value::Array(list) => list.iter().flat_map(keys).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_status_file() {
    golden("status-in-progress.yaml", eventful().file("prod-eu/status.yaml"));
    golden("status-at-rest.yaml", finished().file("prod-eu/status.yaml"));
}

#[test]
fn the_report() {
    golden("report.md", finished().file(&format!("prod-eu/runs/{}/report.md", run())));
}

#[test]
fn the_rollback_point() {
    let story = eventful();
    golden("rollback-point.yaml", story.file(&format!("prod-eu/rollback-points/{}.yaml", run())));
    let (name, message) = record::tag(CLUSTER, story.record.run.as_ref().unwrap());
    golden("rollback-tag", &format!("{name}\n\n{message}"));
}

#[test]
fn the_commit_messages() {
    let commits = finished().commits;
    let subjects: Vec<&str> = commits.iter().map(|commit| commit.message.lines().next().unwrap()).collect();
    golden("commit-subjects", &subjects.join("\n"));
    let whole: Vec<&str> = commits.iter().map(|commit| commit.message.as_str()).collect();
    golden("commit-messages", &whole.join("\n--------\n"));
}

#[test]
fn one_entry_and_its_intent_as_files() {
    let story = eventful();
    let intent = story.branch.iter().find(|(_, text)| text.contains("stepStarted")).unwrap();
    golden("entry.yaml", &format!("# {}\n{}", intent.0, intent.1));
}

#[test]
fn the_config_map() {
    golden("config-map-in-progress", &record::config_map_text(&status(CLUSTER, &eventful().record)));
    golden("config-map-at-rest", &record::config_map_text(&status(CLUSTER, &finished().record)));
    let mut halfway = Story::new(plan(4));
    halfway.accepted().run_started();
    halfway.through("cp1", Component::Servers).through("cp1", Component::Kubelet);
    halfway.through("w1", Component::Kubelet).say([started("w2", Component::Kubelet)]);
    golden("config-map-on-its-way", &record::config_map_text(&status(CLUSTER, &halfway.record)));
    halfway.through("w2", Component::Kubelet).through("w3", Component::Kubelet);
    halfway.through("w4", Component::Kubelet).ended(RunOutcome::Converged, Vec::new());
    golden("config-map-as-desired", &record::config_map_text(&status(CLUSTER, &halfway.record)));
}

#[test]
fn the_control_plane_comes_from_where_its_first_hop_does() {
    let mut behind = status(CLUSTER, &eventful().record);
    behind.run.as_mut().unwrap().from = v("v1.34.9");
    let text = record::config_map_text(&behind);
    assert!(text.contains("- Control Plane: 1.35.6 → 1.36.3 (complete)\n"), "{text}");
}

#[test]
fn the_status_page() {
    let pages: Vec<String> = [eventful(), finished(), Story::new(plan(1))]
        .iter()
        .map(|story| BTreeMap::from([(CLUSTER.to_owned(), status(CLUSTER, &story.record))]))
        .map(|all| {
            let code = page::exit_code_of(&all);
            format!("{}exit code {code}\n", page::render(&all, page::Output::Text).unwrap())
        })
        .collect();
    golden("status-page", &pages.join("\n"));
}

#[test]
fn the_history_page() {
    let records =
        BTreeMap::from([(CLUSTER.to_owned(), finished().record), ("prod-us".to_owned(), eventful().record)]);
    golden("history-page", &history::render_runs(&records, page::Output::Text).unwrap());
    golden("history-page.json", &history::render_runs(&records, page::Output::Json).unwrap());
    let journals = BTreeMap::from([(CLUSTER.to_owned(), finished().entries)]);
    golden("history-of-a-run", &history::render_run(&journals, &run(), page::Output::Text).unwrap());
    let unknown = history::render_run(&journals, "nope-1", page::Output::Text).unwrap_err();
    assert_eq!(unknown.to_string(), "there is no run nope-1; the runs are: 4be81d90a6c2-1");
}
