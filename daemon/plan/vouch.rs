//! Compares the frozen plan of a run with the desired state of the commit that the run names. Everyone who can push to
//! the record's branch can change a frozen plan, so nothing that runs on a host is taken from there alone.

use super::installed::check_step;
use super::node::drains_between;
use super::{SealError, limits, seal};
use crate::model::addon::{Addon, AddonSource, AddonWork, image_version, requirement};
use crate::model::desired::{Cluster, Desired};
use crate::model::installed::InstalledAddon;
use crate::model::plan::{AddonMove, Component, Fact, Plan, Scope, Stage, StageKind, Step};
use crate::provider::{self, of_minor};

/// How a frozen plan differs from what its commit asks for, for people; `None` if it follows from the commit.
///
/// Names of nodes and the order of the nodes follow from the live cluster of that time, and are not compared.
///
/// # Errors
///
/// The digest cannot be computed.
pub fn misfit(plan: &Plan, desired: &Desired) -> Result<Option<String>, SealError> {
    let cluster = &desired.cluster;
    if plan.cluster != cluster.name {
        return Ok(Some(format!("it is a plan for cluster {}", plan.cluster)));
    }
    if plan.commit != desired.commit {
        return Ok(Some(format!("it is a plan for commit {}", plan.commit.short())));
    }
    if plan.to != cluster.version {
        return Ok(Some(format!("it goes to {}, and the commit asks for {}", plan.to, cluster.version)));
    }
    let kubeadm = &cluster.control_plane.kubeadm;
    if plan.kubeadm.image != kubeadm.image {
        let named = |image: &Option<String>| image.clone().unwrap_or_else(|| "no image".to_owned());
        let (there, asked) = (named(&plan.kubeadm.image), named(&kubeadm.image));
        return Ok(Some(format!(
            "its Jobs run {there}, and the commit and the daemon's settings name {asked}"
        )));
    }
    if plan.kubeadm != *kubeadm {
        return Ok(Some("its Jobs have other settings than the commit's `controlPlane.kubeadm`".to_owned()));
    }
    if plan.pools != limits(cluster) || plan.max_unavailable != cluster.max_unavailable {
        return Ok(Some("its limits are not those of the commit".to_owned()));
    }
    if let Some(step) = strange_step(plan, cluster) {
        return Ok(Some(format!("no plan for the commit has its step {}", step.id)));
    }
    let scripts = provider::scripts(cluster, &plan.stages);
    let again = seal(plan.clone(), cluster, &scripts)?;
    Ok((again.digest != plan.digest || again.asked != plan.asked)
        .then(|| format!("its digest is {}, and the commit gives {}", plan.digest, again.digest)))
}

/// The first step that no plan for this cluster could have in its stage.
fn strange_step<'a>(plan: &'a Plan, cluster: &Cluster) -> Option<&'a Step> {
    plan.stages.iter().find_map(|stage| stage.steps.iter().find(|step| !belongs(plan, stage, step, cluster)))
}

/// True if the step has the work, the target, the provider, the drain and the facts that a plan gives it.
fn belongs(plan: &Plan, stage: &Stage, step: &Step, cluster: &Cluster) -> bool {
    if let Some(mv) = step.work.addon() {
        return addon_belongs(plan, stage, step, mv, cluster);
    }
    let hop = plan.hops.get(stage.hop).is_some_and(|hop| hop.to == stage.to);
    if let Some(of) = step.work.check() {
        let known = InstalledAddon::ALL.into_iter().find(|addon| addon.workload() == of.workload);
        let from = plan.hops.get(stage.hop).map(|hop| &hop.from);
        let asked = known.zip(from).map(|(addon, from)| check_step(addon, from, &stage.to));
        return hop && stage.kind == StageKind::Checks && asked.as_ref() == Some(step);
    }
    let Some((component, mv)) = step.work.node_move() else {
        return hop && stage.kind == StageKind::AwaitControlPlane && *step.to() == stage.to;
    };
    let fits_stage = match (stage.kind, &step.id.scope) {
        (StageKind::ControlPlane, Scope::ControlPlane) => component == Component::ControlPlane,
        (StageKind::ControlPlaneKubelets, Scope::ControlPlane) | (StageKind::Workers, Scope::Pool(_)) => {
            component == Component::Kubelet
        }
        _ => false,
    };
    let pool = cluster.pools.iter().find(|pool| step.id.scope == Scope::Pool(pool.name.clone()));
    let provider = match stage.kind {
        StageKind::Workers => pool.map(|pool| pool.provider),
        StageKind::AwaitControlPlane | StageKind::ControlPlane | StageKind::ControlPlaneKubelets => {
            Some(cluster.control_plane.provider)
        }
        StageKind::Checks
        | StageKind::AddonsBeforeControlPlane
        | StageKind::AddonsAfterControlPlane
        | StageKind::AddonsAfterNodes => None,
    };
    let drained = component == Component::ControlPlane || mv.drain == drains_between(pool, &mv.from, &mv.to);
    let achieves = [
        Fact::RunsAtLeast(component, mv.node.name.clone(), mv.to.clone()),
        Fact::Ready(mv.node.name.clone()),
    ];
    let expects = [Fact::Exists(mv.node.clone()), Fact::Ready(mv.node.name.clone())];
    hop && fits_stage
        && mv.to == stage.to
        && provider == Some(mv.provider)
        && drained
        && step.achieves == achieves
        && expects.iter().all(|fact| step.expects.contains(fact))
        && step.expects.iter().any(|fact| matches!(fact, Fact::ControlPlaneAtLeast(_)))
}

/// True if the commit asks for the addon, and the step gives the container that it names the image that it names. At which hop it
/// comes follows from the live cluster of that time, too; that its file excludes no API server of then, from the commit.
fn addon_belongs(plan: &Plan, stage: &Stage, step: &Step, mv: &AddonMove, cluster: &Cluster) -> bool {
    let Some(addon) = cluster.addons.iter().find(|addon| addon.name == mv.name) else { return false };
    let Some(later) = later_versions(plan, step, addon) else { return false };
    let hop = plan.hops.get(stage.hop).map_or(plan.hops.is_empty(), |hop| hop.to == stage.to);
    let version = mv.to.as_str();
    let fits = match (&addon.source, &mv.change) {
        (AddonSource::Image(of), AddonWork::Image(mv)) => {
            mv.workload == of.workload
                && mv.container == of.container
                && mv.image == of.asked(version, &mv.image_from)
                && mv
                    .later
                    .iter()
                    .eq(&later.iter().map(|later| of.asked(later, &mv.image_from)).collect::<Vec<_>>())
        }
        (AddonSource::Manifests(of), AddonWork::Manifests(mv)) => mv.follows_from(of),
        (AddonSource::Helm(of), AddonWork::Helm(mv)) => {
            let first = plan.steps().find(|other| other.id.scope == step.id.scope);
            let digests = later.iter().map(|later| of.digests.get(*later));
            mv.follows_from_chart(of, version)
                && mv.follows == first.is_some_and(|first| first.id != step.id)
                && !(mv.follows && mv.revision.is_some())
                && digests.eq(mv.later.iter().map(Some))
        }
        (AddonSource::Image(_) | AddonSource::Manifests(_) | AddonSource::Helm(_), _) => false,
    };
    // Before everything else every addon may move.
    let early = stage.kind == StageKind::AddonsBeforeControlPlane
        && !plan.stages.iter().take_while(|other| *other != stage).any(|other| moves_servers(other.kind));
    // A plan with blockers starts no run.
    let needed = addon.requires_of(version).and_then(requirement).filter(|_| plan.blockers.is_empty());
    hop && (early || stage.kind == StageKind::of_addons(addon.when))
        && step.id.scope == Scope::Addon(addon.name.clone())
        && needed.is_none_or(|range| range.matches(&of_minor(mv.kubernetes.minor)))
        && fits
        && mv.timeout_seconds == addon.timeout.as_secs()
        && mv.on_failure == addon.on_failure
        && step.achieves == mv.achieves()
        && matches!(step.expects.as_slice(), [Fact::ControlPlaneAtLeast(_)])
}

fn moves_servers(kind: StageKind) -> bool {
    matches!(kind, StageKind::AwaitControlPlane | StageKind::ControlPlane)
}

/// The versions to which later steps move the addon of this one. `None` if the steps of the addon are not those that its file asks
/// for from where the first of them begins, each from where the one before it ends.
fn later_versions<'a>(plan: &'a Plan, step: &Step, addon: &Addon) -> Option<Vec<&'a str>> {
    let moves: Vec<&AddonMove> =
        plan.steps().filter_map(|step| step.work.addon()).filter(|mv| mv.name == addon.name).collect();
    let from = moves.first()?;
    let runs = from.image().map_or(from.from.as_str(), |of| image_version(&of.image_from));
    let path = addon.path_from(runs);
    let whole = moves.iter().map(|mv| mv.to.as_str()).eq(path.iter().map(|via| via.version.as_str()));
    let joined = moves.windows(2).all(|pair| match pair {
        [before, after] => match (before.image(), after.image()) {
            (Some(before), Some(after)) => before.image == after.image_from,
            _ => before.to == after.from,
        },
        _ => true,
    });
    let here = moves.iter().position(|mv| mv.to == step.id.to)?;
    (whole && joined).then(|| moves.iter().skip(here + 1).map(|mv| mv.to.as_str()).collect())
}
