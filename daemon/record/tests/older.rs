//! Files of development versions are refused by a message that says what they are and what to do.

use std::collections::BTreeMap;

use super::{Journal, RUN, entry, plan, worker};
use crate::model::entry::{StepEvent, What};
use crate::model::plan::Plan;
use crate::record::{files, read};

const ENTRY: &str = "\
seq: 0
at: \"2026-11-25T21:00:03Z\"
run: 4be81d90a6c2-1
epoch: 3
what:
  stepStarted:
    step: controlPlane/v1.36.3/cp1@uid-cp1/servers
    node: cp1
    nodeUid: uid-cp1
    pods: 0
    baseline:
      uid-cart:
        name: deployment/shop/cart
        ready: 3
";
const STOP_ENDED: &str = "\
seq: 0
at: \"2026-11-25T21:00:03Z\"
epoch: 3
what: stopEnded
";
const PLAN: &str = "\
cluster: prod-eu
commit: 4be81d90a6c2753f0e1d9b8a7c6f5e4d3c2b1a09
from: v1.35.6
to: v1.36.3
hops:
- from: v1.35.6
  to: v1.36.3
stages:
- kind: servers
  hop: 0
  to: v1.36.3
  steps:
  - id: controlPlane/v1.36.3/cp1@uid-cp1/servers
    pool: controlPlane
    node: cp1
    nodeUid: uid-cp1
    zone: \"\"
    component: servers
    provider: kubeadm
    from: v1.35.6
    to: v1.36.3
    drain: false
    canary: false
    expects: []
    achieves: []
digest: 9c1185a5c5e9
";
const RUNS: &str = "prod-eu/runs/4be81d90a6c2-1";

/// The branch of a run that has started.
fn branch(plan: &Plan) -> BTreeMap<String, String> {
    let journal = Journal::of(plan);
    let run = journal.run();
    let started = crate::model::entry::RunEvent::Started {
        commit: run.commit.clone(),
        from: run.from.clone(),
        to: run.to.clone(),
        digest: run.digest.clone(),
        nodes: 6,
        why: None,
    };
    let files = files("prod-eu", &[entry(0, What::Run(started))], &journal.record, Some(plan), None).unwrap();
    files.into_iter().map(|(path, bytes)| (path, String::from_utf8(bytes).unwrap())).collect()
}

fn refused(files: &BTreeMap<String, String>) -> String {
    read("prod-eu", files).unwrap_err().to_string()
}

const OLDER: &str = "was written by a development version of Windlass, before the format was fixed: delete the status \
                     branch to begin a new record, or use that version";

#[test]
fn an_entry_of_a_development_version() {
    for (text, path) in [
        (ENTRY, format!("{RUNS}/journal/0/00000000.yaml")),
        (STOP_ENDED, "prod-eu/journal/0/00000000.yaml".to_owned()),
    ] {
        let files = BTreeMap::from([(path.clone(), text.to_owned())]);
        assert_eq!(refused(&files), format!("{path} {OLDER}"));
    }
    // A file that is only damaged is not taken for one of a development version.
    let path = format!("{RUNS}/journal/0/00000000.yaml");
    let damaged = BTreeMap::from([(path.clone(), ENTRY.replace("stepStarted", "stepStirred"))]);
    assert_eq!(refused(&damaged), format!("reading {path}"));
}

#[test]
fn a_plan_of_a_development_version() {
    let (mut files, path) = (branch(&plan()), format!("{RUNS}/plan.yaml"));
    assert!(read("prod-eu", &files).is_ok());
    files.insert(path.clone(), PLAN.to_owned());
    assert_eq!(refused(&files), format!("{path} {OLDER}"));
    files.insert(path.clone(), "cluster: prod-eu\n".to_owned());
    assert_eq!(refused(&files), format!("reading {path}"));
}

#[test]
fn a_step_that_the_plan_does_not_have() {
    let mut files = branch(&plan());
    let path = format!("{RUNS}/journal/0/00000001.yaml");
    let mut put = |id| {
        let text = super::super::yaml::write(&entry(1, What::Step(id, StepEvent::Gone))).unwrap();
        files.insert(path.clone(), text);
        read("prod-eu", &files)
    };
    assert!(put(worker("w1")).is_ok());
    let error = put(worker("w9")).unwrap_err().to_string();
    let step = "general/v1.37.1/w9@uid-w9/kubelet";
    assert_eq!(error, format!("{path} tells of step {step}, which is not in {RUNS}/plan.yaml"));
    assert!(path.contains(RUN));
}
