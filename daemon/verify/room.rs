//! Whether a pod that leaves its node has somewhere to go: what pods ask for, against what nodes have left. Selectors,
//! affinity and taints of others are the scheduler's; a pod that fits nowhere stays where it is.

use crate::model::live::{Allocatable, Live, Node, Pod, Requests};

/// What some nodes have left.
#[derive(Clone, Debug, Default)]
pub struct Room {
    left: Vec<Allocatable>,
}

impl Room {
    pub fn of<'a>(live: &Live, nodes: impl Iterator<Item = &'a Node>) -> Self {
        let left = |node: &Node| {
            let pods = live.pods_on(&node.name).filter(|pod| !pod.finished());
            pods.fold(node.allocatable, |left, pod| left.beside(pod.requests))
        };
        Self { left: nodes.map(left).collect() }
    }

    /// Keeps room for a pod on the first node on which it fits; false if it fits on none.
    pub fn take(&mut self, pod: &Pod) -> bool {
        self.take_for(pod.requests)
    }

    fn take_for(&mut self, requests: Requests) -> bool {
        for left in &mut self.left {
            if let Some(without) = left.without(requests) {
                *left = without;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_goes_where_it_fits_and_nowhere_else() {
        let node = |cpu| Allocatable { cpu, memory: 100, pods: 2 };
        let mut room = Room { left: vec![node(50), node(100)] };
        for (asks, fits) in
            [(60, true), (60, false), (40, true), (40, true), (20, false), (0, true), (0, false)]
        {
            assert_eq!(room.take_for(Requests { cpu: asks, memory: 10 }), fits, "{asks}: {room:?}");
        }
    }
}
