//! Whether what a complete rollout has left behind is well: containers that end and start again, and nodes that have lost their
//! network.

use jiff::SignedDuration;

use super::hand::Hand;
use crate::model::addon::WorkloadRead;
use crate::model::live::Pod;
use crate::model::text::second;
use crate::model::time::later;

/// How long the containers of an addon have to run after one of them was started again.
const QUIET: SignedDuration = SignedDuration::from_mins(1);

/// Why workloads whose rollouts are complete do not count as well.
pub(super) fn unsettled<'a>(
    hand: &Hand<'_>,
    workloads: impl IntoIterator<Item = &'a WorkloadRead>,
) -> Option<String> {
    workloads.into_iter().find_map(|read| restarted(hand, read).or_else(|| without_network(hand, read)))
}

/// A container that has ended since the step began, and that was started again a moment ago.
fn restarted(hand: &Hand<'_>, read: &WorkloadRead) -> Option<String> {
    let began = hand.progress.started()?;
    let uid = read.uid.as_str().into();
    let pods = hand.live.pods_under(&uid).filter(|pod: &&Pod| pod.deleting.is_none());
    let restarts = pods.filter_map(|pod| Some((pod, pod.restarted()?)));
    let recent = restarts.filter(|(_, at)| *at >= began && later(*at, QUIET) > hand.now);
    let (pod, at) = recent.max_by_key(|(_, at)| *at)?;
    Some(format!("a container of {} ended, and was started again at {}", pod.object(), second(at)))
}

/// A node with a pod of a network plugin, or of another `DaemonSet` that nodes need, which has lost its network since the step began.
fn without_network(hand: &Hand<'_>, read: &WorkloadRead) -> Option<String> {
    hand.live.workloads.get(read.uid.as_str()).filter(|workload| workload.essential)?;
    let began = hand.progress.started()?;
    let uid = read.uid.as_str().into();
    let names = hand.live.pods_under(&uid).filter_map(|pod| pod.node.as_ref());
    // A new node has none until its first pods run.
    let mut nodes = names.filter_map(|name| hand.live.nodes.get(name)).filter(|node| node.joined < began);
    let node = nodes.find(|node| node.network_unavailable.is_some_and(|since| since >= began))?;
    Some(format!("node/{} has lost its network since the step began (NetworkUnavailable)", node.name))
}
