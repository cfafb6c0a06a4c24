//! The short form of a case of one pass. The words of `live` are those of [`worlds`](crate::worlds), and these:
//!
//! * of a node: `was:v1.35.4`, the version at which its run found it, and `wasPool:general`, its pool; `gone`, `new` and `replaced` since then;
//!   `claimed` by its step, `claimed:older`, `claimed:later`, `claimed:garbage`, `claimed:gone-run`,
//!   `claimed:before`, by the run before; on the claim `uncordoned`, `wasCordoned`, `blocked:35m`, `reported:20s`;
//!   `unread`, not read from etcd right before; `heartbeat:new` or `heartbeat:same`; `readyFor:5s`, `kubeletFor:5s`, `networkDown`; of a control plane node
//!   `startedFor:5s`, its newest component, and `etcdDown`; `job:running:10m` (`waiting`,
//!   `complete`, `failed`, `failed:refused`, `failed:broken`);
//! * of an addon's workload: `was:` with a container and the image that its run found;
//! * of a pod: `gone` and `new` as for a node, `created:3m`, `going`, `stuck`, `late`, `unready`, `pending`,
//!   `volume:data`, `sharedVolume:data`, `essential`, of its Deployment `moving:5m`, by the step of its node, `moving:5m:w2`, by that of w2,
//!   `over`, `timedOut` and `takenBack` of that rollout; `evicted`, `evicting`, `refused:budget` (`busy`, `webhook`, `several`, `unclear`).
//!
//! The run is the plan for what there was when it started; of each step that was begun it says how far it came and
//! when: `claimed 5m`, `done 1h`, `done owes 1h`, `setAside drainTimedOut 20m`, `failed jobFailed 10m`, each after the other where a
//! step was begun again. Ages are `30s`, `5m`, `2h`, `1d`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use windlass::model::version::Version;

use crate::worlds::{Sight, Wish, is_version};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Case {
    /// What the case is about.
    pub about: String,
    /// Wednesday, ten in the evening, where it does not say so.
    #[serde(default = "now")]
    pub now: Timestamp,
    pub desired: Wish,
    /// `spec.mode: observe`.
    #[serde(default)]
    pub observe: bool,
    /// By name: `always`; `open:2h`, which closes then; `closed:30m`, since then; with `finishBatch` or `runOn`, and
    /// `hardLimit:1h`. Without any, one that is always open.
    #[serde(default = "always")]
    pub windows: BTreeMap<String, String>,
    /// By name: `until:3d`, and `except:patch`.
    #[serde(default)]
    pub freezes: BTreeMap<String, String>,
    /// `broken`; `rewritten`; or `unproven`, which is rewritten for a process that has the commit in force from the record
    /// alone.
    #[serde(default)]
    pub newest: Option<String>,
    pub live: Sight,
    #[serde(default)]
    pub around: Around,
    /// The run in progress.
    #[serde(default)]
    pub run: Option<Sketch>,
    /// The run before it.
    #[serde(default)]
    pub before: Option<Sketch>,
    /// What else is on record: `unmet`, `unaccepted`, `refused`, `stopped 5m`, `halted jobFailed node/w1 10m`,
    /// `resumed 5m`, `tainting general 5m`, `ahead general 5m`, `waiting budgetBlocks budget/shop/cart 20s`.
    #[serde(default)]
    pub record: Vec<String>,
}

/// What there is beside nodes, pods and budgets.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Around {
    /// `ours` (the default), with its age as `ours:15s`; `theirs`, `silent`, `free`, `left`, `unseen`.
    pub lease: Option<String>,
    /// Since when `/readyz` has answered, `down`, or `unseen`.
    pub readyz: Option<String>,
    /// Ages of the notes by which a person stops and resumes.
    pub stop: Option<String>,
    pub resume: Option<String>,
    /// Attached volumes: the node.
    pub volumes: BTreeMap<String, String>,
    /// How long each wait has been there, by key and object.
    pub waits: BTreeMap<String, String>,
    /// How long each step has been looked at on its way back.
    pub watched: BTreeMap<String, String>,
    /// What was sent and has not answered.
    pub in_flight: Vec<String>,
    /// What failed, how often, and may be tried again in 5 s.
    pub backoff: BTreeMap<String, u32>,
    /// What failed because the daemon's user may not do it.
    pub backoff_right: Vec<String>,
    /// Another UID of kube-system than the record's.
    pub other_cluster: bool,
    pub twin: Option<String>,
    /// Kinds that cannot be listed.
    pub unseen: Vec<String>,
    /// Kinds that the daemon's user may not list.
    pub forbidden: Vec<String>,
    /// What the API endpoint says by now.
    pub api_now: Option<Version>,
    /// The record cannot be written.
    pub git_away: bool,
    /// The `ConfigMap` is `unread`, shows an `old` status, or was written when the stop was recorded: `stopped`.
    pub published: Option<String>,
}

/// A run, and how far its steps came.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Sketch {
    /// What was asked for when it started, where that is something else by now.
    pub version: Option<Version>,
    /// By node; `cp1/kubelet` for the kubelet of a control plane node, `cluster` for the wait for a hosted control
    /// plane; with `@v1.34.9` where the plan moves it more than once.
    pub steps: BTreeMap<String, String>,
    /// An older commit asked for it, for the same.
    pub older_commit: bool,
    /// Why its plan does not follow from its commit.
    pub doubt: Option<String>,
    /// How it ended.
    pub ended: Option<String>,
}

fn now() -> Timestamp {
    "2026-12-02T22:00:00Z".parse().unwrap()
}

fn always() -> BTreeMap<String, String> {
    BTreeMap::from([("always".to_owned(), "always".to_owned())])
}

impl Case {
    pub fn read(text: &str) -> Result<Self, serde_saphyr::Error> {
        serde_saphyr::from_str(text)
    }
}

/// `30s`, `5m`, `2h`, `1d`.
pub fn length(text: &str) -> SignedDuration {
    let (number, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => panic!("`{text}` is no length"),
    };
    let number: i64 = number.parse().unwrap_or_else(|_| panic!("`{text}` is no length"));
    SignedDuration::from_secs(number * seconds)
}

/// The node lines or pod lines of a world as a run found them, healthy, or as they are now.
pub fn lines(all: &BTreeMap<String, String>, then: bool) -> BTreeMap<String, String> {
    let line = |(name, words): (&String, &String)| {
        let words: Vec<&str> = words.split_whitespace().collect();
        if words.contains(&if then { "new" } else { "gone" }) {
            return None;
        }
        let was = words.iter().find_map(|word| word.strip_prefix("was:"));
        let pool =
            words.iter().find_map(|word| word.strip_prefix("wasPool:")).map(|pool| format!("pool={pool}"));
        let is_of_time = |word: &str| {
            matches!(word, "new" | "gone") || word.starts_with("was:") || word.starts_with("wasPool:")
        };
        let kept = words.iter().filter(|word| !is_of_time(word) && (!then || is_lasting(word)));
        let kept = kept.map(|word| match (was, &pool) {
            (Some(was), _) if then && is_version(word) => was,
            (Some(was), _) if then && was.contains('=') && word.contains('=') => was,
            (_, Some(pool)) if then && word.starts_with("pool=") => pool.as_str(),
            _ => *word,
        });
        Some((name.clone(), kept.collect::<Vec<_>>().join(" ")))
    };
    all.iter().filter_map(line).collect()
}

/// Whether a word says what an object is rather than how it is at present.
fn is_lasting(word: &str) -> bool {
    let passing = [
        "cordoned",
        "held",
        "notReady",
        "leaving",
        "uncordoned",
        "wasCordoned",
        "networkDown",
        "replaced",
        "etcdDown",
        "outdated",
        "rolling",
        "over",
        "timedOut",
        "takenBack",
    ];
    let of_pods = ["going", "stuck", "late", "unready", "pending", "evicted", "evicting"];
    let beginnings = [
        "claimed",
        "blocked:",
        "reported:",
        "heartbeat:",
        "readyFor:",
        "kubeletFor:",
        "job:",
        "oldJob:",
        "refused:",
        "startedFor:",
        "created:",
        "moving:",
    ];
    !passing.contains(&word)
        && !of_pods.contains(&word)
        && !beginnings.iter().any(|beginning| word.starts_with(beginning))
}
