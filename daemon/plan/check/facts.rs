//! Checks each step: its id follows from its work, the facts that it expects hold when its turn comes, and the facts
//! that it achieves hold once it is done. The executor decides by these facts.

use super::PlanCheck;
use crate::model::addon::AddonWork;
use crate::model::installed::InstalledAddon;
use crate::model::manifest::ObjectRef;
use crate::model::plan::{Component, Fact, NodeMove, Step, Truth, Work};
use crate::model::version::Version;
use crate::model::work::OrLater;
use crate::provider::installed_at_least;

impl<'a> PlanCheck<'a> {
    /// The record knows a step only by its id. If the id did not follow from the work, the record of one step could
    /// be taken for that of another.
    pub(super) fn identity(&mut self, step: &Step) {
        let node = step.work.node_move().map(|(_, mv)| &mv.node);
        let id = &step.id;
        let same = id.kind == step.work.kind() && id.node.as_ref() == node && id.to == step.work.target();
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
                // Otherwise this step would leave another node two minors behind, or move one node while another is
                // not Ready.
                self.expects_api_servers(step, |version| mv.to.minors_ahead_of(version) <= 1);
            }
            Work::Kubelet(mv) => {
                self.expects_node(step, mv);
                let certain = self.certain(&mv.to);
                self.expects_api_servers(step, |version| version.reaches(&certain));
            }
            Work::Addon(mv) => self.expects_api_servers(step, |version| *version == mv.kubernetes),
            Work::Check(of) => self.expects_api_servers(step, |version| *version == of.to),
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
            Fact::RunsAtLeast(..)
            | Fact::Ready(_)
            | Fact::HasImage(..)
            | Fact::HasVersion(..)
            | Fact::RolledOut(_)
            | Fact::Applied(..)
            | Fact::AppliedAndReady(..)
            | Fact::Removed(..)
            | Fact::Exists(_) => false,
        });
        self.require(waits, step, "does not expect the API servers to be there first");
    }

    /// Checks the facts that the step achieves, once the step has been carried out on [`PlanCheck::now`].
    pub(super) fn achieves(&mut self, step: &'a Step) {
        let promised = match &step.work {
            Work::ControlPlane(mv) => self.achieves_node(step, mv, Component::ControlPlane),
            Work::Kubelet(mv) => self.achieves_node(step, mv, Component::Kubelet),
            Work::Addon(mv) => {
                let (name, achieves) = (&mv.name, &step.achieves);
                let (of, later) = match &mv.change {
                    AddonWork::Manifests(of) => (Some(of), Vec::new()),
                    AddonWork::Helm(of) => (Some(&of.objects), of.later.clone()),
                    AddonWork::Image(_) => (None, Vec::new()),
                };
                match (&mv.change, of) {
                    (AddonWork::Image(of), _) => {
                        let has = Fact::HasImage(of.workload.clone(), of.container.clone(), of.images());
                        *achieves == [has, Fact::RolledOut(of.workload.clone())]
                    }
                    (_, Some(of)) => {
                        let removed = |object: &ObjectRef| {
                            achieves.contains(&Fact::Removed(name.clone(), object.clone()))
                        };
                        let contents = OrLater { first: of.digest.clone(), later };
                        achieves.contains(&Fact::Applied(name.clone(), contents.clone()))
                            && achieves.contains(&Fact::AppliedAndReady(name.clone(), contents))
                            && of.removed.iter().all(removed)
                            && achieves.len() == of.removed.len() + 2
                    }
                    (_, None) => false,
                }
            }
            Work::Check(of) => {
                let known = InstalledAddon::ALL.into_iter().find(|addon| addon.workload() == of.workload);
                let least = known.and_then(|addon| installed_at_least(addon, &of.to));
                let has =
                    least.map(|least| Fact::HasVersion(of.workload.clone(), of.container.clone(), least));
                let asked: Vec<Fact> =
                    has.into_iter().chain([Fact::RolledOut(of.workload.clone())]).collect();
                step.achieves == asked
            }
            Work::AwaitControlPlane { to, .. } => step.achieves.iter().any(|fact| match fact {
                Fact::ControlPlaneAtLeast(version) => version.reaches(&self.certain(to)),
                Fact::RunsAtLeast(..)
                | Fact::Ready(_)
                | Fact::HasImage(..)
                | Fact::HasVersion(..)
                | Fact::RolledOut(_)
                | Fact::Applied(..)
                | Fact::AppliedAndReady(..)
                | Fact::Removed(..)
                | Fact::Exists(_) => false,
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

    /// The version that is certain of a control plane that has moved to `to`. If an external provider moves it, the
    /// patch is certain only for the last version.
    fn certain(&self, to: &Version) -> Version {
        let first = Version::new(to.major, to.minor, 0);
        let exact = self.moves_control_plane() || *to == self.plan.to;
        if exact || first.reaches(to) { to.clone() } else { first }
    }
}
