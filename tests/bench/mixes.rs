//! Workloads of a large cluster as data: owners of many sizes, their budgets, how long their pods take to be Ready, and on
//! which nodes they are. Everything comes from a fixed seed.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use windlass::verify::bound::PROOF;

pub const PODS_PER_NODE: usize = 30;
/// How many pods fit on a node.
pub const ROOM: usize = 60;
/// How many seconds a pod takes to end.
const GRACE: i64 = 5;
/// The median time that a pod takes to be Ready, in seconds, and the spread of its logarithm: one of ten takes 84 s.
const READY: (f64, f64) = (30.0, 0.8);
/// Nobody lets pods of an owner go one by one where it has more of them than this.
const MOST_ONE_BY_ONE: usize = 50;

#[derive(Clone, Copy, Debug)]
pub struct Mix {
    pub name: &'static str,
    owners: Owners,
    pub on_node: OnNode,
}

#[derive(Clone, Copy, Debug)]
enum Owners {
    /// Of many sizes, drawn. In percent of the owners: budgets of one pod, of 25 % and of 10 %, and no budget.
    Drawn([u64; 4]),
    /// Those of `tests/real/bench.sh`, with 20 pods for each node.
    Real,
}

/// The parts of the work on a node before its proof: the Job, the kubelet that is away, and the kubelet that is not Ready yet.
#[derive(Clone, Copy, Debug)]
pub struct OnNode {
    pub job: SignedDuration,
    pub restart: SignedDuration,
    pub not_ready: SignedDuration,
}

const SLOW: OnNode = OnNode {
    job: SignedDuration::from_secs(100),
    restart: SignedDuration::from_secs(8),
    not_ready: SignedDuration::from_secs(2),
};

/// A node of KWOK only reports another version.
const AT_ONCE: OnNode = OnNode {
    job: SignedDuration::from_millis(4_300),
    restart: SignedDuration::from_millis(100),
    not_ready: SignedDuration::ZERO,
};

/// The budgets of some owners take longer than all slots together.
pub const PDB_BOUND: Mix = Mix { name: "PDB-bound", owners: Owners::Drawn([20, 55, 20, 5]), on_node: SLOW };
/// No owner lets one pod go at a time, unless it is small.
pub const SLOT_BOUND: Mix = Mix { name: "slot-bound", owners: Owners::Drawn([0, 69, 25, 6]), on_node: SLOW };
/// That of the benchmark on a real API server.
pub const REAL: Mix = Mix { name: "real", owners: Owners::Real, on_node: AT_ONCE };

#[derive(Clone, Debug)]
pub struct App {
    pub name: String,
    pub replicas: usize,
    /// `maxUnavailable` of its budget.
    pub budget: Option<Value>,
    pub ready_seconds: i64,
    pub grace_seconds: i64,
    /// The node of each pod at the start, by number.
    pub placed: Vec<usize>,
}

/// splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = self.0;
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

impl OnNode {
    /// From a node being empty to its being back in service.
    pub fn with_proof(&self) -> SignedDuration {
        self.job + self.restart + self.not_ready + PROOF
    }
}

impl Mix {
    /// All owners, with their pods spread over the nodes.
    pub fn apps(&self, nodes: usize) -> Vec<App> {
        match self.owners {
            Owners::Drawn(classes) => drawn(classes, nodes),
            Owners::Real => real(nodes),
        }
    }
}

/// Owners with 30 pods for each node together, of two pods to a fifth of the nodes (Zipf).
fn drawn(classes: [u64; 4], nodes: usize) -> Vec<App> {
    let mut random = Random(nodes as u64);
    let (mut apps, mut left) = (Vec::new(), nodes * PODS_PER_NODE);
    let mut deal = Deal { nodes, left: Vec::new() };
    while left > 0 {
        let replicas = zipf(&mut random, nodes / 5).min(left);
        let budget = budget(classes, &mut random, replicas);
        let ready_seconds = ready_seconds(&mut random);
        let placed = (0..replicas).map(|_| deal.next(&mut random)).collect();
        left -= replicas;
        apps.push(App {
            name: format!("app-{:05}", apps.len()),
            replicas,
            budget,
            ready_seconds,
            grace_seconds: GRACE,
            placed,
        });
    }
    apps
}

/// Owners that are alike. The times of each are its number times the first value, modulo the second.
struct Sort {
    name: &'static str,
    count: usize,
    replicas: usize,
    ready: (i64, i64),
    grace: (i64, i64),
    budget: Option<Value>,
}

/// Of 600 pods 120 are of owners with a budget of one, 400 of owners with a budget of 20 %, and 80 of owners without a budget.
fn real(nodes: usize) -> Vec<App> {
    let mut random = Random(nodes as u64);
    let mut deal = Deal { nodes, left: Vec::new() };
    let share = nodes * 20 / 100;
    let sorts = [
        Sort {
            name: "one",
            count: share * 20 / 15,
            replicas: 15,
            ready: (5, 11),
            grace: (1, 2),
            budget: Some(json!(1)),
        },
        Sort {
            name: "fifth",
            count: share * 66 / 20,
            replicas: 20,
            ready: (7, 19),
            grace: (3, 7),
            budget: Some(json!("20%")),
        },
        Sort {
            name: "free",
            count: share * 14 / 10,
            replicas: 10,
            ready: (7, 19),
            grace: (3, 7),
            budget: None,
        },
    ];
    let mut apps = Vec::new();
    for Sort { name, count, replicas, ready, grace, budget } in sorts {
        for (number, place) in (1..=count).zip(1_i64..) {
            apps.push(App {
                name: format!("{name}-{number}"),
                replicas,
                budget: budget.clone(),
                ready_seconds: 2 + place * ready.0 % ready.1,
                grace_seconds: 1 + place * grace.0 % grace.1,
                placed: (0..replicas).map(|_| deal.next(&mut random)).collect(),
            });
        }
    }
    apps
}

fn budget(classes: [u64; 4], random: &mut Random, replicas: usize) -> Option<Value> {
    let mut draw = random.next() % 100;
    let class = classes.iter().position(|share| {
        let hit = draw < *share;
        draw = draw.saturating_sub(*share);
        hit
    });
    match class.unwrap_or(1) {
        0 if replicas <= MOST_ONE_BY_ONE => Some(json!(1)),
        0 | 1 => Some(json!("25%")),
        2 => Some(json!("10%")),
        _ => None,
    }
}

/// A size `s` as often as `1 / s`.
fn zipf(random: &mut Random, most: usize) -> usize {
    let weight = |size: usize| 1.0 / f64::from(u32::try_from(size).unwrap());
    let all: f64 = (2..=most).map(weight).sum();
    let mut draw = random.unit() * all;
    (2..most)
        .find(|size| {
            draw -= weight(*size);
            draw < 0.0
        })
        .unwrap_or(most)
}

#[expect(clippy::cast_possible_truncation, reason = "a few minutes")]
fn ready_seconds(random: &mut Random) -> i64 {
    let (median, spread) = READY;
    (median * (spread * random.normal()).exp()).round().max(1.0) as i64
}

/// Deals every node once before any of them again, in a new order each time.
struct Deal {
    nodes: usize,
    left: Vec<usize>,
}

impl Deal {
    fn next(&mut self, random: &mut Random) -> usize {
        if self.left.is_empty() {
            self.left = (0..self.nodes).collect();
            for place in (1..self.nodes).rev() {
                self.left.swap(place, random.below(place + 1));
            }
        }
        self.left.pop().unwrap()
    }
}

impl App {
    pub fn uid(&self) -> String {
        format!("uid-{}", self.name)
    }

    pub fn replica_set(&self) -> Value {
        let labels = json!({"app": self.name});
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": self.name, "namespace": "default", "uid": self.uid(), "generation": 1, "labels": labels},
            "spec": {"replicas": self.replicas, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels, "annotations": {"sim/start-seconds": self.ready_seconds.to_string()}},
                "spec": {"terminationGracePeriodSeconds": self.grace_seconds,
                    "containers": [{"name": "app", "image": "app:1"}]}}},
            "status": {"replicas": self.replicas}})
    }

    pub fn disruption_budget(&self) -> Option<Value> {
        let limit = self.budget.as_ref()?;
        let (all, desired) = (self.replicas, self.desired());
        Some(json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": self.name, "namespace": "default", "uid": format!("uid-of-budget-{}", self.name), "generation": 1},
            "spec": {"maxUnavailable": limit, "selector": {"matchLabels": {"app": self.name}}},
            "status": {"observedGeneration": 1, "expectedPods": all, "currentHealthy": all, "desiredHealthy": desired,
                "disruptionsAllowed": all - desired}}))
    }

    /// How many of its pods the budget demands: parts of a percentage count as one more that may go.
    pub fn desired(&self) -> usize {
        let away = match &self.budget {
            None => self.replicas,
            Some(Value::String(share)) => {
                let percent: usize = share.trim_end_matches('%').parse().unwrap();
                (percent * self.replicas).div_ceil(100)
            }
            Some(count) => usize::try_from(count.as_u64().unwrap()).unwrap(),
        };
        self.replicas - away
    }

    /// One of its pods as it was at the start: it has run for a day.
    pub fn pod(&self, number: usize, node: &str, now: Timestamp) -> Value {
        let created = now - SignedDuration::from_hours(24);
        let ready = (created + SignedDuration::from_secs(self.ready_seconds)).to_string();
        let status = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": ready});
        let template = self.replica_set()["spec"]["template"].clone();
        let mut spec = template["spec"].clone();
        spec["nodeName"] = json!(node);
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("{}-{number:05}", self.name), "namespace": "default",
                "uid": format!("uid-{}-{number:05}", self.name), "creationTimestamp": created.to_string(),
                "labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"],
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": self.name, "uid": self.uid(),
                    "controller": true}]},
            "spec": spec,
            "status": {"phase": "Running", "conditions": [status("PodScheduled"), status("ContainersReady"), status("Ready")],
                "containerStatuses": [{"name": "app", "image": "app:1", "imageID": "", "ready": true, "restartCount": 0,
                    "state": {"running": {"startedAt": ready}}}]}})
    }
}
