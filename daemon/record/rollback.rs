//! The rollback point of a run, and the tag on it. Both say what the point is not: without a proven snapshot, going
//! back means that an earlier commit is put in force again, and nothing more.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::files::WriteError;
use super::status_types::API_VERSION;
use super::text::{second, way};
use super::{Run, layout, yaml};
use crate::model::CommitId;
use crate::model::addon::AddonKind;
use crate::model::plan::{Component, NodeMove, Step};
use crate::model::version::Version;

/// For each node the version of its control plane components, if it has any, and of its kubelet.
pub type LiveVersions = BTreeMap<String, (Option<Version>, Version)>;

/// One `rollback-points/<id>.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollbackPoint {
    pub api_version: String,
    pub kind: String,
    pub id: String,
    pub run: String,
    pub at: Timestamp,
    pub from: Version,
    pub to: Version,
    /// The last accepted commit with the version that ran before; `None` if there was none.
    pub desired_commit: Option<CommitId>,
    pub snapshot: Snapshot,
    /// Where the versions below come from.
    pub versions_from: VersionsFrom,
    pub versions: BTreeMap<String, NodeVersions>,
    /// The addons that the run moves, as they were before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addons: Vec<AddonBefore>,
    /// What going back means here, in words.
    pub going_back: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Snapshot {
    /// The point has no snapshot of etcd; the reason that a person wrote.
    None { unproven: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VersionsFrom {
    /// Read from the cluster when the point was made.
    Live,
    /// Taken from the frozen plan, which does not have the nodes that it does not move.
    Plan,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeVersions {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubelet: Option<Version>,
}

/// An addon before a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddonBefore {
    pub name: String,
    pub kind: AddonKind,
    pub version: String,
    /// Of an image: `deployment/kube-system/coredns`, its container, and the whole image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Of a chart: the revision that was deployed; helm's history has what it consisted of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Of manifests and of a chart: how many objects the run has of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<usize>,
}

const GO_BACK_ADDONS: &str =
    "This run moves addons only. To go back, commit the versions that `addons` has here.";

const NO_SNAPSHOT: &str = "this version of Windlass takes no snapshot of etcd";

/// The point with the versions of the live cluster. `desired_before` is the commit to go back to, from
/// [`Record::accepted_before`]. `unproven` is the reason in the cluster file, if there is one.
///
/// [`Record::accepted_before`]: super::Record::accepted_before
pub fn rollback_point(
    id: &str,
    run: &Run,
    live: &LiveVersions,
    desired_before: Option<&CommitId>,
    unproven: Option<&str>,
    at: Timestamp,
) -> RollbackPoint {
    let versions = live.iter().map(|(node, (control_plane, kubelet))| {
        (node.clone(), NodeVersions { control_plane: control_plane.clone(), kubelet: Some(kubelet.clone()) })
    });
    let snapshot = Snapshot::None { unproven: unproven.unwrap_or(NO_SNAPSHOT).to_owned() };
    RollbackPoint {
        desired_commit: desired_before.cloned(),
        going_back: words_of_way_back(run, desired_before),
        snapshot,
        versions_from: VersionsFrom::Live,
        ..point_of_run(id, run, at, versions.collect())
    }
}

/// The path and content of its file. It replaces the file of [`super::files`], which has only the plan's versions.
pub fn rollback_file(cluster: &str, point: &RollbackPoint) -> Result<(String, Vec<u8>), WriteError> {
    let path = layout::rollback_point_path(cluster, &point.id);
    match yaml::write(point) {
        Ok(text) => Ok((path, text.into_bytes())),
        Err(source) => Err(WriteError::Unwritable { path, source }),
    }
}

/// The tag's name, by which `git` finds the rollback point, and the tag's message.
pub fn tag(cluster: &str, run: &Run) -> (String, String) {
    let id = run.rollback_point.as_deref().unwrap_or(&run.id);
    let name = format!("windlass/{cluster}/rollback/{id}");
    let message = format!(
        "{cluster}: rollback point before run {}, {}\n\nMade at {}.\n{}\n\nCluster: {cluster}\nRun: {}\n\
         Desired-Commit: {}\nPlan-Digest: {}\nEpoch: {}\n",
        run.id,
        way(&run.from, &run.to),
        second(run.started),
        words_of_way_back(run, run.before.as_ref().map(|(commit, _)| commit)),
        run.id,
        run.commit,
        run.digest,
        run.epoch,
    );
    (name, message)
}

/// The point with the versions that the frozen plan has: those from which its steps start.
pub(super) fn from_plan(id: &str, run: &Run, at: Timestamp) -> RollbackPoint {
    let mut versions: BTreeMap<String, NodeVersions> = BTreeMap::new();
    for (component, NodeMove { node, from, .. }) in run.plan.steps().filter_map(|step| step.work.node_move())
    {
        let of_node = versions.entry(node.name.clone()).or_default();
        let version = match component {
            Component::ControlPlane => &mut of_node.control_plane,
            Component::Kubelet => &mut of_node.kubelet,
        };
        version.get_or_insert_with(|| from.clone());
    }
    point_of_run(id, run, at, versions)
}

fn point_of_run(
    id: &str,
    run: &Run,
    at: Timestamp,
    versions: BTreeMap<String, NodeVersions>,
) -> RollbackPoint {
    let commit = run.before.as_ref().map(|(commit, _)| commit.clone());
    RollbackPoint {
        api_version: API_VERSION.to_owned(),
        kind: "RollbackPoint".to_owned(),
        id: id.to_owned(),
        run: run.id.clone(),
        at,
        from: run.from.clone(),
        to: run.to.clone(),
        going_back: words_of_way_back(run, commit.as_ref()),
        desired_commit: commit,
        snapshot: Snapshot::None { unproven: NO_SNAPSHOT.to_owned() },
        versions_from: VersionsFrom::Plan,
        versions,
        addons: addons_before(run),
    }
}

/// Every addon of the run once: the first of its steps starts from what ran before.
fn addons_before(run: &Run) -> Vec<AddonBefore> {
    let mut addons: Vec<AddonBefore> = Vec::new();
    for addon in run.plan.steps().filter_map(addon_before) {
        if addons.iter().all(|known| known.name != addon.name) {
            addons.push(addon);
        }
    }
    addons
}

fn addon_before(step: &Step) -> Option<AddonBefore> {
    let mv = step.work.addon()?;
    Some(AddonBefore {
        name: mv.name.clone(),
        kind: mv.kind(),
        version: mv.from.clone(),
        workload: mv.image().map(|of| of.workload.to_string()),
        container: mv.image().map(|of| of.container.clone()),
        image: mv.image().map(|of| of.image_from.clone()),
        revision: mv.helm().and_then(|of| of.revision),
        objects: mv.objects().map(|of| of.objects.len()),
    })
}

fn words_of_way_back(run: &Run, commit: Option<&CommitId>) -> String {
    if run.moves_addons_alone() { GO_BACK_ADDONS.to_owned() } else { how_to_go_back(commit) }
}

fn how_to_go_back(commit: Option<&CommitId>) -> String {
    match commit {
        Some(commit) => format!(
            "To go back, commit again what commit {} asked for. Until the control plane is changed, that cancels the \
             run and returns the nodes. Afterwards Windlass downgrades nothing. No snapshot of etcd belongs to this \
             rollback point.",
            commit.short()
        ),
        None => {
            "There is nothing to go back to: no commit that asked for another version was accepted before. No \
             snapshot of etcd belongs to this rollback point."
                .to_owned()
        }
    }
}
