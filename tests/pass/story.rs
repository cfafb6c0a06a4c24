//! The journal of a case: what was written down until now, entry by entry, and the record that these add up to.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use windlass::model::CommitId;
use windlass::model::claim::AsFound;
use windlass::model::decision::{Answer, Gate, Key, Reason};
use windlass::model::desired::Desired;
use windlass::model::entry::{
    ClusterEvent, CommitEvent, Entry, InterruptionEvent, RunEvent, RunOutcome, StepEvent, StepPhase, What,
};
use windlass::model::live::Live;
use windlass::model::plan::{Plan, Step, WorkKind};
use windlass::model::state::DesiredState;
use windlass::plan::proposal;
use windlass::record::Record;
use windlass::verify::owners;

use super::case::{Case, Sketch, length};

/// `kube-system`'s UID, as the record knows it.
pub const CLUSTER_UID: &str = "uid-kube-system";
/// Under which tenure of the lease everything was written.
pub const EPOCH: u64 = 3;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// What was written down, in the order of time.
pub struct Story<'a> {
    case: &'a Case,
    now: Timestamp,
    /// The cluster as the runs found it.
    then: &'a Live,
    /// With the plan that the entry refers to.
    told: Vec<(Timestamp, What, Option<Plan>)>,
}

/// The commit that asked for something else before.
fn older_commit() -> CommitId {
    CommitId("01dc0de0".repeat(5))
}

pub fn write(case: &Case, then: &Live, desired: &Desired, state: &DesiredState) -> (Record, Vec<Entry>) {
    let mut story = Story { case, now: case.now, then, told: Vec::new() };
    if !story.says("unmet") {
        let begin = case.now - SignedDuration::from_hours(72);
        story.tell(begin, What::Cluster(ClusterEvent::Met { uid: CLUSTER_UID.to_owned() }));
        let mut accepted = None;
        for sketch in case.before.iter().chain(&case.run) {
            let of_run = asked(desired, sketch);
            story.accept(&mut accepted, &of_run, begin);
            story.run(sketch, &of_run);
        }
        if !story.says("unaccepted") {
            story.accept(&mut accepted, desired, begin);
        }
        story.facts(state);
    }
    story.record()
}

/// What was asked for when the run started.
fn asked(desired: &Desired, sketch: &Sketch) -> Desired {
    let mut asked = desired.clone();
    if let Some(version) = sketch.version.clone().filter(|version| *version != desired.cluster.version) {
        asked.cluster.version = version;
        asked.commit = older_commit();
    }
    if sketch.older_commit {
        asked.commit = older_commit();
    }
    asked
}

impl Story<'_> {
    fn says(&self, fact: &str) -> bool {
        self.case.record.iter().any(|known| known == fact)
    }

    fn tell(&mut self, at: Timestamp, what: What) {
        self.told.push((at, what, None));
    }

    /// A commit comes into force once: with its first run, or right before now.
    fn accept(&mut self, accepted: &mut Option<CommitId>, desired: &Desired, begin: Timestamp) {
        if accepted.as_ref() == Some(&desired.commit) {
            return;
        }
        let last = self.told.iter().map(|(at, ..)| *at).max().unwrap_or(begin);
        let (commit, version) = (desired.commit.clone(), desired.cluster.version.clone());
        self.tell(last, What::Commit(CommitEvent::Accepted { commit, version, by: None }));
        *accepted = Some(desired.commit.clone());
    }

    fn run(&mut self, sketch: &Sketch, desired: &Desired) {
        let plan = proposal(desired, self.then).unwrap();
        assert_eq!(plan.blockers, [], "a run has a plan without blockers");
        let mut steps: Vec<(Timestamp, What)> = Vec::new();
        for (name, states) in &sketch.steps {
            let step = find(&plan, name);
            for state in states.split(',') {
                steps.extend(self.step(&plan, step, state));
            }
        }
        steps.sort_by_key(|(at, _)| *at);
        let first = steps.first().map_or(self.now - MINUTE * 10, |(at, _)| *at);
        let last = steps.last().map_or(first, |(at, _)| *at);
        let nodes = plan.steps().filter_map(Step::node).collect::<std::collections::BTreeSet<_>>().len();
        let started = RunEvent::Started {
            commit: desired.commit.clone(),
            from: plan.from.clone(),
            to: plan.to.clone(),
            digest: plan.digest.clone(),
            nodes: nodes.try_into().unwrap(),
            why: None,
        };
        let before = self.told.iter().map(|(at, ..)| *at).max();
        assert!(before < Some(first - MINUTE), "the run before ended before this one started");
        self.told.push((first - MINUTE, What::Run(started), Some(plan)));
        self.told.push((first - MINUTE, What::Run(RunEvent::RollbackPoint { id: String::new() }), None));
        self.told.extend(steps.into_iter().map(|(at, what)| (at, what, None)));
        if let Some(outcome) = &sketch.ended {
            let outcome: RunOutcome = word(outcome);
            self.tell(last + MINUTE, What::Run(RunEvent::Ended { outcome, reasons: Vec::new() }));
        }
    }

    /// The entries of one attempt: a state, and its age.
    fn step(&self, plan: &Plan, step: &Step, state: &str) -> Vec<(Timestamp, What)> {
        let words: Vec<&str> = state.split_whitespace().collect();
        let (age, words) = words.split_last().unwrap();
        let at = self.now - length(age);
        let (name, details) = words.split_first().unwrap();
        if *name == "next" {
            return vec![(at, What::Run(RunEvent::Next { steps: vec![step.id.clone()] }))];
        }
        let limits = plan.limits(&step.id.scope).map(|limits| &limits.drain);
        let (pods, baseline) = step.work.node_move().map_or_else(Default::default, |(component, mv)| {
            owners::baseline(self.then, component, mv, limits.filter(|_| mv.drain))
        });
        let phases = phases(step);
        // A step without a drain is never `drained`: it is as far as it was before.
        let reached = |phase: StepPhase| phases.iter().filter(|known| **known <= phase).count();
        let reasons = |key: &str| {
            vec![Reason::new(word::<Key>(key), step.id.object(), "this is what the record has of it")]
        };
        let (until, end) = match (*name, details) {
            ("done", owes) if matches!(owes, [] | ["owes"]) => {
                let names = baseline.values().map(|owner| owner.name.clone());
                let owes = if owes.is_empty() { Vec::new() } else { names.collect() };
                (phases.len(), Some(StepEvent::Done { version: step.id.to.clone(), evicted: pods, owes }))
            }
            ("gone", []) => (0, Some(StepEvent::Gone)),
            // Untouched steps are set aside in mid-drain, touched ones in mid-upgrade.
            ("setAside", [key]) => {
                let end = StepEvent::SetAside { touched: false, reasons: reasons(key) };
                (reached(StepPhase::Claimed), Some(end))
            }
            ("setAside", [key, "touched"]) => {
                let end = StepEvent::SetAside { touched: true, reasons: reasons(key) };
                (reached(StepPhase::Upgrading), Some(end))
            }
            ("failed", [key]) => {
                (reached(StepPhase::Upgrading), Some(StepEvent::Failed { reasons: reasons(key) }))
            }
            (phase, []) => (reached(word(phase)), None),
            (_, _) => panic!("`{state}` is no state of a step"),
        };
        let mut events: Vec<StepEvent> = phases
            .into_iter()
            .take(until)
            .map(|phase| match phase {
                StepPhase::Started => StepEvent::Started { pods, baseline: baseline.clone() },
                phase => {
                    let found = AsFound {
                        was_unschedulable: false,
                        scale_down_was_disabled: false,
                        cordoned: step.drains(),
                    };
                    StepEvent::Moved { phase, found: (phase == StepPhase::Claimed).then_some(found) }
                }
            })
            .collect();
        events.extend(end);
        // The last of them at that time, each before it a minute earlier.
        let count = events.len();
        let age = |index: usize| MINUTE * i32::try_from(count - 1 - index).unwrap();
        let events = events.into_iter().enumerate();
        events.map(|(index, event)| (at - age(index), What::Step(step.id.clone(), event))).collect()
    }

    /// What is on record beside commits and runs.
    fn facts(&mut self, state: &DesiredState) {
        for fact in &self.case.record {
            let words: Vec<&str> = fact.split_whitespace().collect();
            let by = || "anna".to_owned();
            let (at, what) = match words.as_slice() {
                ["unmet" | "unaccepted"] => continue,
                ["refused"] => {
                    let (commit, problems) = (state.newest.clone(), state.problems.clone());
                    (self.now - MINUTE, What::Commit(CommitEvent::Refused { commit, problems }))
                }
                ["stopped", age] => {
                    let event = InterruptionEvent::Stopped { by: by(), reason: STOP_REASON.to_owned() };
                    (self.now - length(age), What::Interruption(event))
                }
                ["halted", key, object, age] => {
                    let reason = Reason::new(word::<Key>(key), *object, "this is what the record has of it");
                    let event = InterruptionEvent::Halted { reasons: vec![reason] };
                    (self.now - length(age), What::Interruption(event))
                }
                ["waiting", key, object, age] => {
                    let reason = Reason::new(word::<Key>(key), *object, "this is what the record has of it");
                    let answers = vec![Answer::wait(Gate::Budget, reason)];
                    (self.now - length(age), What::Cluster(ClusterEvent::Waiting { answers }))
                }
                ["tainting", pool, age] => {
                    let event = RunEvent::Tainting { pool: (*pool).to_owned() };
                    (self.now - length(age), What::Run(event))
                }
                ["ahead", pool, age] => {
                    (self.now - length(age), What::Run(RunEvent::Ahead { pool: (*pool).to_owned() }))
                }
                ["resumed", age] => {
                    let note = Some(RESUME_UID.to_owned());
                    let event = InterruptionEvent::Resumed { by: by(), reason: "repaired".to_owned(), note };
                    (self.now - length(age), What::Interruption(event))
                }
                _ => panic!("`{fact}` is no fact of a record"),
            };
            self.tell(at, what);
        }
    }

    /// Entry by entry, as the journal is read.
    fn record(mut self) -> (Record, Vec<Entry>) {
        self.told.sort_by_key(|(at, ..)| *at);
        let mut record = Record::default();
        let mut journal = Vec::new();
        for (index, (at, mut what, plan)) in self.told.into_iter().enumerate() {
            let starts = match &what {
                What::Run(RunEvent::Started { commit, .. }) => Some(record.next_run(commit)),
                _ => None,
            };
            let run = starts.or(record.run.as_ref().map(|run| run.id.clone()));
            if let (What::Run(RunEvent::RollbackPoint { id }), Some(run)) = (&mut what, &run) {
                id.clone_from(run);
            }
            let entry = Entry { seq: u64::try_from(index).unwrap() + 1, at, run, epoch: EPOCH, what };
            record.apply(&entry, plan.as_ref());
            journal.push(entry);
        }
        if let (Some(run), Some(sketch)) = (&mut record.run, &self.case.run) {
            run.doubt.clone_from(&sketch.doubt);
        }
        (record, journal)
    }
}

pub const STOP_REASON: &str = "the database team asked";
pub const RESUME_UID: &str = "uid-resume";

/// The phases that a step passes through.
fn phases(step: &Step) -> Vec<StepPhase> {
    let all = [
        StepPhase::Started,
        StepPhase::Claimed,
        StepPhase::Drained,
        StepPhase::Upgrading,
        StepPhase::Upgraded,
        StepPhase::Returned,
    ];
    let passed = |phase: &StepPhase| match step.id.kind {
        WorkKind::AwaitControlPlane | WorkKind::Check => *phase == StepPhase::Started,
        WorkKind::Addon => matches!(phase, StepPhase::Started | StepPhase::Upgrading),
        WorkKind::ControlPlane | WorkKind::Kubelet => *phase != StepPhase::Drained || step.drains(),
    };
    all.into_iter().filter(passed).collect()
}

/// `w1`, `cp1`, `cp1/kubelet`, `w1@v1.34.9`, `cluster`.
pub fn find<'a>(plan: &'a Plan, name: &str) -> &'a Step {
    let (name, version) = name.split_once('@').map_or((name, None), |(name, version)| (name, Some(version)));
    let (node, kubelet) = name.strip_suffix("/kubelet").map_or((name, false), |node| (node, true));
    let mut steps: BTreeMap<usize, &Step> = plan.steps().enumerate().collect();
    steps.retain(|_, step| {
        let of_addon = step.work.addon().map(|mv| mv.name.as_str());
        let of_node = step.node().or(of_addon).unwrap_or("cluster") == node;
        of_node
            && (!kubelet || step.id.kind == WorkKind::Kubelet)
            && version.is_none_or(|to| step.id.to == to)
    });
    steps.into_values().next().unwrap_or_else(|| panic!("the plan has no step `{name}`"))
}

/// A word of a closed list, as files have it.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_value(text.into()).unwrap_or_else(|_| panic!("`{text}` is no word that is known here"))
}
