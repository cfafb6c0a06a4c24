//! Of each step: that its name says what it does, that what it expects holds when its turn comes, and that what it
//! achieves holds once it is done. These facts are what the executor goes by.

use super::Check;
use crate::model::plan::{Component, Fact, NodeMove, Step, Truth, Work};
use crate::model::version::Version;

impl<'a> Check<'a> {
    /// The record knows a step by its name alone: one that follows from anything but its work would have one step taken
    /// for another.
    pub(super) fn identity(&mut self, step: &Step) {
        let node = step.work.node_move().map(|(_, mv)| &mv.node);
        let (_, to) = step.work.versions();
        let id = &step.id;
        let same = id.kind == step.work.kind() && id.node.as_ref() == node && id.to == to.to_string();
        self.require(same, step, "its name does not say what it does");
    }

    pub(super) fn expects(&mut self, step: &'a Step) {
        for fact in &step.expects {
            let holds = self.now.truth(fact, self.live) == Truth::Holds;
            self.require(holds, step, "expects what does not hold when its turn comes");
        }
        match &step.work {
            Work::ControlPlane(mv) => {
                self.expects_node(step, mv);
                // Otherwise this one would leave another behind by two minors, or be moved while another is away.
                self.expects_api_servers(step, |version| mv.to.minors_ahead_of(version) <= 1);
            }
            Work::Kubelet(mv) => {
                self.expects_node(step, mv);
                let certain = self.certain(&mv.to);
                self.expects_api_servers(step, |version| *version >= certain);
            }
            Work::AwaitControlPlane { .. } => {}
        }
    }

    fn expects_node(&mut self, step: &Step, mv: &NodeMove) {
        let exists = step.expects.contains(&Fact::Exists(mv.node.clone()));
        self.require(exists, step, "does not expect the very node it was made for");
        let ready = step.expects.contains(&Fact::Ready(mv.node.name.clone()));
        self.require(ready, step, "does not expect its node to be Ready");
    }

    fn expects_api_servers(&mut self, step: &Step, enough: impl Fn(&Version) -> bool) {
        let waits = step.expects.iter().any(|fact| match fact {
            Fact::ControlPlaneAtLeast(version) => enough(version),
            Fact::RunsAtLeast(..) | Fact::Ready(_) | Fact::Exists(_) => false,
        });
        self.require(waits, step, "does not expect the API servers to be there first");
    }

    /// To be asked once the step has been carried out on [`Check::now`].
    pub(super) fn achieves(&mut self, step: &'a Step) {
        let promised = match &step.work {
            Work::ControlPlane(mv) => self.achieves_node(step, mv, Component::ControlPlane),
            Work::Kubelet(mv) => self.achieves_node(step, mv, Component::Kubelet),
            Work::AwaitControlPlane { to, .. } => step.achieves.iter().any(|fact| match fact {
                Fact::ControlPlaneAtLeast(version) => *version >= self.certain(to),
                Fact::RunsAtLeast(..) | Fact::Ready(_) | Fact::Exists(_) => false,
            }),
        };
        self.require(promised, step, "does not end with its version running");
        for fact in &step.achieves {
            let holds = self.now.truth(fact, self.live) == Truth::Holds;
            self.require(holds, step, "would never end: it achieves what it does not bring about");
        }
    }

    fn achieves_node(&mut self, step: &Step, mv: &NodeMove, component: Component) -> bool {
        let ready = step.achieves.contains(&Fact::Ready(mv.node.name.clone()));
        self.require(ready, step, "does not end with its node Ready");
        let runs = Fact::RunsAtLeast(component, mv.node.name.clone(), mv.to.clone());
        step.achieves.contains(&runs)
    }

    /// What is known of a control plane that has moved to this version. Of one that somebody else moves, only the last
    /// version is known to the patch.
    fn certain(&self, to: &Version) -> Version {
        let mut version = to.clone();
        if !self.moves_control_plane() && *to != self.plan.to {
            version.patch = 0;
            version.suffix.clear();
        }
        version
    }
}
