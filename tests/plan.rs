//! Plans: every case in `cases/plan` is read, planned, checked, carried out step by step and planned again.

mod any;
mod case;
mod mutations;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use case::Case;
use windlass::cli::plan::{Format, exit_code, render};
use windlass::diff::diff;
use windlass::model::desired::Desired;
use windlass::model::live::{Live, Ready};
use windlass::model::plan::{Component, Fact, Plan, Step};
use windlass::plan::{check, plan};

const SCRIPTS: &str = "sha256:5c819";

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/plan");
    let mut cases: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn load(folder: &Path) -> (Case, Desired, Live) {
    let case = Case::read(&fs::read_to_string(folder.join("case.yaml")).unwrap());
    let (desired, live) = (case.desired(), case.live());
    (case, desired, live)
}

#[test]
fn every_case_gives_its_golden_plan() {
    for folder in cases() {
        let (case, desired, live) = load(&folder);
        let plan = plan(&desired, &live, SCRIPTS);
        let page = render(&plan, &diff(&desired, &live), Format::Text, None);
        let golden = format!("{page}exit    {}\n\n{}", exit_code(&plan), listed(&plan));
        insta::with_settings!({
            snapshot_path => folder.clone(),
            prepend_module_to_snapshot => false,
            omit_expression => true,
            description => case.about,
        }, {
            insta::assert_snapshot!("plan", golden);
        });
    }
}

/// Every step in its order, with what it expects beyond the node itself.
fn listed(plan: &Plan) -> String {
    let mut out = String::new();
    for stage in &plan.stages {
        writeln!(out, "{:?} of hop {} to {}", stage.kind, stage.hop + 1, stage.to).unwrap();
        for step in &stage.steps {
            let canary = if step.canary { " canary" } else { "" };
            let drain = if step.drain { " drained" } else { "" };
            let servers = step.expects.iter().find_map(|fact| match fact {
                Fact::ServersAtLeast(version) => Some(format!(" servers>={version}")),
                Fact::Runs(..) | Fact::Ready(_) | Fact::Exists(..) => None,
            });
            let servers = servers.unwrap_or_default();
            writeln!(out, "  {} from {}{drain}{canary}{servers}", step.id, step.from).unwrap();
        }
    }
    out
}

/// Makes what a step achieves true.
fn carry_out(live: &mut Live, step: &Step) {
    for fact in &step.achieves {
        match fact {
            Fact::Runs(Component::Servers, node, version) => case::set_servers(live, node, Some(version)),
            Fact::Runs(Component::Kubelet, node, version) => {
                live.nodes.get_mut(node.as_str()).unwrap().kubelet = Some(version.clone());
            }
            Fact::ServersAtLeast(_) => {
                let version = &step.to;
                live.api.version = Some(version.clone());
                let nodes: Vec<_> = live.control_plane().map(|node| node.name.clone()).collect();
                for node in nodes {
                    case::set_servers(live, &node, Some(version));
                }
            }
            Fact::Ready(node) => live.nodes.get_mut(node.as_str()).unwrap().ready = Ready::True,
            Fact::Exists(..) => {}
        }
    }
}

/// The plan is sound; carried out to its end nothing is left; stopped anywhere, only the rest is planned.
fn follow(name: &str, desired: &Desired, live: &Live) {
    let first = plan(desired, live, SCRIPTS);
    assert_eq!(check(&first, desired, live), [], "{name}");
    if !first.blockers.is_empty() {
        return;
    }
    let mut now = live.clone();
    let mut done: Vec<&Step> = Vec::new();
    for step in first.steps() {
        let unmet = step.expects.iter().find(|fact| !matches!(fact, Fact::Ready(_)) && !now.holds(fact));
        assert_eq!(unmet, None, "{name}: {}", step.id);
        carry_out(&mut now, step);
        done.push(step);
        assert!(step.achieves.iter().all(|fact| now.holds(fact)), "{name}: {}", step.id);
        let again = plan(desired, &now, SCRIPTS);
        assert_eq!(again.blockers, [], "{name} after {}", step.id);
        assert_eq!(check(&again, desired, &now), [], "{name} after {}", step.id);
        // Who is a canary, and with it the order within a stage, is chosen anew.
        let left: BTreeSet<_> = again.steps().map(|step| &step.id).collect();
        let expected: BTreeSet<_> = first.steps().skip(done.len()).map(|step| &step.id).collect();
        assert_eq!(left, expected, "{name} after {}", step.id);
    }
    let end = plan(desired, &now, SCRIPTS);
    assert!(end.is_empty() && end.hops.is_empty(), "{name}: {}", listed(&end));
    assert!(diff(desired, &now).iter().all(|change| change.scope.is_none()), "{name}");
}

#[test]
fn every_case_is_sound_resumable_and_ends() {
    for folder in cases() {
        let (_, desired, live) = load(&folder);
        follow(&folder.file_name().unwrap().to_string_lossy(), &desired, &live);
    }
}

#[test]
fn a_plan_is_the_same_every_time_and_its_digest_knows_intent_only() {
    let (_, desired, live) = load(&cases().into_iter().find(|path| path.ends_with("one-minor")).unwrap());
    let first = plan(&desired, &live, SCRIPTS);
    assert_eq!(first, plan(&desired, &live, SCRIPTS));

    let digest = |change: &dyn Fn(&mut Desired, &mut Live)| {
        let (mut desired, mut live) = (desired.clone(), live.clone());
        change(&mut desired, &mut live);
        plan(&desired, &live, SCRIPTS).digest
    };
    // Nodes come and go, and are busy or not.
    assert_eq!(first.digest, digest(&|_, live| drop(live.nodes.remove("w1"))));
    assert_eq!(first.digest, digest(&|_, live| case::add_node(live, "w9", "pool=general v1.35.4")));
    assert_eq!(first.digest, digest(&|_, live| live.nodes.get_mut("w1").unwrap().hold = Some("no".into())));
    assert_eq!(first.digest, digest(&|desired, _| desired.commit.0.push('0')));
    // What a reviewer has agreed to.
    assert_ne!(first.digest, digest(&|desired, _| desired.cluster.version.patch += 1));
    assert_ne!(first.digest, digest(&|desired, _| desired.cluster.pools[0].canary += 1));
    assert_ne!(first.digest, digest(&|desired, _| desired.cluster.pools[0].selector.match_labels.clear()));
    assert_ne!(first.digest, digest(&|desired, _| desired.cluster.etcd_unproven = Some("trust me".into())));
    assert_ne!(first.digest, digest(&|desired, _| desired.cluster.name.push('2')));
    assert_ne!(first.digest, plan(&desired, &live, "sha256:other").digest);
}

#[test]
fn the_page_for_a_pull_request() {
    let folder = cases().into_iter().find(|path| path.ends_with("risks")).unwrap();
    let (_, desired, live) = load(&folder);
    let plan = plan(&desired, &live, SCRIPTS);
    let scripts =
        [("kubeadm on a worker".to_owned(), "#!/bin/sh\nset -eu\nkubeadm upgrade node\n".to_owned())];
    insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("markdown", render(&plan, &diff(&desired, &live), Format::Markdown, Some(&scripts)));
        insta::assert_snapshot!("text", render(&plan, &diff(&desired, &live), Format::Text, Some(&scripts)));
    });
    let json = render(&plan, &diff(&desired, &live), Format::Json, Some(&scripts));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["plan"]["digest"], plan.digest);
    assert_eq!(json["scripts"][0]["title"], "kubeadm on a worker");
    assert_eq!(serde_json::from_value::<Plan>(json["plan"].clone()).unwrap(), plan);
}

#[test]
fn changes_are_one_line_for_all_nodes_that_go_the_same_way() {
    let case = Case::read(
        "{about: x, desired: {version: v1.36.3, pools: [{name: a, select: p=a}, {name: b, select: p=b}]}, live: {nodes: {
          cp1..cp3: control-plane v1.35.4, w1..w2: p=a v1.35.4, w3: p=a v1.34.2, w4: p=b unknown, w5: p=b v1.36.3, w6: v1.35.4}}}",
    );
    let expected = [
        "controlPlane  servers  v1.35.4 → v1.36.3  3 nodes",
        "controlPlane  kubelet  v1.35.4 → v1.36.3  3 nodes",
        "a  kubelet  v1.34.2 → v1.36.3  w3",
        "a  kubelet  v1.35.4 → v1.36.3  2 nodes",
        "b  kubelet  unknown → v1.36.3  w4",
        "no pool  kubelet  v1.35.4 → v1.36.3  w6",
    ];
    assert_eq!(windlass::diff::lines(&diff(&case.desired(), &case.live())), expected);
}

#[test]
fn words_from_the_cluster_cannot_change_the_page() {
    let (_, desired, mut live) = load(&cases().into_iter().find(|path| path.ends_with("one-minor")).unwrap());
    live.nodes.get_mut("w1").unwrap().hold = Some("\u{1b}[2J <img src=x> @everyone | [a](b)\n# x".into());
    let plan = plan(&desired, &live, SCRIPTS);
    let text = render(&plan, &[], Format::Text, None);
    assert!(!text.contains('\u{1b}') && text.contains("held by a person:  [2J <img"), "{text}");
    let markdown = render(&plan, &[], Format::Markdown, None);
    assert!(
        !markdown.contains("<img") && !markdown.contains("@everyone") && !markdown.contains("\n# x"),
        "{markdown}"
    );
}
