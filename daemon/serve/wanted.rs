//! The desired state of every cluster from the tip of the desired branch. The newest good commit counts; while the
//! newest is broken for a cluster, the cluster's last accepted one stays in force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::desired::{self, File, Loaded};
use crate::git::{Blob, CommitHash, GitError, Limits, Repository};
use crate::model;
use crate::model::addon::{Addon, EarlierQuestion};
use crate::model::desired::Desired;
use crate::model::entry::Authored;
use crate::model::state::DesiredState;
use crate::model::text::one_line;
use crate::plan;

/// What is known from before: the commit in force for each cluster, and the tip that was read last.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// By cluster: the commit in force, and the digest of its files.
    in_force: BTreeMap<String, InForce>,
    /// Clusters whose begun work is finished even if their folders are deleted.
    work: BTreeSet<String>,
    tip: Option<CommitHash>,
    /// The image of the upgrade Jobs for cluster files that name none.
    image: Option<String>,
}

#[derive(Clone, Debug)]
struct InForce {
    commit: model::CommitId,
    /// `None` until this process has read the files of that commit.
    digest: Option<String>,
    desired: Option<Desired>,
    /// True once the desired branch was seen with that commit. The record alone is no proof: people who may not change
    /// the desired branch may be able to write it.
    proven: bool,
}

impl Known {
    /// `accepted` is the commit in force by cluster, from the record.
    pub fn new(accepted: BTreeMap<String, String>) -> Self {
        let in_force = accepted.into_iter().map(|(cluster, commit)| {
            (cluster, InForce { commit: model::CommitId(commit), digest: None, desired: None, proven: false })
        });
        Self { in_force: in_force.collect(), ..Self::default() }
    }

    /// Names the image of the upgrade Jobs for cluster files that name none.
    #[must_use]
    pub fn with_image(mut self, image: Option<String>) -> Self {
        self.image = image;
        self
    }

    /// The image of the upgrade Jobs for cluster files that name none.
    pub(super) fn image(&self) -> Option<&str> {
        self.image.as_deref()
    }

    /// The tip of the desired branch that was read last.
    pub(super) fn tip(&self) -> Option<CommitHash> {
        self.tip
    }

    /// Names the clusters with a run that has begun and not ended.
    #[must_use]
    pub fn with_work(mut self, clusters: BTreeSet<String>) -> Self {
        self.work = clusters;
        self
    }
}

/// The desired states in some files. `image` is that of the upgrade Jobs for cluster files that name none.
pub fn load(commit: &model::CommitId, files: &BTreeMap<String, File>, image: Option<&str>) -> Loaded {
    let mut loaded = desired::load(commit, files);
    for desired in loaded.clusters.values_mut().flatten() {
        let named = &mut desired.cluster.control_plane.kubeadm.image;
        *named = named.take().or_else(|| image.map(str::to_owned));
    }
    loaded
}

/// Fetches, and reads the tip if it has changed; `None` if it has not.
pub fn look(
    repository: &mut Repository,
    path: &str,
    known: &mut Known,
) -> Result<Option<BTreeMap<String, DesiredState>>, GitError> {
    let tip = repository.fetch()?.desired;
    if known.tip == Some(tip) {
        return Ok(None);
    }
    let newest = model::CommitId(tip.to_string());
    let files = read(repository, &tip, path)?;
    let loaded = load(&newest, &files, known.image.as_deref());
    let mut all = BTreeMap::new();
    for (cluster, found) in loaded.clusters {
        recall(repository, path, known, &cluster);
        let digest = digest(&files, &cluster);
        let ancestor = known.in_force.get_mut(&cluster).is_none_or(|before| {
            let descends = descends(repository, &before.commit, &tip);
            before.proven |= descends;
            descends
        });
        let wanted = match found {
            Ok(_) if !ancestor => {
                let problem = format!(
                    "commit {} does not descend from {}, which is in force: the branch's history was rewritten",
                    newest.short(),
                    known.in_force.get(&cluster).map_or("", |before| before.commit.short()),
                );
                DesiredState {
                    rewritten: true,
                    ..broken(known, &cluster, &newest, vec![problem], &loaded.policies)
                }
            }
            Ok(desired) => in_force(known, &cluster, &newest, digest, desired),
            Err(problems) => {
                let problems = problems.iter().map(ToString::to_string).collect();
                broken(known, &cluster, &newest, problems, &loaded.policies)
            }
        };
        let by = wanted.desired.as_ref().and_then(|desired| authored(repository, &desired.commit));
        all.insert(cluster, DesiredState { by, ..wanted });
    }
    for cluster in known.work.clone() {
        if all.contains_key(&cluster) {
            continue;
        }
        recall(repository, path, known, &cluster);
        if let Some(before) = known.in_force.get_mut(&cluster) {
            before.proven |= descends(repository, &before.commit, &tip);
        }
        let problem = format!(
            "desired-state/{cluster}/ is no longer there: nodes that were begun are finished, and no other is begun"
        );
        all.insert(cluster.clone(), broken(known, &cluster, &newest, vec![problem], &loaded.policies));
    }
    // The work of a cluster that was served once is finished even if its folder is deleted.
    known.work.extend(all.keys().cloned());
    known.tip = Some(tip);
    Ok(Some(all))
}

/// A commit whose files equal those of the commit in force changes nothing: that commit stays in force.
fn in_force(
    known: &mut Known,
    cluster: &str,
    newest: &model::CommitId,
    digest: String,
    desired: Desired,
) -> DesiredState {
    let before = known.in_force.get(cluster).filter(|before| before.digest.as_ref() == Some(&digest));
    let commit = before.map_or(newest, |before| &before.commit).clone();
    let desired = Desired { commit: commit.clone(), ..desired };
    let now = InForce { commit, digest: Some(digest), desired: Some(desired.clone()), proven: true };
    known.in_force.insert(cluster.to_owned(), now);
    state(newest, Some(desired), Vec::new())
}

/// The last good commit stays in force. Freezes of the broken commit that can be read count too.
fn broken(
    known: &Known,
    cluster: &str,
    newest: &model::CommitId,
    problems: Vec<String>,
    policies: &model::desired::Policies,
) -> DesiredState {
    let mut desired = known.in_force.get(cluster).and_then(|before| before.desired.clone());
    if let Some(desired) = &mut desired {
        let known = desired.policies.freezes.clone();
        let fresh = policies.freezes.iter().filter(|freeze| !known.contains(freeze)).cloned();
        desired.policies.freezes.extend(fresh);
    }
    let unproven = known.in_force.get(cluster).is_some_and(|before| !before.proven);
    DesiredState { unproven, ..state(newest, desired, problems) }
}

/// The desired state for a pass. If the digest cannot be computed, that is a problem of the commit.
fn state(newest: &model::CommitId, desired: Option<Desired>, mut problems: Vec<String>) -> DesiredState {
    let asked = desired.as_ref().map(|desired| plan::asked(&desired.cluster)).transpose();
    let (desired, asked) = match asked {
        Ok(asked) => (desired, asked.unwrap_or_default()),
        Err(error) => {
            problems.push(error.to_string());
            (None, String::new())
        }
    };
    DesiredState {
        newest: newest.clone(),
        desired: desired.map(Arc::new),
        asked,
        problems,
        rewritten: false,
        unproven: false,
        by: None,
    }
}

/// Reads the commit in force once, if this process has only its id from the record.
fn recall(repository: &Repository, path: &str, known: &mut Known, cluster: &str) {
    let image = known.image.clone();
    let Some(before) = known.in_force.get_mut(cluster).filter(|before| before.digest.is_none()) else {
        return;
    };
    let Ok(commit) = before.commit.0.parse::<CommitHash>() else { return };
    let Ok(files) = read(repository, &commit, path) else { return };
    before.digest = Some(digest(&files, cluster));
    let mut loaded = load(&before.commit, &files, image.as_deref());
    before.desired = loaded.clusters.remove(cluster).and_then(Result::ok);
}

/// Who wrote a commit, in harmless words.
fn authored(repository: &Repository, commit: &model::CommitId) -> Option<Authored> {
    let info = repository.log(&commit.0.parse().ok()?, 1).ok()?.into_iter().next()?;
    let (author, subject) = (one_line(&info.author.to_string()), one_line(info.subject()));
    Some(Authored { author, at: info.time, subject })
}

/// True if the text is that of a commit which a branch with this tip has.
pub(super) fn descends(repository: &Repository, of: &model::CommitId, tip: &CommitHash) -> bool {
    of.0.parse::<CommitHash>().is_ok_and(|of| is_on(repository, &of, tip))
}

/// True if a branch with this tip has the commit.
pub(super) fn is_on(repository: &Repository, of: &CommitHash, tip: &CommitHash) -> bool {
    of == tip || repository.is_descendant(of, tip).unwrap_or(false)
}

/// What an earlier commit of the desired branch asks of an addon. A commit that only the record names counts for nothing.
pub(super) fn earlier_addon(
    repository: &Repository,
    (path, image, tip): (&str, Option<&str>, &CommitHash),
    cluster: &str,
    of: &EarlierQuestion,
) -> Result<Result<Arc<Addon>, String>, GitError> {
    let short = of.commit.short();
    let commit = of.commit.0.parse::<CommitHash>().ok().filter(|commit| is_on(repository, commit, tip));
    let Some(commit) = commit else {
        return Ok(Err(format!("the desired branch does not have commit {short}")));
    };
    let files = read(repository, &commit, path)?;
    let found = load(&of.commit, &files, image).clusters.remove(cluster).and_then(Result::ok);
    let Some(desired) = found else {
        return Ok(Err(format!("commit {short} is not valid for this cluster")));
    };
    let addon = desired.cluster.addons.into_iter().find(|addon| addon.name == of.addon);
    Ok(addon.map(Arc::new).ok_or_else(|| format!("commit {short} does not have the addon")))
}

/// The files of one commit, by their path below the configured folder.
pub fn read(
    repository: &Repository,
    commit: &CommitHash,
    path: &str,
) -> Result<BTreeMap<String, File>, GitError> {
    let prefix = path.trim_matches('/');
    let below =
        |folder: &str| if prefix.is_empty() { folder.to_owned() } else { format!("{prefix}/{folder}") };
    let (clusters, policies) = (below("desired-state"), below("policies"));
    let blobs = repository.read(commit, &[&clusters, &policies], &Limits::default())?;
    let relative = |path: String| match path.strip_prefix(prefix) {
        Some(rest) if !prefix.is_empty() => rest.trim_start_matches('/').to_owned(),
        _ => path,
    };
    let files = blobs.into_iter().map(|(path, blob)| {
        let file = match blob {
            Blob::Text(text) => File::Text(text),
            Blob::Refused { why } => File::Refused(why.to_string()),
        };
        (relative(path), file)
    });
    Ok(files.filter(|(path, _)| desired::reads(path)).collect())
}

/// The digest of the files of one commit that concern one cluster: its folder and the policies.
fn digest(files: &BTreeMap<String, File>, cluster: &str) -> String {
    let folder = format!("desired-state/{cluster}/");
    let mut hash = Sha256::new();
    for (path, file) in
        files.iter().filter(|(path, _)| path.starts_with(&folder) || path.starts_with("policies/"))
    {
        let text = match file {
            File::Text(text) | File::Refused(text) => text,
        };
        hash.update((path.len() as u64).to_le_bytes());
        hash.update(path);
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    format!("{:x}", hash.finalize())
}
