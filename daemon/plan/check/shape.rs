//! Checks the shape of a plan: its parts fit together and nothing is missing.

use std::collections::BTreeSet;

use super::PlanCheck;
use crate::model::desired::{Desired, Limit};
use crate::model::plan::{Scope, StageKind};

impl PlanCheck<'_> {
    pub(super) fn shape(&mut self, desired: &Desired) {
        let plan = self.plan;
        let object = format!("cluster/{}", plan.cluster);
        self.require(plan.cluster == desired.cluster.name, &object, "is a plan for another cluster");
        self.require(plan.commit == desired.commit, &object, "is a plan for another commit");
        self.require(plan.to == desired.cluster.version, &object, "goes to another version than asked for");
        let limit = desired.cluster.max_unavailable;
        self.require(
            plan.max_unavailable == limit,
            &object,
            "has another limit for the cluster than asked for",
        );
        self.require(!plan.digest.is_empty() && !plan.asked.is_empty(), &object, "has no digest");
        self.hops(&object);
        self.stages_in_order();
        self.limits();
        let mut ids = BTreeSet::new();
        for step in plan.steps() {
            self.require(ids.insert(&step.id), step, "two steps bear this name");
        }
    }

    fn hops(&mut self, object: &str) {
        let plan = self.plan;
        if let Some(last) = plan.hops.last() {
            self.require(last.to == plan.to, object, "its last hop ends elsewhere");
        }
        for pair in plan.hops.windows(2) {
            if let [before, after] = pair {
                self.require(before.to == after.from, object, "a hop starts where none ended");
            }
        }
        for (number, hop) in plan.hops.iter().enumerate() {
            let object = format!("hop/{number}");
            self.require(hop.to.is_after(&hop.from), &object, "does not go up");
            let mut stages = plan.stages.iter().filter(|stage| stage.hop == number).peekable();
            self.require(stages.peek().is_some(), &object, "nothing is done in this hop");
            let moves_control_plane = stages.any(|stage| match stage.kind {
                StageKind::AwaitControlPlane | StageKind::ControlPlane => true,
                StageKind::ControlPlaneKubelets
                | StageKind::Checks
                | StageKind::Workers
                | StageKind::AddonsBeforeControlPlane
                | StageKind::AddonsAfterControlPlane
                | StageKind::AddonsAfterNodes => false,
            });
            let one = !moves_control_plane || hop.to.minors_ahead_of(&hop.from) <= 1;
            self.require(one, &object, "takes the control plane over more than one minor");
        }
    }

    fn stages_in_order(&mut self) {
        let plan = self.plan;
        for (number, stage) in plan.stages.iter().enumerate() {
            let object = format!("stage/{number}");
            // A plan of addons alone has no hop.
            let goes_with_hop = match plan.hops.get(stage.hop) {
                Some(hop) => hop.to == stage.to,
                None => stage.kind.is_addons() && plan.hops.is_empty() && stage.to == plan.to,
            };
            self.require(goes_with_hop, &object, "goes to another version than its hop");
        }
        for (number, pair) in plan.stages.windows(2).enumerate() {
            let [before, after] = pair else { continue };
            let ordered = (before.hop, before.kind) < (after.hop, after.kind);
            let object = format!("stage/{}", number + 1);
            self.require(
                ordered,
                &object,
                "comes too late: control plane components, control plane kubelets, checks, workers, addons where they ask for it, hop by hop",
            );
        }
    }

    /// The limits are part of what a person approves. Without them a run would not know when to wait.
    fn limits(&mut self) {
        let plan = self.plan;
        for step in plan.steps() {
            let present = plan.limits(&step.id.scope).is_some()
                || step.work.addon().is_some()
                || step.work.check().is_some();
            self.require(present, &format!("pool/{}", step.id.scope.name()), "its limits are missing");
        }
        for pool in &self.cluster.pools {
            let object = format!("pool/{}", pool.name);
            let same = plan.pools.get(&pool.name).is_some_and(|limits| {
                limits.max_unavailable == pool.max_unavailable
                    && limits.max_unavailable_per_zone == pool.max_unavailable_per_zone
                    && limits.canary == pool.canary
                    && limits.soak_seconds == pool.soak.as_secs()
                    && limits.foreign_cordon == pool.foreign_cordon
                    && limits.prefer_upgraded == pool.prefer_upgraded
                    && limits.drain.when == pool.drain.when
                    && limits.drain.timeout_seconds == pool.drain.timeout.as_secs()
                    && limits.drain.delete_empty_dir_data == pool.drain.delete_empty_dir_data
                    && limits.drain.jobs_seconds == pool.drain.jobs.as_secs()
                    && limits.drain.implicit_budgets == pool.drain.implicit_budgets
                    && limits.drain.recovery_seconds == pool.drain.recovery.as_secs()
                    && limits.drain.max_recovering == pool.drain.max_recovering
                    && limits.drain.ahead == pool.drain.ahead
                    && limits.drain.on_not_recovered == pool.drain.on_not_recovered
                    && limits.drain.on_blocked == pool.drain.on_blocked
            });
            self.require(same, &object, "has other limits than asked for");
        }
        let serial =
            plan.limits(&Scope::ControlPlane).is_some_and(|limits| limits.max_unavailable == Limit::Count(1));
        self.require(serial, Scope::CONTROL_PLANE, "its nodes would not go one at a time");
    }
}
