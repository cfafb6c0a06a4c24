//! Whatever a text may be, entries and plans come back from their files exactly as they were.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use windlass::model::CommitId;
use windlass::model::decision::{Answer, Gate, Key, Reason, Verdict};
use windlass::model::desired::{
    DrainWhen, ForeignCordon, Kubeadm, Limit, OnBlocked, OnNotRecovered, PackageSource, Provider,
};
use windlass::model::entry::{
    Baseline, ClusterEvent, CommitEvent, DriftedObject, Entry, InterruptionEvent, RunEvent, RunOutcome,
    StepEvent, StepPhase, What,
};
use windlass::model::installed::{InstalledAddon, InstalledCheck, SkippedPhase};
use windlass::model::plan::{
    Component, DrainLimits, Fact, Hop, NodeMove, NodeRef, Plan, PoolLimits, Scope, Stage, StageKind, Step,
    StepId, Work, WorkKind,
};
use windlass::model::version::Version;
use windlass::record;

const CLUSTER: &str = "c1";
const ESCAPE: char = '\u{1b}';
/// Texts that readers of YAML have taken for something else.
const AWKWARD: &[&str] = &[
    "",
    " ",
    "~",
    "null",
    "Null",
    "yes",
    "no",
    "on",
    "off",
    "y",
    "n",
    "true",
    "0",
    "007",
    "0x1F",
    "1.30",
    "1e5",
    "1_000",
    "12:30",
    "2026-11-22",
    "2026-11-22T10:00:00Z",
    ".inf",
    ".nan",
    "<<",
    "=",
    "-",
    "- a",
    "? a",
    ": a",
    "a: b",
    "a #b",
    "#",
    "&a",
    "*a",
    "!a",
    "|",
    ">",
    "%",
    "@",
    "`",
    "'",
    "\"",
    "\\",
    "{}",
    "[]",
    "{a: b}",
    "---",
    "...",
    "a\nb",
    "a\n",
    "\n",
    "\n\na",
    " a",
    "a ",
    "\t",
    "\ta",
    "a\r\nb",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "\u{0}",
    "\u{1b}[31m",
    "→ ✓ ü",
    "𝄞",
    "1234567890123456789012345678901234567890",
    "1234567890123456789012345678901234e56789",
    "0e12345678901234567890123456789012345678",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(AWKWARD).prop_map(str::to_owned),
        3 => "[ -~]{0,120}",
        2 => any::<String>(),
        1 => "[0-9a-f]{40}",
        1 => "[0-9]{1,30}e[0-9]{1,9}",
    ]
}

fn version() -> impl Strategy<Value = Version> {
    ("v1\\.(0|[1-9][0-9])\\.(0|[1-9])(-rc\\.[1-9]|\\+k3s[1-9])?").prop_map(|text| text.parse().unwrap())
}

fn moment() -> impl Strategy<Value = jiff::Timestamp> {
    (0_i64..4_000_000_000, 0_i32..1_000_000_000).prop_map(|(s, ns)| jiff::Timestamp::new(s, ns).unwrap())
}

fn reason() -> impl Strategy<Value = Reason> {
    (select(Key::ALL), text(), text()).prop_map(|(key, object, text)| Reason { key, object, text })
}

fn answer() -> impl Strategy<Value = Answer> {
    let gates = [Gate::Mode, Gate::Window, Gate::Stop, Gate::Budget, Gate::Record];
    let verdicts = [Verdict::Allow, Verdict::Wait, Verdict::Deny];
    (select(gates.to_vec()), select(verdicts.to_vec()), reason(), option::of(moment()))
        .prop_map(|(gate, verdict, reason, next)| Answer { gate, verdict, reason, next })
        .boxed()
}

fn node() -> impl Strategy<Value = NodeRef> {
    (text(), text()).prop_map(|(name, uid)| NodeRef { name, uid })
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        Just(Scope::ControlPlane),
        text().prop_map(Scope::Pool),
        text().prop_map(Scope::Addon),
        text().prop_map(Scope::Check),
    ]
}

fn step_id() -> impl Strategy<Value = StepId> {
    let kind = select(
        &[WorkKind::ControlPlane, WorkKind::Kubelet, WorkKind::AwaitControlPlane, WorkKind::Check][..],
    );
    (scope(), text(), option::of(node()), kind).prop_map(|(scope, to, node, kind)| StepId {
        scope,
        to,
        node,
        kind,
    })
}

fn commit() -> impl Strategy<Value = CommitId> {
    text().prop_map(CommitId)
}

fn reasons() -> impl Strategy<Value = Vec<Reason>> {
    vec(reason(), 0..4)
}

fn step_event() -> impl Strategy<Value = StepEvent> {
    let baseline = btree_map(
        text(),
        (text(), any::<u32>()).prop_map(|(name, ready)| Baseline { name, ready, watched: true }),
        0..4,
    );
    let phases = [StepPhase::Started, StepPhase::Claimed, StepPhase::Drained, StepPhase::Returned];
    prop_oneof![
        (any::<u32>(), baseline).prop_map(|(pods, baseline)| StepEvent::Started { pods, baseline }),
        select(phases.to_vec()).prop_map(|phase| StepEvent::Moved { phase, found: None }),
        (text(), any::<u32>(), proptest::collection::vec(text(), 0..3))
            .prop_map(|(version, evicted, owes)| StepEvent::Done { version, evicted, owes }),
        (any::<bool>(), reasons()).prop_map(|(touched, reasons)| StepEvent::SetAside { touched, reasons }),
        reasons().prop_map(|reasons| StepEvent::Failed { reasons }),
        Just(StepEvent::Gone),
    ]
}

fn cluster_event() -> impl Strategy<Value = ClusterEvent> {
    prop_oneof![
        text().prop_map(|uid| ClusterEvent::Met { uid }),
        vec(answer(), 0..4).prop_map(|answers| ClusterEvent::Waiting { answers }),
        vec(drifted_object(), 0..4).prop_map(|objects| ClusterEvent::Drifted { objects }),
    ]
}

fn drifted_object() -> impl Strategy<Value = DriftedObject> {
    (text(), text(), text()).prop_map(|(addon, object, text)| DriftedObject { addon, object, text })
}

fn commit_event() -> impl Strategy<Value = CommitEvent> {
    prop_oneof![
        (commit(), version()).prop_map(|(commit, version)| CommitEvent::Accepted {
            commit,
            version,
            by: None
        }),
        (commit(), vec(text(), 0..4))
            .prop_map(|(commit, problems)| CommitEvent::Refused { commit, problems }),
    ]
}

fn interruption() -> impl Strategy<Value = InterruptionEvent> {
    prop_oneof![
        reasons().prop_map(|reasons| InterruptionEvent::Halted { reasons }),
        (text(), text(), option::of(text())).prop_map(|(by, reason, note)| InterruptionEvent::Resumed {
            by,
            reason,
            note
        }),
        (text(), text()).prop_map(|(by, reason)| InterruptionEvent::Stopped { by, reason }),
        Just(InterruptionEvent::StopEnded),
    ]
}

/// Everything that may be said outside of a run.
fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        cluster_event().prop_map(What::Cluster),
        commit_event().prop_map(What::Commit),
        text().prop_map(|id| What::Run(RunEvent::RollbackPoint { id })),
        text().prop_map(|pool| What::Run(RunEvent::Tainting { pool })),
        text().prop_map(|pool| What::Run(RunEvent::Untainted { pool })),
        vec(step_id(), 0..3).prop_map(|steps| What::Run(RunEvent::Next { steps })),
        (step_id(), step_event()).prop_map(|(id, event)| What::Step(id, event)),
        interruption().prop_map(What::Interruption),
    ]
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![any::<u32>().prop_map(Limit::Count), any::<u8>().prop_map(Limit::Percent)]
}

fn work() -> impl Strategy<Value = Work> {
    let provider = select(&[Provider::Kubeadm, Provider::External][..]);
    let node_move = (node(), text(), provider, version(), version(), any::<bool>(), any::<bool>()).prop_map(
        |(node, zone, provider, from, to, drain, canary)| NodeMove {
            node,
            zone,
            provider,
            from,
            to,
            drain,
            canary,
        },
    );
    let node_move = node_move.boxed();
    prop_oneof![
        node_move.clone().prop_map(Work::ControlPlane),
        node_move.prop_map(Work::Kubelet),
        (version(), version()).prop_map(|(from, to)| Work::AwaitControlPlane { from, to }),
        (version(), version(), option::of(text())).prop_map(|(from, to, version)| {
            let of = InstalledAddon::KubeProxy;
            let (workload, container) = (of.workload(), of.name().to_owned());
            Work::Check(InstalledCheck { workload, container, from, to, version })
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let component = select(&[Component::ControlPlane, Component::Kubelet][..]);
    let fact = prop_oneof![
        (component, text(), version())
            .prop_map(|(component, node, version)| Fact::RunsAtLeast(component, node, version)),
        version().prop_map(Fact::ControlPlaneAtLeast),
        text().prop_map(Fact::Ready),
        node().prop_map(Fact::Exists),
    ];
    (scope(), work(), vec(fact, 0..4)).prop_map(|(scope, work, facts)| {
        let (expects, achieves) = facts.split_at(facts.len() / 2);
        Step::new(scope, work, expects.to_vec(), achieves.to_vec())
    })
}

fn limits() -> impl Strategy<Value = PoolLimits> {
    let cordon = select(&[ForeignCordon::Skip, ForeignCordon::Upgrade][..]);
    let when = select(&[DrainWhen::Always, DrainWhen::Minor][..]);
    let then = select(&[OnNotRecovered::Wait, OnNotRecovered::Halt, OnNotRecovered::Continue][..]);
    let then = (then, select(&[OnBlocked::SetAside, OnBlocked::Surge][..]));
    let drain = (
        when,
        any::<i64>(),
        any::<bool>(),
        any::<i64>(),
        any::<bool>(),
        any::<i64>(),
        (limit(), any::<bool>()),
        then,
    )
        .prop_map(
            |(
                when,
                timeout_seconds,
                delete_empty_dir_data,
                jobs_seconds,
                implicit_budgets,
                recovery_seconds,
                (max_recovering, ahead),
                (on_not_recovered, on_blocked),
            )| DrainLimits {
                when,
                timeout_seconds,
                delete_empty_dir_data,
                jobs_seconds,
                implicit_budgets,
                recovery_seconds,
                max_recovering,
                ahead,
                on_not_recovered,
                on_blocked,
            },
        );
    let canary = (any::<u32>(), any::<i64>());
    (limit(), option::of(any::<u32>()), canary, cordon, any::<bool>(), drain).prop_map(
        |(max_unavailable, max_unavailable_per_zone, canary, foreign_cordon, prefer_upgraded, drain)| {
            let (canary, soak_seconds) = canary;
            PoolLimits {
                max_unavailable,
                max_unavailable_per_zone,
                canary,
                soak_seconds,
                foreign_cordon,
                prefer_upgraded,
                drain,
            }
        },
    )
}

fn plan() -> impl Strategy<Value = Plan> {
    let kinds = [
        StageKind::AwaitControlPlane,
        StageKind::ControlPlane,
        StageKind::ControlPlaneKubelets,
        StageKind::Checks,
        StageKind::Workers,
    ];
    let stage = (select(kinds.to_vec()), 0_usize..4, version(), vec(step(), 0..4))
        .prop_map(|(kind, hop, to, steps)| Stage { kind, hop, to, steps });
    let hop = (version(), version()).prop_map(|(from, to)| Hop { from, to });
    let source = prop_oneof![Just(PackageSource::Packages), text().prop_map(PackageSource::Folder)];
    let phases = vec(select(SkippedPhase::ALL.to_vec()), 0..2);
    let kubeadm = (source, text(), vec(text(), 0..3), phases).prop_map(
        |(from, image, ignore_preflight_errors, skip_phases)| Kubeadm {
            from,
            image: Some(image),
            ignore_preflight_errors,
            skip_phases,
        },
    );
    let head = (text(), text(), version(), version(), text(), text(), kubeadm);
    let body = (vec(hop, 0..3), vec(stage, 0..4), btree_map(text(), limits(), 0..3), option::of(limit()));
    (head, body, vec(reason(), 0..3), vec(reason(), 0..3)).prop_map(|(head, body, risks, blockers)| {
        let (cluster, commit, from, to, digest, asked, kubeadm) = head;
        let (hops, stages, pools, max_unavailable) = body;
        let commit = CommitId(commit);
        Plan {
            lower_bound: None,
            cluster,
            commit,
            from,
            to,
            hops,
            stages,
            pools,
            max_unavailable,
            kubeadm,
            risks,
            blockers,
            digest,
            asked,
        }
    })
}

fn branch(entries: &[Entry], plan: Option<&Plan>) -> (record::Record, BTreeMap<String, String>) {
    let mut after = record::Record::default();
    let ended = record::advance(&mut after, entries, plan);
    let files = record::files(CLUSTER, entries, &after, plan, ended.as_ref()).unwrap();
    let text = |(path, bytes)| (path, String::from_utf8(bytes).unwrap());
    (after, files.into_iter().map(text).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn entries_come_back(what in what(), at in moment(), epoch in any::<u64>()) {
        let entry = Entry { seq: 0, at, run: None, epoch, what };
        let (_, files) = branch(std::slice::from_ref(&entry), None);
        let read: Vec<Entry> = record::journal(CLUSTER, &files).unwrap();
        prop_assert_eq!(&read, std::slice::from_ref(&entry));
        prop_assert!(!record::sentence(&entry).contains('\n'));
        let (again, message) = (branch(&read, None).1, record::message(CLUSTER, &read, &record::Record::default()));
        prop_assert_eq!(again, files);
        prop_assert!(!message.contains(ESCAPE));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plans_come_back(plan in plan(), at in moment()) {
        let started = What::Run(RunEvent::Started {
            commit: plan.commit.clone(),
            from: plan.from.clone(),
            to: plan.to.clone(),
            digest: plan.digest.clone(),
            nodes: 1, why: None,
        });
        let point = What::Run(RunEvent::RollbackPoint { id: "r-1".into() });
        let ended = What::Run(RunEvent::Ended { outcome: RunOutcome::Converged, reasons: plan.risks.clone() });
        let entries: Vec<Entry> = [started, point, ended]
            .into_iter()
            .zip(0..)
            .map(|(what, seq)| Entry { seq, at, run: Some("r-1".into()), epoch: 1, what })
            .collect();
        let (after, files) = branch(&entries[..2], Some(&plan));
        prop_assert_eq!(record::read(CLUSTER, &files).unwrap(), after.clone());
        prop_assert_eq!(&after.run.as_ref().unwrap().plan, &plan);
        let status = record::status(CLUSTER, &after);
        prop_assert_eq!(record::read_status(&files[&format!("{CLUSTER}/status.yaml")]).unwrap(), status);
        let (after, files) = branch(&entries, Some(&plan));
        prop_assert_eq!(record::read(CLUSTER, &files).unwrap(), after);
    }
}
