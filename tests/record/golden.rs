//! What people read, as files to be reviewed: `tests/cases/record/`.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use windlass::model::decision::{Answer, Gate, Key};
use windlass::model::entry::{ClusterEvent, CommitEvent, InterruptionEvent, RunOutcome, StepPhase, What};
use windlass::model::plan::{Component, StageKind};
use windlass::model::state::DesiredState;
use windlass::record::{self, Record, status};
use windlass::view::Page as _;
use windlass::view::beside::KeptNode;
use windlass::view::history::{RunsPage, StoryPage};
use windlass::view::status::{BesideRecords, StatusPage};

use super::story::{
    CLUSTER, Story, commit, done, eventful, failed, failed_because, moved, not_ready, plan, reason, started,
    v, wait,
};

pub fn golden(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../cases/record");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// The eventful run through a stop, a failure and a resume, until a newer commit takes its place.
fn finished() -> Story {
    let mut story = eventful();
    story.pass(3, 0).say([What::Interruption(InterruptionEvent::Stopped {
        by: "anna".into(),
        reason: "payment incident".into(),
    })]);
    story.pass(7, 30).say([What::Interruption(InterruptionEvent::StopEnded)]);
    story.pass(0, 4).say([What::Cluster(ClusterEvent::Waiting { answers: Vec::new() })]);
    for phase in [StepPhase::Drained, StepPhase::Upgrading] {
        story.pass(0, 9).say([moved("w2", Component::Kubelet, phase)]);
    }
    story
        .pass(20, 0)
        .say([failed("w2"), What::Interruption(InterruptionEvent::Halted { reasons: not_ready("w2") })]);
    story.pass(65, 0).say([What::Interruption(InterruptionEvent::Resumed {
        by: "anna".into(),
        reason: "the disk was replaced".into(),
        note: Some("7b1f".into()),
    })]);
    story.pass(0, 1).through("w2", Component::Kubelet);
    story.pass(0, 1).through("w3", Component::Kubelet);
    let newer = commit("9a3bd2c4e5f60718293a4b5c6d7e8f9001122334");
    let accepted = CommitEvent::Accepted { commit: newer.clone(), version: v("v1.36.4"), by: None };
    story.pass(0, 1).say([What::Commit(accepted)]);
    let text = format!("commit {} asks for v1.36.4", newer.short());
    story.ended(RunOutcome::Superseded, vec![reason(Key::PlanStale, "cluster/prod-eu", &text)]);
    let next = Some("2026-11-26T21:00:00Z");
    let closed =
        wait(Gate::Window, Key::WindowClosed, "window/prod-nights", "the window prod-nights is closed", next);
    story.pass(0, 1).say([What::Cluster(ClusterEvent::Waiting { answers: vec![closed] })]);
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
fn the_plan_file() {
    golden("plan.yaml", eventful().file(&format!("prod-eu/runs/{}/plan.yaml", run())));
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
    let intent = story.branch.iter().find(|(_, text)| text.contains("- started:")).unwrap();
    golden("entry.yaml", &format!("# {}\n{}", intent.0, intent.1));
}

#[test]
fn the_config_map() {
    golden("config-map-in-progress", &record::config_map_text(&status(CLUSTER, &eventful().record)));
    let mut stopped = eventful();
    stopped.pass(3, 0).say([What::Interruption(InterruptionEvent::Stopped {
        by: "anna".into(),
        reason: "payment incident".into(),
    })]);
    let text = record::config_map_text(&status(CLUSTER, &stopped.record));
    golden("config-map-stopped", &text);
    assert!(stopped.record.stop_is_told(&text) && !stopped.record.stop_is_told("Cluster Upgrade Status:\n"));
    golden("config-map-at-rest", &record::config_map_text(&status(CLUSTER, &finished().record)));
    let mut halfway = Story::new(plan(4));
    halfway.accepted().run_started();
    halfway.through("cp1", Component::ControlPlane).through("cp1", Component::Kubelet);
    halfway.through("w1", Component::Kubelet).say([started("w2", Component::Kubelet)]);
    golden("config-map-on-its-way", &record::config_map_text(&status(CLUSTER, &halfway.record)));
    halfway.through("w2", Component::Kubelet).through("w3", Component::Kubelet);
    halfway.through("w4", Component::Kubelet).ended(RunOutcome::Converged, Vec::new());
    golden("config-map-as-desired", &record::config_map_text(&status(CLUSTER, &halfway.record)));
}

#[test]
fn the_config_map_says_once_what_many_nodes_wait_for() {
    let mut story = Story::new(plan(1));
    let text = "it runs v1.37.2, newer than v1.36.3";
    let waits =
        ["w1", "w2", "w3"].map(|node| wait(Gate::Plan, Key::Downgrade, &format!("node/{node}"), text, None));
    story.accepted().say([What::Cluster(ClusterEvent::Waiting { answers: waits.to_vec() })]);
    let text = record::config_map_text(&status(CLUSTER, &story.record));
    let told: Vec<&str> = text.lines().filter(|line| line.contains("v1.37.2")).collect();
    assert!(matches!(told.as_slice(), [one] if one.contains("(nodes w1, w2 and w3) since ")), "{text}");
}

#[test]
fn a_run_with_a_node_that_cannot_go_has_no_estimated_end() {
    let mut story = Story::new(plan(4));
    story.accepted().run_started().through("cp1", Component::ControlPlane).through("cp1", Component::Kubelet);
    story.through("w1", Component::Kubelet).say([started("w2", Component::Kubelet)]);
    assert!(status(CLUSTER, &story.record).run.unwrap().estimated_completion.is_some(), "set-up");
    let never = reason(Key::BudgetNeverAllows, "budget/shop/db", "it never allows a disruption");
    story.say([What::Cluster(ClusterEvent::Waiting { answers: vec![Answer::deny(Gate::Budget, never)] })]);
    let now = status(CLUSTER, &story.record);
    assert_eq!(now.run.as_ref().unwrap().estimated_completion, None);
    let text = record::config_map_text(&now);
    assert!(text.ends_with("\nEstimated Completion: not while budget/shop/db blocks\n"), "{text}");
    let text = page(&BTreeMap::from([(CLUSTER.to_owned(), story.record.clone())])).text();
    assert!(text.contains("\n  done by    not while budget/shop/db blocks\n"), "{text}");
}

#[test]
fn the_control_plane_comes_from_where_its_first_hop_does() {
    let mut behind = status(CLUSTER, &eventful().record);
    behind.run.as_mut().unwrap().from = v("v1.34.9");
    let text = record::config_map_text(&behind);
    assert!(text.contains("- Control Plane: 1.35.6 → 1.36.3 (complete)\n"), "{text}");
}

#[test]
fn a_halt_a_stop_and_a_refused_commit_are_told_once() {
    let mut story = eventful();
    let words = "failed: kubeadm upgrade node: exit code 1 (BackoffLimitExceeded)";
    let why = vec![reason(Key::JobFailed, "job/w2-kubelet-1", words)];
    let halted = InterruptionEvent::Halted { reasons: why.clone() };
    story.say([failed_because("w2", why), What::Interruption(halted)]);
    let stopped = InterruptionEvent::Stopped { by: "anna".into(), reason: "payment incident".into() };
    story.say([What::Interruption(stopped)]);
    let answers = [
        (Gate::Stop, Key::Stopped, "stopped by anna: payment incident"),
        (
            Gate::Halt,
            Key::Halted,
            "halted: kubeadm upgrade node: exit code 1 (BackoffLimitExceeded); a commit",
        ),
        (Gate::Desired, Key::CommitRefused, "commit 77aa00bb11cc is not valid: a version is quoted"),
    ];
    let answers = answers.map(|(gate, key, text)| Answer::deny(gate, reason(key, "cluster/prod-eu", text)));
    story.say([What::Cluster(ClusterEvent::Waiting { answers: answers.to_vec() })]);
    let records = BTreeMap::from([(CLUSTER.to_owned(), story.record.clone())]);
    let pages = [page(&records).text(), record::config_map_text(&status(CLUSTER, &story.record))];
    for text in &pages {
        assert_eq!(text.matches("payment incident").count(), 1, "{text}");
        assert_eq!(text.matches("commit 77aa00bb11cc").count(), 1, "{text}");
    }
    let [text, map] = pages;
    let line =
        "since 2026-11-25 21:24 UTC: w2 failed: kubeadm upgrade node: exit code 1 (BackoffLimitExceeded)";
    assert!(text.contains(line), "{text}");
    assert_eq!(text.matches("kubeadm upgrade node").count(), 1, "{text}");
    let story_page = StoryPage::of(&BTreeMap::from([(CLUSTER.to_owned(), story.entries.clone())]), &run());
    let messages: String = story.commits.iter().map(|commit| commit.message.as_str()).collect();
    for text in [text, map, story_page.unwrap().text(), messages] {
        for twice in ["failed: failed", "halted: failed", "halted: halted", "stopped: stopped"] {
            assert!(!text.contains(twice), "{twice}:\n{text}");
        }
    }
}

#[test]
fn going_back_is_offered_until_the_control_plane_is_changed() {
    let mut story = Story::new(plan(1));
    story.accepted().run_started();
    let told = |story: &Story| {
        let text = page(&BTreeMap::from([(CLUSTER.to_owned(), story.record.clone())])).text();
        let line = text.lines().find(|line| line.starts_with("  go back")).map(str::to_owned);
        line.unwrap_or_default()
    };
    for what in
        [started("cp1", Component::ControlPlane), moved("cp1", Component::ControlPlane, StepPhase::Claimed)]
    {
        story.say([what]);
        assert!(told(&story).contains("to commit 0f5a3c7e9b1d, only until"), "{}", told(&story));
    }
    for what in
        [moved("cp1", Component::ControlPlane, StepPhase::Upgrading), done("cp1", Component::ControlPlane)]
    {
        story.say([what]);
        assert!(told(&story).contains("not possible: the control plane has moved"), "{}", told(&story));
    }
    let mut kubelets = plan(1);
    kubelets.stages.retain(|stage| stage.kind == StageKind::Workers);
    let mut story = Story::new(kubelets);
    story.accepted().run_started();
    let line = told(&story);
    assert!(line.contains("not possible: the control plane already runs the target"), "{line}");
}

/// The page an hour and a minute after the last entry.
fn page(records: &BTreeMap<String, Record>) -> StatusPage {
    let last = records.values().filter_map(|record| record.last_at).max().unwrap_or_default();
    let known = BesideRecords { wanted: Ok(BTreeMap::new()), acting: BTreeMap::new(), kept: BTreeMap::new() };
    StatusPage::of(records, &known, last + SignedDuration::from_mins(61))
}

#[test]
fn the_status_page() {
    let pages: Vec<String> = [eventful(), finished(), Story::new(plan(1))]
        .iter()
        .map(|story| page(&BTreeMap::from([(CLUSTER.to_owned(), story.record.clone())])))
        .map(|page| format!("{}exit code {}\n", page.text(), page.exit().code()))
        .collect();
    golden("status-page", &pages.join("\n"));
    let mut stopped = finished();
    stopped.say([What::Interruption(InterruptionEvent::Stopped { by: "anna".into(), reason: "x".into() })]);
    let mut halted = eventful();
    halted.say([failed("w2"), What::Interruption(InterruptionEvent::Halted { reasons: not_ready("w2") })]);
    let fleet = [
        ("new", Story::new(plan(1)).record),
        ("empty", Record::default()),
        ("halted", halted.record),
        ("eventful", eventful().record),
        ("finished", finished().record),
        ("stopped", stopped.record),
    ];
    let fleet = fleet.map(|(name, record)| (name.to_owned(), record));
    golden("status-page-of-many", &page(&fleet.into()).text());
    let all =
        BTreeMap::from([("dev".to_owned(), Record::default()), (CLUSTER.to_owned(), eventful().record)]);
    let mut json: serde_json::Value = serde_json::from_str(&page(&all).json().unwrap()).unwrap();
    for row in json.as_array_mut().unwrap() {
        row.as_object_mut().unwrap().remove("recordAgeSeconds");
    }
    let statuses: Vec<_> = all.iter().map(|(name, record)| status(name, record)).collect();
    assert_eq!(json, serde_json::to_value(statuses).unwrap(), "the keys of status.yaml");
    assert_eq!(page(&BTreeMap::new()).text(), "no cluster has a record yet\n");
}

#[test]
fn nodes_that_people_keep_are_named_and_change_no_exit_code() {
    let mut story = Story::new(plan(1));
    story.accepted();
    let kept = |node: &str, held: Option<&str>| KeptNode {
        node: node.to_owned(),
        held: held.map(str::to_owned),
        cordoned: held.is_none(),
    };
    let told = |nodes: &[KeptNode]| {
        let kept = BTreeMap::from([(CLUSTER.to_owned(), nodes.to_vec())]);
        let known = BesideRecords { wanted: Ok(BTreeMap::new()), acting: BTreeMap::new(), kept };
        let records = BTreeMap::from([(CLUSTER.to_owned(), story.record.clone())]);
        let page = StatusPage::of(&records, &known, story.now);
        assert_eq!(page.exit().code(), 0);
        let line = page.text().lines().find(|line| line.starts_with("  people")).map(str::to_owned);
        line.unwrap_or_default()
    };
    assert_eq!(told(&[]), "");
    assert_eq!(
        told(&[kept("batch-1", None), kept("general-3", Some("disk"))]),
        "  people     2 nodes are held or cordoned by people: batch-1 (cordoned), general-3 (held: disk)"
    );
    assert_eq!(
        told(&[kept("w1", Some(""))]),
        "  people     1 node is held or cordoned by people: w1 (held: no reason given)"
    );
}

/// A wait that ends some minutes after the newest commit was accepted, if it is known when.
fn ending(gate: Gate, key: Key, minutes: Option<i64>) -> Answer {
    let mut story = Story::new(plan(1));
    story.accepted();
    let next = minutes.map(|minutes| story.now + SignedDuration::from_mins(minutes));
    Answer::wait(gate, reason(key, "cluster/prod-eu", "later")).until(next)
}

fn window_in_an_hour() -> Answer {
    ending(Gate::Window, Key::WindowClosed, Some(60))
}

fn waiting_for(answers: Vec<Answer>) -> Story {
    let mut story = Story::new(plan(1));
    story.accepted().say([What::Cluster(ClusterEvent::Waiting { answers })]);
    story
}

/// The page so many minutes after the last entry, without a look at the desired branch.
fn page_later(records: &BTreeMap<String, Record>, minutes: i64) -> StatusPage {
    let last = records.values().filter_map(|record| record.last_at).max().unwrap_or_default();
    let known =
        BesideRecords { wanted: Err("not read".into()), acting: BTreeMap::new(), kept: BTreeMap::new() };
    StatusPage::of(records, &known, last + SignedDuration::from_mins(minutes))
}

fn overdue_after(story: &Story, minutes: i64) -> (String, u8) {
    let page = page_later(&BTreeMap::from([(CLUSTER.to_owned(), story.record.clone())]), minutes);
    let line = page.text().lines().find(|line| line.starts_with("  overdue")).map(str::to_owned);
    (line.unwrap_or_default(), page.exit().code())
}

/// A daemon that died while it waited leaves a record that looks well.
#[test]
fn an_entry_that_is_missing_needs_a_person() {
    let mut stopped = waiting_for(vec![window_in_an_hour()]);
    stopped.say([What::Interruption(InterruptionEvent::Stopped { by: "anna".into(), reason: "x".into() })]);
    let nothing = || (String::new(), 3);
    let overdue = |missing: &str| {
        (format!("  overdue    nothing was recorded {missing}; check that a daemon runs and can push"), 4)
    };
    let window = waiting_for(vec![window_in_an_hour()]);
    assert_eq!(overdue_after(&window, 70), nothing(), "a daemon may take a while");
    let told = overdue("since 2026-11-25 19:58 UTC, when the wait `windowClosed` was to end");
    assert_eq!(overdue_after(&window, 80), told);
    let limit = waiting_for(vec![ending(Gate::Limit, Key::LimitReached, None)]);
    assert_eq!(overdue_after(&limit, 9_000), nothing());
    for (gate, key) in [(Gate::Watch, Key::NotCurrent), (Gate::Health, Key::ApiUnreachable)] {
        let unseen = waiting_for(vec![window_in_an_hour(), ending(gate, key, None)]);
        assert_eq!(overdue_after(&unseen, 9_000), nothing(), "it has said that it sees nothing");
    }
    assert_eq!(overdue_after(&stopped, 9_000), nothing(), "a stopped daemon records nothing");
    // No daemon serves a cluster that was taken out of git.
    let page = page(&BTreeMap::from([(CLUSTER.to_owned(), window.record.clone())]));
    assert_eq!(page.exit().code(), 3);
}

#[test]
fn a_run_that_waits_for_nothing_and_records_nothing_needs_a_person() {
    let overdue = "  overdue    nothing was recorded for 2h, and no recorded wait explains that; check that a daemon runs and can push";
    for in_progress in [false, true] {
        let mut story = Story::new(plan(1));
        story.accepted().run_started();
        if in_progress {
            let claimed = moved("w1", Component::Kubelet, StepPhase::Claimed);
            story.say([started("w1", Component::Kubelet), claimed]);
        }
        assert_eq!(overdue_after(&story, 119), (String::new(), 3), "a step may take long");
        assert_eq!(overdue_after(&story, 120), (overdue.to_owned(), 4));
        let answers = vec![ending(Gate::Limit, Key::LimitReached, None)];
        story.say([What::Cluster(ClusterEvent::Waiting { answers })]);
        let code = if in_progress { 4 } else { 3 };
        assert_eq!(overdue_after(&story, 120).1, code, "others wait for those in progress");
        let answers = vec![ending(Gate::Budget, Key::BudgetBlocks, None)];
        story.say([What::Cluster(ClusterEvent::Waiting { answers })]);
        assert_eq!(overdue_after(&story, 9_000), (String::new(), 3), "a budget may block for long");
    }
}

#[test]
fn an_entry_that_is_missing_is_in_the_table_and_in_json() {
    let of_two = BTreeMap::from([
        (CLUSTER.to_owned(), waiting_for(vec![window_in_an_hour()]).record),
        ("other".to_owned(), Record::default()),
    ]);
    let page = page_later(&of_two, 80);
    let text = page.text();
    let row = text.lines().find(|line| line.starts_with(CLUSTER)).unwrap();
    assert!(row.contains("needs a person") && row.contains("nothing was recorded since"), "{row}");
    let json: serde_json::Value = serde_json::from_str(&page.json().unwrap()).unwrap();
    let overdue = json.as_array().unwrap().iter().find(|row| row["cluster"] == CLUSTER).unwrap();
    let expected = serde_json::json!({"since": "2026-11-25T19:58:14Z", "wait": "windowClosed"});
    assert_eq!(overdue["overdue"], expected);
}

#[test]
fn a_row_says_first_what_needs_a_person() {
    let mut story = Story::new(plan(1));
    let text =
        "a taint or an annotation of an autoscaler or a cloud provider marks it for removal or shutdown";
    let marked = reason(Key::MarkedForRemoval, "node/w1", text);
    let answers = vec![Answer::deny(Gate::Hold, marked)];
    story.accepted().say([What::Cluster(ClusterEvent::Waiting { answers })]);
    let records = BTreeMap::from([
        (CLUSTER.to_owned(), story.record.clone()),
        ("other".to_owned(), Story::new(plan(1)).record),
    ]);
    let state = DesiredState {
        newest: commit("9a3bd2c4e5f60718293a4b5c6d7e8f9001122334"),
        desired: None,
        asked: String::new(),
        problems: Vec::new(),
        rewritten: false,
        unproven: false,
        by: None,
    };
    let known = BesideRecords {
        wanted: Ok(BTreeMap::from([(CLUSTER.to_owned(), state)])),
        acting: BTreeMap::new(),
        kept: BTreeMap::new(),
    };
    let text = StatusPage::of(&records, &known, story.now).text();
    let row = text.lines().find(|line| line.starts_with(CLUSTER)).unwrap();
    assert!(row.contains("not accepted yet, needs a person"), "{row}");
    assert!(row.contains("  node/w1: a taint or an annotation"), "{row}");
}

#[test]
fn the_history_page() {
    let records =
        BTreeMap::from([(CLUSTER.to_owned(), finished().record), ("prod-us".to_owned(), eventful().record)]);
    let page = RunsPage::of(&records);
    golden("history-page", &page.text());
    golden("history-page.json", &page.json().unwrap());
    assert_eq!(RunsPage::of(&BTreeMap::new()).text(), "no run is recorded\n");
    let journals = BTreeMap::from([(CLUSTER.to_owned(), finished().entries)]);
    let page = StoryPage::of(&journals, &run()).unwrap();
    golden("history-of-a-run", &page.text());
    let json: serde_json::Value = serde_json::from_str(&page.json().unwrap()).unwrap();
    let first = &json[0];
    assert_eq!((&first["cluster"], &first["entry"]["seq"]), (&CLUSTER.into(), &6.into()), "{first:#}");
    let unknown = StoryPage::of(&journals, "nope-1").unwrap_err();
    assert_eq!(unknown.to_string(), "there is no run nope-1; the runs are: 4be81d90a6c2-1");
}
