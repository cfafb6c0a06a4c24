//! Plans: every case in `cases/plan` is read, planned, checked, carried out step by step and planned again.

mod any;
mod bound;
mod case;
mod mutations;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::worlds::charts;
use case::Case;
use windlass::diff::diff;
use windlass::gate::Forecast;
use windlass::model::addon::{AddonWork, ImageMove};
use windlass::model::decision::{Answer, Gate, Key, Reason};
use windlass::model::desired::{Desired, Limit, PackageSource};
use windlass::model::helm::HelmMove;
use windlass::model::installed::SkippedPhase;
use windlass::model::live::{Live, Ready};
use windlass::model::plan::{AddonMove, Component, Fact, Plan, Standing, Step, Truth, Work};
use windlass::plan::{asked, check, misfit, plan, proposal, seal};
use windlass::provider::{Script, scripts};
use windlass::view::Page as _;
use windlass::view::plan::{PlanPage, Script as ShownScript};

use crate::worlds::live::workload as read_workload;

/// What a plan would run on hosts, as far as its digest is concerned: the real ones change more often than plans do.
fn some_scripts() -> Vec<Script> {
    let text = "#!/bin/sh\nset -eu\nkubeadm upgrade node\n".to_owned();
    vec![Script { title: "kubeadm on a worker".to_owned(), text }]
}

/// The plan with its digest.
pub fn sealed(desired: &Desired, live: &Live) -> Plan {
    seal(plan(desired, live), &desired.cluster, &some_scripts()).unwrap()
}

fn cases_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/plan")
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<_> =
        fs::read_dir(cases_folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
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
        let plan = sealed(&desired, &live);
        let page = PlanPage::of(&plan, &diff(&desired, &live), Vec::new());
        let golden = format!("{}exit    {}\n\n{}", page.text(), page.exit().code(), listed(&plan));
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

#[test]
fn every_plan_follows_from_its_commit() {
    for folder in cases() {
        let (_, desired, live) = load(&folder);
        let plan = proposal(&desired, &live).unwrap();
        assert_eq!(misfit(&plan, &desired).unwrap(), None, "{}", folder.display());
    }
}

/// What somebody who can push to the record's branch might change in a frozen plan, and what is said of it.
#[test]
fn a_plan_that_was_changed_does_not_follow_from_its_commit() {
    let (_, desired, live) = load(&cases_folder().join("two-hops"));
    let plan = proposal(&desired, &live).unwrap();
    let says = |change: &dyn Fn(&mut Plan), word: &str| {
        let mut changed = plan.clone();
        change(&mut changed);
        // Whoever changes the plan can also give it the digest that fits.
        let changed =
            seal(changed.clone(), &desired.cluster, &scripts(&desired.cluster, &changed.stages)).unwrap();
        let said = misfit(&changed, &desired).unwrap().unwrap_or_default();
        assert!(said.contains(word), "`{word}` is not in `{said}`");
    };
    says(&|plan| plan.cluster = "other".to_owned(), "cluster other");
    says(&|plan| plan.commit = windlass::model::CommitId("0".repeat(40)), "commit 000000000000");
    says(&|plan| plan.to = "v1.36.9".parse().unwrap(), "v1.36.9");
    says(
        &|plan| plan.kubeadm.image = Some("evil.example.com/rootkit:1".to_owned()),
        "evil.example.com/rootkit:1",
    );
    says(&|plan| plan.kubeadm.from = PackageSource::Folder("/tmp/evil".to_owned()), "other settings");
    says(&|plan| plan.max_unavailable = Some(Limit::Percent(100)), "limits");
    says(&|plan| plan.pools.clear(), "limits");
    let first = |plan: &mut Plan, change: &dyn Fn(&mut Step)| {
        let step = plan.stages.iter_mut().flat_map(|stage| &mut stage.steps).next().unwrap();
        change(step);
    };
    says(&|plan| first(plan, &|step| step.expects.clear()), "no plan for the commit has its step");
    says(&|plan| first(plan, &|step| step.achieves.clear()), "no plan for the commit has its step");
    says(
        &|plan| {
            first(plan, &|step| {
                if let Work::ControlPlane(mv) = &mut step.work {
                    mv.to = "v1.36.9".parse().unwrap();
                }
            });
        },
        "no plan for the commit has its step",
    );
    let mut digest = plan.clone();
    digest.digest = "sha256:0".to_owned();
    assert!(misfit(&digest, &desired).unwrap().unwrap().contains("its digest is sha256:0"));
}

/// An addon that goes through versions goes through all of them, in their order, and with the images that follow from its file.
#[test]
fn a_plan_that_skips_a_version_of_an_addon_does_not_follow_from_its_commit() {
    let (_, desired, live) = load(&cases_folder().join("addons-that-move-at-the-hop-they-ask-for"));
    let plan = proposal(&desired, &live).unwrap();
    assert_eq!((plan.blockers.as_slice(), misfit(&plan, &desired).unwrap()), ([].as_slice(), None));
    let refused = |what: &str, change: &dyn Fn(&mut AddonMove) -> bool| {
        let mut changed = plan.clone();
        for stage in &mut changed.stages {
            let steps = std::mem::take(&mut stage.steps).into_iter().filter_map(|mut step| {
                let Work::Addon(mv) = &mut step.work else { return Some(step) };
                let stays = mv.name != "cilium" || change(mv);
                let achieves = mv.achieves();
                stays.then(|| Step::new(step.id.scope, step.work, step.expects, achieves))
            });
            stage.steps = steps.collect();
        }
        changed.stages.retain(|stage| !stage.steps.is_empty());
        let scripts = scripts(&desired.cluster, &changed.stages);
        let changed = seal(changed, &desired.cluster, &scripts).unwrap();
        let said = misfit(&changed, &desired).unwrap();
        // A plan that was made while the version between ran has no step to it. Which one runs is asked before the step.
        let later = changed.steps().filter(|step| step.id.to == "v1.19.5").count() == 0;
        assert!(
            later || said.as_ref().is_some_and(|said| said.contains("has its step addon/cilium/")),
            "{what}: {said:?}"
        );
        assert_ne!(check(&changed, &desired, &live), [], "{what}");
    };
    refused("without the version between", &|mv| mv.to != "v1.19.5");
    refused("without the last version", &|mv| mv.to != "v1.20.1");
    refused("to a version that the file does not have", &|mv| {
        if mv.to == "v1.20.1" {
            mv.to = "v1.20.2".to_owned();
        }
        true
    });
    let image = |mv: &mut AddonMove, change: &dyn Fn(&mut ImageMove)| {
        if let AddonWork::Image(of) = &mut mv.change {
            change(of);
        }
        true
    };
    refused("with another image", &|mv| image(mv, &|of| of.image.push_str("-evil")));
    refused("from another image", &|mv| {
        image(mv, &|of| of.image_from = "quay.io/cilium/cilium:v1.15.1".into())
    });
    refused("with another later image", &|mv| {
        image(mv, &|of| of.later.push("evil.example.com/rootkit:1".into()))
    });
}

/// The same of a chart: whoever changes its steps in the frozen plan is found out by the commit, or by what was rendered.
#[test]
fn a_plan_that_changes_the_versions_of_a_chart_is_found_out() {
    let (_, desired, live) = load(&cases_folder().join("addons-by-charts-through-versions"));
    let plan = proposal(&desired, &live).unwrap();
    assert_eq!((plan.blockers.as_slice(), misfit(&plan, &desired).unwrap()), ([].as_slice(), None));
    let refused = |what: &str, by_commit: bool, change: &dyn Fn(&str, &mut HelmMove)| {
        let mut changed = plan.clone();
        for step in changed.stages.iter_mut().flat_map(|stage| &mut stage.steps) {
            let Work::Addon(mv) = &mut step.work else { continue };
            if let AddonWork::Helm(of) = &mut mv.change {
                change(&mv.to, of);
            }
            step.achieves = mv.achieves();
        }
        let scripts = scripts(&desired.cluster, &changed.stages);
        let changed = seal(changed, &desired.cluster, &scripts).unwrap();
        assert_eq!(misfit(&changed, &desired).unwrap().is_some(), by_commit, "{what}");
        assert_ne!(check(&changed, &desired, &live), [], "{what}");
    };
    refused("with another content", true, &|_, of| of.objects.digest.push('0'));
    refused("with another later content", true, &|_, of| of.later.push("sha256:0".to_owned()));
    refused("without a later content", true, &|_, of| of.later.clear());
    refused("as though nothing came before it", true, &|_, of| of.follows = false);
    refused("back to another revision", true, &|to, of| {
        of.revision = of.revision.or((to == "1.20.1").then_some(3));
    });
    // No commit has the archives.
    for version in ["1.19.5", "1.20.1"] {
        refused("with another archive", false, &|to, of| {
            of.archive.as_mut().filter(|_| to == version).unwrap_or(&mut String::new()).push('0');
        });
    }
    refused("with other objects", false, &|to, of| {
        of.objects.objects.truncate(usize::from(to != "1.20.1"));
    });
    let archives = |change: &dyn Fn(&mut HelmMove)| {
        let mut changed = plan.clone();
        for step in changed.stages.iter_mut().flat_map(|stage| &mut stage.steps) {
            if let Work::Addon(AddonMove { change: AddonWork::Helm(of), .. }) = &mut step.work {
                change(of);
            }
        }
        seal(changed, &desired.cluster, &some_scripts()).unwrap().digest
    };
    let same = archives(&|_| {});
    for follows in [false, true] {
        let other = archives(&|of| {
            if of.follows == follows {
                of.archive = Some("sha256:other".to_owned());
            }
        });
        assert_ne!(other, same, "the digest covers every archive");
    }
}

/// Every step in its order, with what it expects beyond the node itself.
fn listed(plan: &Plan) -> String {
    let mut out = String::new();
    for stage in &plan.stages {
        writeln!(out, "{:?} of hop {} to {}", stage.kind, stage.hop + 1, stage.to).unwrap();
        for step in &stage.steps {
            let canary = step.node_move().is_some_and(|mv| mv.canary);
            let canary = if canary { " canary" } else { "" };
            let drain = if step.drains() { " drained" } else { "" };
            let control_plane = step.expects.iter().find_map(|fact| match fact {
                Fact::ControlPlaneAtLeast(version) => Some(format!(" control plane>={version}")),
                Fact::RunsAtLeast(..)
                | Fact::Ready(_)
                | Fact::HasImage(..)
                | Fact::HasVersion(..)
                | Fact::RolledOut(_)
                | Fact::Applied(..)
                | Fact::AppliedAndReady(..)
                | Fact::Removed(..)
                | Fact::Exists(_) => None,
            });
            let control_plane = control_plane.unwrap_or_default();
            let of_image =
                |mv: &AddonMove| mv.image().map_or_else(|| mv.from.clone(), |of| of.image_from.clone());
            let from = step.work.addon().map_or_else(|| step.from().to_string(), of_image);
            writeln!(out, "  {} from {from}{drain}{canary}{control_plane}", step.id).unwrap();
        }
    }
    out
}

/// Makes what a step achieves true, no more than that.
fn carry_out(live: &mut Live, step: &Step) {
    for fact in &step.achieves {
        match fact {
            Fact::RunsAtLeast(Component::ControlPlane, node, version) => {
                case::set_control_plane(live, node, Some(version));
            }
            Fact::RunsAtLeast(Component::Kubelet, node, version) => {
                live.nodes.get_mut(node.as_str()).unwrap().kubelet = Some(version.clone());
            }
            Fact::ControlPlaneAtLeast(_) => {
                let version = step.to();
                live.api.version = Some(version.clone());
                let nodes: Vec<_> = live.control_plane().map(|node| node.name.clone()).collect();
                for node in nodes {
                    case::set_control_plane(live, &node, Some(version));
                }
            }
            Fact::Ready(node) => live.nodes.get_mut(node.as_str()).unwrap().ready = Ready::True,
            Fact::HasImage(workload, container, images) => {
                let read = live.addon_workloads.get_mut(workload).unwrap().as_mut().unwrap();
                read.images.get_mut(container).unwrap().image.clone_from(&images.first);
            }
            Fact::HasVersion(workload, container, version) => {
                let read = read_workload(&format!("{container}=registry.k8s.io/{container}:{version}"));
                live.addon_workloads.insert(workload.clone(), read);
            }
            Fact::RolledOut(workload) => {
                live.addon_workloads.entry(workload.clone()).or_insert_with(|| read_workload("c=image:1"));
            }
            Fact::Applied(addon, contents) => charts::give(live, addon, &contents.first),
            Fact::AppliedAndReady(..) | Fact::Removed(..) | Fact::Exists(_) => {}
        }
    }
}

/// The plan is sound; carried out to its end nothing is left; stopped anywhere, only the rest is planned.
fn follow(name: &str, desired: &Desired, live: &Live) {
    let first = sealed(desired, live);
    assert_eq!(check(&first, desired, live), [], "{name}");
    if !first.blockers.is_empty() {
        return;
    }
    let mut now = live.clone();
    let mut done: Vec<&Step> = Vec::new();
    for step in first.steps() {
        let holds = |fact: &&Fact| now.truth(fact) == Truth::Holds;
        let unmet = step.expects.iter().find(|fact| !matches!(fact, Fact::Ready(_)) && !holds(fact));
        assert_eq!(unmet, None, "{name}: {}", step.id);
        assert!(!step.arrived(|fact| now.truth(fact)), "{name}: {}", step.id);
        carry_out(&mut now, step);
        done.push(step);
        assert_eq!(step.standing(|fact| now.truth(fact)), Standing::Done, "{name}: {}", step.id);
        let again = sealed(desired, &now);
        assert_eq!(again.blockers, [], "{name} after {}", step.id);
        assert_eq!(check(&again, desired, &now), [], "{name} after {}", step.id);
        // Who is a canary, and with it the order within a stage, is chosen anew.
        // What kubeadm has moved is checked in the run that moved the control plane, and in no other.
        let moves = |step: &&Step| step.work.check().is_none();
        let left: BTreeSet<_> = again.steps().filter(moves).map(|step| &step.id).collect();
        let rest = first.steps().skip(done.len());
        let expected: BTreeSet<_> = rest.filter(moves).map(|step| &step.id).collect();
        assert_eq!(left, expected, "{name} after {}", step.id);
    }
    let end = sealed(desired, &now);
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
    let first = sealed(&desired, &live);
    assert_eq!(first, sealed(&desired, &live));

    let digest = |change: &dyn Fn(&mut Desired, &mut Live)| {
        let (mut desired, mut live) = (desired.clone(), live.clone());
        change(&mut desired, &mut live);
        sealed(&desired, &live).digest
    };
    // Nodes come and go, and are busy or not.
    assert_eq!(first.digest, digest(&|_, live| drop(live.nodes.remove("w1"))));
    assert_eq!(first.digest, digest(&|_, live| drop(case::add_node(live, "w9", "pool=general v1.35.4"))));
    assert_eq!(first.digest, digest(&|_, live| live.nodes.get_mut("w1").unwrap().hold = Some("no".into())));
    assert_eq!(first.digest, digest(&|desired, _| desired.commit.0.push('0')));
    // What a reviewer has agreed to.
    assert_ne!(first.digest, digest(&|desired, _| desired.cluster.version.patch += 1));
    assert_ne!(first.digest, digest(&|desired, _| desired.cluster.pools[0].canary += 1));
    assert_ne!(first.digest, digest(&|desired, _| desired.cluster.pools[0].selector.match_labels.clear()));
    assert_ne!(first.digest, digest(&|desired, _| desired.cluster.etcd_unproven = Some("trust me".into())));
    assert_ne!(first.digest, digest(&|desired, _| desired.cluster.name.push('2')));
    assert_ne!(first.digest, seal(plan(&desired, &live), &desired.cluster, &[]).unwrap().digest);
    // What kubeadm leaves out is in the scripts, and in what the file asks for.
    let mut skipping = desired.clone();
    skipping.cluster.control_plane.kubeadm.skip_phases = vec![SkippedPhase::KubeProxy];
    let of = |desired: &Desired| proposal(desired, &live).unwrap();
    assert_ne!(of(&desired).digest, of(&skipping).digest);
    assert_ne!(of(&desired).asked, of(&skipping).asked);
    // Whether a workload is there to be checked may change before the window.
    let mut there = live.clone();
    case::add_pod(&mut there, "kube-system", "kube-proxy-1", "w1 daemonset/kube-proxy");
    let checked = sealed(&desired, &there);
    assert_eq!(checked.steps().filter(|step| step.work.check().is_some()).count(), 1);
    assert_eq!(first.digest, checked.digest);
}

#[test]
fn a_proposal_is_the_plan_with_its_seal_and_the_objections_of_the_check() {
    for folder in cases() {
        let (_, desired, live) = load(&folder);
        let draft = plan(&desired, &live);
        assert_eq!((draft.digest.as_str(), draft.asked.as_str()), ("", ""));
        let scripts = scripts(&desired.cluster, &draft.stages);
        let proposal = proposal(&desired, &live).unwrap();
        assert_eq!(proposal, seal(draft, &desired.cluster, &scripts).unwrap());
        assert_eq!(proposal.asked, asked(&desired.cluster).unwrap());
    }
}

#[test]
fn the_page_for_a_pull_request() {
    let folder = cases().into_iter().find(|path| path.ends_with("risks")).unwrap();
    let (_, desired, live) = load(&folder);
    let plan = sealed(&desired, &live);
    let shown = |script: Script| ShownScript { title: script.title, text: script.text };
    let scripts = some_scripts().into_iter().map(shown).collect();
    let page = PlanPage::of(&plan, &diff(&desired, &live), scripts);
    insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("markdown", page.markdown());
        insta::assert_snapshot!("text", page.text());
        insta::assert_snapshot!("json", page.json().unwrap());
    });
}

/// What programs read stays there, whatever the planner's own types look like.
#[test]
fn the_keys_that_programs_read() {
    let keys = [
        ("", "plan changes nodes podsToMove scripts"),
        (
            "/plan",
            "cluster commit from to hops stages pools maxUnavailable kubeadm risks blockers digest asked",
        ),
        ("/plan/hops/0", "from to"),
        ("/plan/stages/0", "kind hop to steps"),
        (
            "/plan/stages/0/steps/0",
            "id node nodeUid pool zone component provider from to drain canary expects achieves",
        ),
        ("/plan/risks/0", "key object text"),
        (
            "/plan/pools/general",
            "maxUnavailable maxUnavailablePerZone canary soakSeconds foreignCordon drain",
        ),
        (
            "/plan/pools/general/drain",
            "when timeoutSeconds deleteEmptyDirData jobsSeconds implicitBudgets recoverySeconds onNotRecovered onBlocked",
        ),
        ("/plan/kubeadm", "from image ignorePreflightErrors"),
        ("/changes/0", "scope component from to node pods"),
        ("/scripts/0", "title text"),
    ];
    for name in ["risks", "hosted"] {
        let (_, desired, live) = load(&cases().into_iter().find(|path| path.ends_with(name)).unwrap());
        let mut plan = sealed(&desired, &live);
        if plan.risks.is_empty() {
            plan.risks.push(Reason::new(Key::Held, "node/w1", "held"));
        }
        let script = ShownScript { title: "kubelet of a worker".to_owned(), text: "true".to_owned() };
        let page = PlanPage::of(&plan, &diff(&desired, &live), vec![script]).json().unwrap();
        let page: serde_json::Value = serde_json::from_str(&page).unwrap();
        for (place, keys) in keys {
            for key in keys.split(' ') {
                let found = page.pointer(&format!("{place}/{key}"));
                assert!(found.is_some(), "{name}: {place} has no {key}: {page:#}");
            }
        }
    }
}

#[test]
fn changes_are_one_line_for_all_nodes_that_go_the_same_way() {
    let case = Case::read(
        "{about: x, desired: {version: v1.36.3, pools: [{name: a, select: p=a}, {name: b, select: p=b}]}, live: {nodes: {
          cp1..cp3: control-plane v1.35.4, w1..w2: p=a v1.35.4, w3: p=a v1.34.2, w4: p=b unknown, w5: p=b v1.36.3, w6: v1.35.4}}}",
    );
    let expected = [
        "controlPlane  control-plane  v1.35.4 → v1.36.3  3 nodes",
        "controlPlane  kubelet  v1.35.4 → v1.36.3  3 nodes",
        "a  kubelet  v1.34.2 → v1.36.3  w3",
        "a  kubelet  v1.35.4 → v1.36.3  2 nodes",
        "b  kubelet  unknown → v1.36.3  w4",
        "no pool  kubelet  v1.35.4 → v1.36.3  w6",
    ];
    assert_eq!(windlass::diff::lines(&diff(&case.desired(), &case.live())), expected);
}

#[test]
fn what_keeps_a_node_out_is_told_once() {
    let (_, desired, live) = load(&cases().into_iter().find(|path| path.ends_with("left-alone")).unwrap());
    let text = "another user cordoned it; Windlass skips it until it is uncordoned";
    let answer = Answer::deny(Gate::Hold, Reason::new(Key::ForeignCordon, "node/w2", text));
    let left_out = BTreeMap::from([("w2".to_owned(), vec![answer])]);
    let page = PlanPage::of(&sealed(&desired, &live), &[], Vec::new());
    let page = page.foreseen(Forecast { left_out, ..Forecast::default() });
    for text in [page.text(), page.markdown()] {
        assert_eq!(text.matches("another user cordoned it").count(), 1, "{text}");
    }
}

#[test]
fn words_from_the_cluster_cannot_change_the_page() {
    let (_, desired, mut live) = load(&cases().into_iter().find(|path| path.ends_with("one-minor")).unwrap());
    live.nodes.get_mut("w1").unwrap().hold = Some("\u{1b}[2J <img src=x> @everyone | [a](b)\n# x".into());
    let plan = sealed(&desired, &live);
    let page = PlanPage::of(&plan, &[], Vec::new());
    let text = page.text();
    assert!(!text.contains('\u{1b}') && text.contains("a person holds it:  [2J <img"), "{text}");
    let markdown = page.markdown();
    assert!(
        !markdown.contains("<img") && !markdown.contains("@everyone") && !markdown.contains("\n# x"),
        "{markdown}"
    );
}
