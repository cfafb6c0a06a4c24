//! Whatever a text may be, entries and plans come back from their files exactly as they were.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use windlass::model::CommitId;
use windlass::model::decision::{Answer, Gate, Key, Reason, Verdict};
use windlass::model::desired::{DrainWhen, ForeignCordon, Kubeadm, Limit, PackageSource, Provider};
use windlass::model::entry::{Baseline, Entry, RunOutcome, StepPhase, What};
use windlass::model::plan::{Component, DrainLimits, Fact, Hop, Plan, PoolLimits, Stage, StageKind, Step};
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

fn what() -> impl Strategy<Value = What> {
    let commit = || text().prop_map(CommitId);
    let reasons = || vec(reason(), 0..4);
    let baseline =
        btree_map(text(), (text(), any::<u32>()).prop_map(|(name, ready)| Baseline { name, ready }), 0..4);
    let phases = [StepPhase::Started, StepPhase::Claimed, StepPhase::Drained, StepPhase::Returned];
    let outcomes =
        [RunOutcome::Converged, RunOutcome::Incomplete, RunOutcome::Superseded, RunOutcome::Cancelled];
    prop_oneof![
        text().prop_map(|uid| What::ClusterMet { uid }),
        (commit(), version()).prop_map(|(commit, version)| What::Accepted { commit, version }),
        (commit(), vec(text(), 0..4)).prop_map(|(commit, problems)| What::Refused { commit, problems }),
        vec(answer(), 0..4).prop_map(|answers| What::Waiting { answers }),
        text().prop_map(|id| What::RollbackPoint { id }),
        (text(), text(), text(), any::<u32>(), baseline).prop_map(
            |(step, node, node_uid, pods, baseline)| {
                What::StepStarted { step, node, node_uid, pods, baseline }
            }
        ),
        (text(), text(), select(phases.to_vec())).prop_map(|(step, node, phase)| What::StepMoved {
            step,
            node,
            phase
        }),
        (text(), text(), version(), any::<u32>()).prop_map(|(step, node, version, evicted)| What::StepDone {
            step,
            node,
            version,
            evicted
        }),
        (text(), text(), any::<bool>(), reasons())
            .prop_map(|(step, node, touched, reasons)| What::StepSetAside { step, node, touched, reasons }),
        (text(), text(), reasons()).prop_map(|(step, node, reasons)| What::StepFailed {
            step,
            node,
            reasons
        }),
        (text(), text()).prop_map(|(step, node)| What::StepGone { step, node }),
        reasons().prop_map(|reasons| What::Halted { reasons }),
        (text(), text(), option::of(text())).prop_map(|(by, reason, note)| What::Resumed {
            by,
            reason,
            note
        }),
        (text(), text()).prop_map(|(by, reason)| What::Stopped { by, reason }),
        Just(What::StopEnded),
        (select(outcomes.to_vec()), reasons())
            .prop_map(|(outcome, reasons)| What::RunEnded { outcome, reasons }),
    ]
}

fn limit() -> impl Strategy<Value = Limit> {
    prop_oneof![any::<u32>().prop_map(Limit::Count), any::<u8>().prop_map(Limit::Percent)]
}

fn step() -> impl Strategy<Value = Step> {
    let component = || select(&[Component::Servers, Component::Kubelet][..]);
    let provider = select(&[Provider::Kubeadm, Provider::External][..]);
    let fact = prop_oneof![
        (component(), text(), version())
            .prop_map(|(component, node, version)| Fact::Runs(component, node, version)),
        version().prop_map(Fact::ServersAtLeast),
        text().prop_map(Fact::Ready),
        (text(), text()).prop_map(|(node, uid)| Fact::Exists(node, uid)),
    ];
    let names = (text(), text(), text(), text(), text());
    let rest = (component(), provider, version(), version(), any::<bool>(), any::<bool>());
    (names, rest, vec(fact, 0..4)).prop_map(|((id, pool, node, node_uid, zone), rest, facts)| {
        let (component, provider, from, to, drain, canary) = rest;
        let (expects, achieves) = facts.split_at(facts.len() / 2);
        let (expects, achieves) = (expects.to_vec(), achieves.to_vec());
        Step {
            id,
            pool,
            node,
            node_uid,
            zone,
            component,
            provider,
            from,
            to,
            drain,
            canary,
            expects,
            achieves,
        }
    })
}

fn limits() -> impl Strategy<Value = PoolLimits> {
    let cordon = select(&[ForeignCordon::Skip, ForeignCordon::Upgrade][..]);
    let when = select(&[DrainWhen::Always, DrainWhen::Minor][..]);
    let drain = (when, any::<i64>(), any::<bool>(), any::<i64>(), any::<bool>()).prop_map(
        |(when, timeout_seconds, delete_empty_dir_data, jobs_seconds, implicit_budgets)| DrainLimits {
            when,
            timeout_seconds,
            delete_empty_dir_data,
            jobs_seconds,
            implicit_budgets,
        },
    );
    (limit(), option::of(any::<u32>()), any::<u32>(), any::<i64>(), cordon, drain).prop_map(
        |(max_unavailable, max_unavailable_per_zone, canary, soak_seconds, foreign_cordon, drain)| {
            PoolLimits {
                max_unavailable,
                max_unavailable_per_zone,
                canary,
                soak_seconds,
                foreign_cordon,
                drain,
            }
        },
    )
}

fn plan() -> impl Strategy<Value = Plan> {
    let kinds =
        [StageKind::AwaitServers, StageKind::Servers, StageKind::ControlPlaneKubelets, StageKind::Workers];
    let stage = (select(kinds.to_vec()), 0_usize..4, version(), vec(step(), 0..4))
        .prop_map(|(kind, hop, to, steps)| Stage { kind, hop, to, steps });
    let hop = (version(), version()).prop_map(|(from, to)| Hop { from, to });
    let source = prop_oneof![Just(PackageSource::Packages), text().prop_map(PackageSource::Folder)];
    let kubeadm = (source, text(), vec(text(), 0..3))
        .prop_map(|(from, image, ignore_preflight_errors)| Kubeadm { from, image, ignore_preflight_errors });
    let head = (text(), text(), version(), version(), text(), text(), kubeadm);
    let body = (vec(hop, 0..3), vec(stage, 0..4), btree_map(text(), limits(), 0..3), option::of(limit()));
    (head, body, vec(reason(), 0..3), vec(reason(), 0..3)).prop_map(|(head, body, risks, blockers)| {
        let (cluster, commit, from, to, digest, asked, kubeadm) = head;
        let (hops, stages, pools, max_unavailable) = body;
        let commit = CommitId(commit);
        Plan {
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
        let outside = !matches!(what, What::RunEnded { .. });
        prop_assume!(outside);
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
        let started = What::RunStarted {
            commit: plan.commit.clone(),
            from: plan.from.clone(),
            to: plan.to.clone(),
            digest: plan.digest.clone(),
            nodes: 1,
        };
        let point = What::RollbackPoint { id: "r-1".into() };
        let ended = What::RunEnded { outcome: RunOutcome::Converged, reasons: plan.risks.clone() };
        let entries: Vec<Entry> = [started, point, ended]
            .into_iter()
            .zip(0..)
            .map(|(what, seq)| Entry { seq, at, run: Some("r-1".into()), epoch: 1, what })
            .collect();
        let (after, files) = branch(&entries[..2], Some(&plan));
        prop_assert_eq!(record::read(CLUSTER, &files).unwrap(), after.clone());
        prop_assert_eq!(&after.run.as_ref().unwrap().plan, &plan);
        let status = record::status(CLUSTER, &after);
        prop_assert_eq!(record::read_status(&record::status_yaml(&status).unwrap()).unwrap(), status);
        let (after, files) = branch(&entries, Some(&plan));
        prop_assert_eq!(record::read(CLUSTER, &files).unwrap(), after);
    }
}
