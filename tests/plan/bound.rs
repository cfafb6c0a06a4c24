//! The least time of a plan, against the best of all orders in a small model of drains: pods that end and start again by the
//! second, budgets, and so many nodes out at once.

use jiff::SignedDuration;
use proptest::prelude::*;
use windlass::model::live::Live;
use windlass::model::plan::LowerBound;
use windlass::plan::plan;
use windlass::verify::bound::lower_bound;

use crate::plan::case::{add_node, desired, pool};
use crate::worlds::{add_pod, budget};

/// The proof of a node, in seconds.
const PROOF: usize = 10;
/// The same with some work before it.
const WORK: usize = 25;

#[derive(Clone, Debug)]
struct Small {
    /// For each node the app of each of its pods.
    nodes: Vec<Vec<usize>>,
    apps: Vec<App>,
    at_once: usize,
    /// From a node being empty to its being back in service, in seconds.
    on_node: usize,
}

#[derive(Clone, Copy, Debug)]
struct App {
    grace: usize,
    ready: usize,
    at_once: usize,
    /// `deployment`, which makes the next pod at the eviction, or `statefulset`, which makes it when the old one is gone.
    kind: &'static str,
}

impl App {
    fn away(self) -> usize {
        if self.kind == "deployment" { self.ready } else { self.grace + self.ready }
    }
}

impl Small {
    fn bound(&self) -> LowerBound {
        let mut live = Live::default();
        add_node(&mut live, "cp1", "control-plane v1.36.3");
        let mut pods = vec![0; self.apps.len()];
        for (node, apps) in self.nodes.iter().enumerate() {
            add_node(&mut live, &format!("w{node}"), "pool=w v1.35.4");
            for app in apps {
                pods[*app] += 1;
                let App { grace, ready, kind, .. } = self.apps[*app];
                let words = format!("w{node} {kind}/app{app} app=a{app} grace:{grace} ready:{ready}");
                add_pod(&mut live, "shop", &format!("app{app}-{}", pods[*app]), &words);
            }
        }
        for (app, of) in self.apps.iter().enumerate() {
            let mut budget = budget(&format!("app=a{app}"));
            (budget.expected, budget.desired_healthy) =
                (pods[app], pods[app] - i32::try_from(of.at_once).unwrap());
            live.budgets.insert(("shop".into(), format!("app{app}").as_str().into()), budget);
        }
        live.complete = true;
        let mut pool = pool("w", "pool=w");
        pool.max_unavailable = windlass::model::desired::Limit::Count(self.at_once.try_into().unwrap());
        let desired = desired("v1.36.3".parse().unwrap(), vec![pool]);
        let on_node = SignedDuration::from_secs(self.on_node.try_into().unwrap());
        lower_bound(&plan(&desired, &live), &live, on_node).unwrap()
    }

    /// The shortest of all orders in which the nodes may begin.
    fn best(&self) -> usize {
        let mut orders = Vec::new();
        permutations(&mut (0..self.nodes.len()).collect(), 0, &mut orders);
        orders.iter().map(|order| self.length(order)).min().unwrap()
    }

    fn length(&self, order: &[usize]) -> usize {
        // When each evicted pod of an app is Ready again; and of each node that began its pods that are left, and when it is empty.
        let mut away: Vec<Vec<usize>> = vec![Vec::new(); self.apps.len()];
        let mut begun: Vec<(Vec<usize>, usize)> = Vec::new();
        let mut next = order.iter();
        let mut now = 0;
        loop {
            let out =
                begun.iter().filter(|(left, empty)| !left.is_empty() || empty + self.on_node > now).count();
            for node in next.by_ref().take(self.at_once - out) {
                begun.push((self.nodes[*node].clone(), now));
            }
            for (left, empty) in &mut begun {
                left.retain(|app| {
                    let of = self.apps[*app];
                    away[*app].retain(|back| *back > now);
                    if away[*app].len() >= of.at_once {
                        return true;
                    }
                    away[*app].push(now + of.away());
                    *empty = (*empty).max(now + of.grace);
                    false
                });
            }
            let last = begun
                .iter()
                .map(|(left, empty)| if left.is_empty() { empty + self.on_node } else { usize::MAX })
                .max();
            if begun.len() == order.len() && last != Some(usize::MAX) {
                return last.unwrap();
            }
            now += 1;
        }
    }
}

fn permutations(of: &mut Vec<usize>, from: usize, found: &mut Vec<Vec<usize>>) {
    if from == of.len() {
        found.push(of.clone());
    }
    for other in from..of.len() {
        of.swap(from, other);
        permutations(of, from + 1, found);
        of.swap(from, other);
    }
}

fn small() -> impl Strategy<Value = Small> {
    let kind = prop::sample::select(&["deployment", "statefulset"][..]);
    let app = (1_usize..5, 1_usize..6, 1_usize..3, kind).prop_map(|(grace, ready, at_once, kind)| App {
        grace,
        ready,
        at_once,
        kind,
    });
    let apps = prop::collection::vec(app, 1..3);
    apps.prop_flat_map(|apps| {
        let pods = prop::collection::vec(0..apps.len(), 1..4);
        let on_node = prop::sample::select(&[PROOF, WORK][..]);
        let parts = (prop::collection::vec(pods, 1..5), Just(apps), 1_usize..4, on_node);
        parts.prop_map(|(nodes, apps, at_once, on_node)| Small { nodes, apps, at_once, on_node })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_is_faster_than_the_bound(small in small()) {
        let (bound, best) = (small.bound(), small.best());
        prop_assert!(usize::try_from(bound.seconds).unwrap() <= best, "{bound:?} is above {best}");
    }
}

#[test]
fn what_sets_the_bound_is_named() {
    let app = App { grace: 2, ready: 8, at_once: 1, kind: "statefulset" };
    let replaced = App { kind: "deployment", ..app };
    let at_once = Small { nodes: vec![vec![0]; 4], apps: vec![replaced], at_once: 4, on_node: PROOF };
    let one_budget = Small { nodes: vec![vec![0]; 4], apps: vec![app], at_once: 4, on_node: PROOF };
    let slots = Small {
        nodes: vec![vec![0], vec![1], vec![0], vec![1]],
        apps: vec![App { at_once: 2, ..app }; 2],
        at_once: 1,
        on_node: PROOF,
    };
    let worked = Small { on_node: WORK, ..slots.clone() };
    let one_node = Small {
        nodes: vec![vec![0], vec![0]],
        apps: vec![App { grace: 4, ready: 1, at_once: 2, ..app }],
        at_once: 2,
        on_node: PROOF,
    };
    for (small, seconds, object, text) in [
        // Three pods are away for ten seconds each, one after the other; the last one ends, and its node is proven.
        (one_budget, 42, "budget/shop/app0", "it lets 1 of 4 pods go at a time"),
        // The next pod starts while the old one ends.
        (at_once, 36, "budget/shop/app0", "it lets 1 of 4 pods go at a time"),
        (slots, 48, "pool/w", "at most 1 of its 4 nodes may be out at once"),
        (worked, 108, "pool/w", "at most 1 of its 4 nodes may be out at once"),
        (one_node, 14, "pool/w", "at most 2 of its 2 nodes may be out at once"),
    ] {
        let bound = small.bound();
        assert_eq!((bound.seconds, &*bound.object, &*bound.text), (seconds, object, text));
        assert_eq!(usize::try_from(seconds).unwrap(), small.best(), "the best order reaches it");
    }
}
