//! Checks the checks: what kubeadm moves with a control plane is looked at after each hop, unless kubeadm leaves it out.

use super::PlanCheck;
use crate::model::installed::InstalledAddon;
use crate::model::plan::{Scope, StageKind, Step, Work};
use crate::provider::capabilities;

impl<'a> PlanCheck<'a> {
    pub(super) fn installed(&mut self, step: &'a Step) {
        let Work::Check(of) = &step.work else {
            return self.note(step, "is other work than that of its stage");
        };
        let asked = self.installed_here().find(|addon| addon.workload() == of.workload);
        self.require(asked.is_some(), step, "checks what kubeadm does not move with this control plane");
        let named = asked.is_some_and(|addon| {
            of.container == addon.name() && step.id.scope == Scope::Check(addon.name().to_owned())
        });
        self.require(named, step, "has another name than what it checks");
        // Before the control plane has moved there is nothing to be checked.
        self.require(self.servers_moved, step, "comes before the control plane of its hop");
        self.expects(step);
        self.now.checked.insert(&of.workload, of.version.as_deref());
        self.achieves(step);
    }

    /// Every hop that moves the control plane has the check of everything that is there.
    pub(super) fn nothing_unchecked(&mut self) {
        let hops = self.plan.stages.iter().filter(|stage| stage.kind == StageKind::ControlPlane);
        for hop in hops.map(|stage| stage.hop).collect::<Vec<_>>() {
            for addon in self.installed_here().collect::<Vec<_>>() {
                let of_hop = self.plan.stages.iter().filter(|stage| stage.hop == hop);
                let mut checks = of_hop.flat_map(|stage| &stage.steps).filter_map(|step| step.work.check());
                let checked = checks.any(|of| of.workload == addon.workload());
                self.require(checked, &format!("hop/{hop}"), "does not check what kubeadm moves in it");
            }
        }
    }

    fn installed_here(&self) -> impl Iterator<Item = InstalledAddon> + 'a {
        let control_plane = &self.cluster.control_plane;
        let moves = capabilities(control_plane.provider).installs_addons;
        let live = self.live;
        InstalledAddon::ALL.into_iter().filter(move |addon| {
            moves && !control_plane.kubeadm.skips(*addon) && live.workload_of(&addon.workload()).is_some()
        })
    }
}
