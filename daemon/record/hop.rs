//! The control plane of a hop as one unit: whether it was changed, whether it is finished, and which of its nodes is
//! first.

use super::{Record, Run, StepEnd};
use crate::model::entry::RunOutcome;
use crate::model::live::Live;
use crate::model::plan::{StageKind, Step};
use crate::model::version::Version;

impl Run {
    /// True if a control plane component or a control plane kubelet was changed in this hop, or may have been.
    ///
    /// `hop` is an index into the plan's hops.
    pub fn hop_changed(&self, hop: usize) -> bool {
        self.control_plane_stages(hop).any(|stage| self.index.any_changed(stage))
    }

    /// True if a hop was changed and one of its control plane steps has begun and not ended.
    ///
    /// All intents of a hop's control plane are written together. cp-1 runs the new version, and a commit asks for
    /// something else: cp-2 and cp-3 have to follow cp-1 first, because a control plane of two versions is worse than
    /// one that runs the older commit's version on all nodes.
    pub fn hop_unfinished(&self) -> bool {
        (0..self.plan.hops.len()).any(|hop| {
            self.hop_changed(hop)
                && self.control_plane_stages(hop).any(|stage| self.index.any_in_progress(stage))
        })
    }

    /// True if this is the first step of its stage kind and version whose node is not gone.
    ///
    /// `kubeadm upgrade apply` runs on the first control plane node of a hop and `kubeadm upgrade node` on the
    /// others. If the first node is gone, it has not run it, so the next node does.
    pub fn first_of_hop(&self, step: &Step) -> bool {
        let Some((own, _)) = self.find(&step.id) else { return false };
        let alike = self.plan.stages.iter().filter(|stage| stage.kind == own.kind && stage.to == *step.to());
        let gone =
            |step: &&Step| self.steps.get(&step.id).is_some_and(|record| record.end == Some(StepEnd::Gone));
        let first = alike.flat_map(|stage| &stage.steps).find(|step| !gone(step));
        first.is_some_and(|first| first.id == step.id)
    }

    /// The stages of a hop without workers, as indexes into the plan's stages.
    fn control_plane_stages(&self, hop: usize) -> impl Iterator<Item = usize> {
        let of_hop = self.plan.stages.iter().enumerate().filter(move |(_, stage)| stage.hop == hop);
        let control_plane = of_hop.filter(|(_, stage)| match stage.kind {
            StageKind::AwaitControlPlane | StageKind::ControlPlane | StageKind::ControlPlaneKubelets => true,
            StageKind::Checks
            | StageKind::Workers
            | StageKind::AddonsBeforeControlPlane
            | StageKind::AddonsAfterControlPlane
            | StageKind::AddonsAfterNodes => false,
        });
        control_plane.map(|(index, _)| index)
    }
}

impl Record {
    /// True if the last run gave way to a newer commit and left the API servers between two versions, on their way to
    /// `to`.
    ///
    /// cp-1 is upgraded, cp-2 fails, and a person commits a correction with the same version. The old run ends, and
    /// the new one finds a control plane of two versions. Its hop counts as begun, so it is finished whatever the
    /// maintenance windows say. Cancelled runs changed nothing and are passed over.
    pub fn left_mid_hop(&self, live: &Live, to: &Version) -> bool {
        let last = self.ended.iter().rev().find(|run| run.outcome != RunOutcome::Cancelled);
        let ours = last.is_some_and(|run| run.outcome == RunOutcome::Superseded && run.to == *to);
        let servers = live.api_servers();
        let oldest = Version::oldest(servers.values().flatten());
        ours && oldest.is_some_and(|oldest| servers.values().flatten().any(|runs| runs.is_after(oldest)))
    }
}
