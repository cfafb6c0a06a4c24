//! Reads the files of one commit: the desired state of each cluster, or all problems at once with their places. Pure:
//! it reads no disk and no repository. It judges a commit by itself; what depends on the commit before it (a
//! downgrade, a rewritten history) is for the planner and for git.

mod addon;
mod check;
mod cluster;
pub mod defaults;
mod fields;
mod helm;
mod kubeadm;
mod layout;
mod manifest;
mod policy;
mod problem;
mod resource;
mod selector;
mod syntax;
mod tree;
mod values;
mod via;
mod zone;

use std::collections::BTreeMap;

use self::check::In;
use self::layout::FileRole;
pub use self::problem::Problem;
use self::problem::{MAX_PER_CLUSTER, MAX_PER_COMMIT, capped, quoted};
use crate::model::CommitId;
use crate::model::desired::{Desired, Freeze, Policies, Window};

/// The largest file, in bytes: a hundred times a large cluster file. The reader of a repository refuses by the size
/// in the blob's header.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// The most bytes of all files of a commit that are ours.
pub const MAX_TOTAL_BYTES: usize = 64 << 20;

/// The most files of a commit that are ours: five thousand clusters in one repository, each with some files of addons.
pub const MAX_FILES: usize = 20_000;

/// The most policies of a commit; every cluster has a copy of all of them.
pub const MAX_POLICIES: usize = 500;

/// The most problems that are held while a commit is read; beyond it every file keeps its first one only.
const MAX_HELD: usize = 10 * MAX_PER_COMMIT;

/// A file of a commit, or of the work tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    Text(String),
    /// Not read; the text says why and continues a sentence that begins with the file's name.
    Refused(String),
}

/// What a commit says.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Every folder of `desired-state/`: its desired state, or the problems in it and in the policies.
    pub clusters: BTreeMap<String, Result<Desired, Vec<Problem>>>,
    /// Every freeze that could be read, also of a commit that is broken elsewhere, because restrictions count at
    /// once. Windows, which permit, are here only if no policy has a problem.
    pub policies: Policies,
    /// All problems of all files, in the order of files and lines.
    pub problems: Vec<Problem>,
}

/// True if [`load`] has to know that a file with this path exists. A reader can skip all others.
pub fn reads(path: &str) -> bool {
    !matches!(layout::role(path, true), FileRole::Foreign(None))
}

/// True if [`load`] reads the text of a file with this path. For the other files `File::Text` may be empty.
pub fn reads_text(path: &str) -> bool {
    matches!(
        layout::role(path, false),
        FileRole::Cluster(_) | FileRole::Policy | FileRole::Manifests(_) | FileRole::Chart(_)
    )
}

/// Reads a commit. Paths are relative to the folder that holds `desired-state/` and `policies/`.
pub fn load(commit: &CommitId, files: &BTreeMap<String, File>) -> Loaded {
    let mut reading = Reading::default();
    let ours: Vec<_> = files.iter().filter(|(path, _)| reads(path)).collect();
    let bytes = ours.iter().map(|(_, file)| file.size()).fold(0, usize::saturating_add);
    let refusal = if bytes > MAX_TOTAL_BYTES {
        Some(format!("the files have {bytes} bytes together; at most {MAX_TOTAL_BYTES} are read"))
    } else if ours.len() > MAX_FILES {
        Some(format!("there are {} files; at most {MAX_FILES} are read", ours.len()))
    } else {
        None
    };
    for (path, file) in ours {
        match refusal {
            None => reading.file(path, file),
            Some(_) => reading.folder_of(path),
        }
    }
    if let Some(message) = refusal {
        reading.of_policies.push(Problem::of("desired-state", message));
    } else {
        reading.across();
    }
    reading.finish(commit)
}

impl File {
    /// A file from the bytes that were read.
    pub fn of_bytes(bytes: Vec<u8>) -> Self {
        if bytes.len() > MAX_FILE_BYTES {
            return Self::too_large(bytes.len() as u64);
        }
        let utf_16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(_) if utf_16 => Self::Refused("is UTF-16 text; save it as UTF-8".into()),
            Err(_) => Self::Refused("is not UTF-8 text".into()),
        }
    }

    /// A file that was refused by its header, before it was read.
    pub fn too_large(bytes: u64) -> Self {
        Self::Refused(format!("has {bytes} bytes; at most {MAX_FILE_BYTES} are read"))
    }

    pub fn link() -> Self {
        Self::Refused("is a symbolic link; links are not followed".into())
    }

    /// What a file adds to the total. A file that is too large adds nothing, because it is refused.
    fn size(&self) -> usize {
        match self {
            Self::Text(text) if text.len() <= MAX_FILE_BYTES => text.len(),
            Self::Text(_) | Self::Refused(_) => 0,
        }
    }
}

/// A folder of `desired-state/` while the commit is read.
#[derive(Default)]
struct ClusterFolder<'f> {
    read: cluster::ClusterFile,
    manifests: Vec<manifest::ManifestFile<'f>>,
    charts: Vec<helm::ChartFile<'f>>,
    /// True if there was a cluster file, good or bad.
    described: bool,
    /// True if it had no problem.
    sound: bool,
    problems: Vec<Problem>,
}

#[derive(Default)]
struct Reading<'f> {
    folders: BTreeMap<&'f str, ClusterFolder<'f>>,
    windows: Vec<In<'f, Window>>,
    freezes: Vec<In<'f, Freeze>>,
    /// These concern every cluster.
    of_policies: Vec<Problem>,
    /// These concern no cluster: a file in a place where none is read.
    of_none: Vec<Problem>,
    held: usize,
}

impl<'f> Reading<'f> {
    fn file(&mut self, path: &'f str, file: &'f File) {
        let refused = matches!(file, File::Refused(_));
        match layout::role(path, refused) {
            FileRole::Cluster(folder) => {
                let (read, problems) = match readable(path, file) {
                    Ok(text) => resource::cluster_file(folder, path, text),
                    Err(problem) => (cluster::ClusterFile::default(), vec![*problem]),
                };
                let problems = self.kept(problems);
                let folder = self.folders.entry(folder).or_default();
                folder.described = true;
                folder.sound = problems.is_empty();
                folder.read = read;
                folder.problems.extend(problems);
            }
            FileRole::Policy => {
                let problems = match readable(path, file) {
                    Ok(text) => {
                        let read = resource::policy_file(path, text);
                        self.windows.extend(read.windows.into_iter().map(|placed| In {
                            file: path,
                            text,
                            placed,
                        }));
                        self.freezes.extend(read.freezes.into_iter().map(|placed| In {
                            file: path,
                            text,
                            placed,
                        }));
                        read.problems
                    }
                    Err(problem) => vec![*problem],
                };
                let problems = self.kept(problems);
                self.of_policies.extend(problems);
            }
            FileRole::Manifests(folder) => {
                let (read, problems) = match readable(path, file) {
                    Ok(text) => manifest::manifest_file(path, text),
                    Err(problem) => (manifest::unread_file(path), vec![*problem]),
                };
                let problems = self.kept(problems);
                let folder = self.folders.entry(folder).or_default();
                folder.manifests.push(read);
                folder.problems.extend(problems);
            }
            FileRole::Chart(folder) => {
                let read = helm::ChartFile::of(path, readable(path, file));
                self.folders.entry(folder).or_default().charts.push(read);
            }
            FileRole::Stray(folder, message) => {
                let problem = match file {
                    File::Refused(why) => Problem::of(path, why).fixed_by(message),
                    File::Text(_) => Problem::of(path, message),
                };
                let problems = self.kept(vec![problem]);
                match folder {
                    Some(folder) => self.folders.entry(folder).or_default().problems.extend(problems),
                    None if path.starts_with("policies") => self.of_policies.extend(problems),
                    None => self.of_none.extend(problems),
                }
            }
            FileRole::Foreign(_) => self.folder_of(path),
        }
    }

    /// Notes that the folder of this path exists.
    fn folder_of(&mut self, path: &'f str) {
        if let FileRole::Cluster(folder)
        | FileRole::Manifests(folder)
        | FileRole::Chart(folder)
        | FileRole::Foreign(Some(folder))
        | FileRole::Stray(Some(folder), _) = layout::role(path, true)
        {
            self.folders.entry(folder).or_default();
        }
    }

    /// Bounds how many problems of a hostile commit are held.
    fn kept(&mut self, mut problems: Vec<Problem>) -> Vec<Problem> {
        if self.held > MAX_HELD {
            problems.truncate(1);
        }
        self.held += problems.len();
        problems
    }

    /// The checks that need all files.
    fn across(&mut self) {
        for (name, folder) in &mut self.folders {
            let path = format!("desired-state/{name}");
            if !values::is_name(name) {
                folder.problems.push(
                    Problem::of(
                        &path,
                        format_args!("the folder's name {} is no name for a cluster", quoted(name)),
                    )
                    .fixed_by("use a-z, 0-9 and `-`, beginning and ending with a letter or digit"),
                );
            }
            // Which addon a file belongs to is only known from a cluster file that could be read.
            if let Some(cluster) = folder.read.cluster.as_mut().filter(|_| folder.sound) {
                let files = std::mem::take(&mut folder.manifests);
                folder.problems.extend(manifest::attach(cluster, &files));
                let files = std::mem::take(&mut folder.charts);
                folder.problems.extend(helm::attach_charts(cluster, &files));
            }
            if !folder.described && folder.problems.is_empty() {
                folder.problems.push(Problem::of(&path, "the folder of a cluster has no `cluster.yaml`"));
            }
        }
        if self.folders.is_empty() {
            self.of_none.push(Problem::of("desired-state", "there is no cluster here").fixed_by(
                "add desired-state/<cluster>/cluster.yaml, or name the folder that holds desired-state/",
            ));
        }
        let policies = self.windows.len() + self.freezes.len();
        if policies > MAX_POLICIES {
            let message = format!("there are {policies} policies; at most {MAX_POLICIES} are read");
            self.of_policies.push(Problem::of("policies", message));
            // Which of the windows hold would be a guess; the windows of the last good commit stay in force.
            self.windows.clear();
            self.freezes.clear();
        }
        self.of_policies.extend(check::names(&self.windows, &self.freezes));
        let labels: Option<Vec<_>> =
            self.folders.values().map(|folder| folder.read.labels.as_ref()).collect();
        // While the labels of one cluster are unknown, a selector that matches no other cluster may match that one.
        if let Some(labels) = labels.filter(|labels| !labels.is_empty()) {
            self.of_policies.extend(check::selectors(&labels, &self.windows, &self.freezes));
        }
        self.of_policies.sort_by(in_order);
    }

    fn finish(self, commit: &CommitId) -> Loaded {
        let policies = Policies {
            windows: match self.of_policies.as_slice() {
                [] => self.windows.into_iter().map(|window| window.placed.policy).collect(),
                _ => Vec::new(),
            },
            freezes: self.freezes.into_iter().map(|freeze| freeze.placed.policy).collect(),
        };
        let mut problems = self.of_none;
        problems.extend_from_slice(&self.of_policies);
        let mut clusters = BTreeMap::new();
        for (name, folder) in self.folders {
            let sound = folder.problems.is_empty() && self.of_policies.is_empty();
            let verdict = match folder.read.cluster.filter(|_| sound) {
                Some(cluster) => Ok(Desired { commit: commit.clone(), cluster, policies: policies.clone() }),
                None => Err(capped(
                    folder.problems.iter().chain(&self.of_policies).take(MAX_HELD).cloned().collect(),
                    MAX_PER_CLUSTER,
                )),
            };
            problems.extend(folder.problems);
            clusters.insert(name.to_owned(), verdict);
        }
        problems.sort_by(in_order);
        Loaded { clusters, policies, problems: capped(problems, MAX_PER_COMMIT) }
    }
}

fn in_order(left: &Problem, right: &Problem) -> std::cmp::Ordering {
    (&left.file, left.line.unwrap_or(u32::MAX), left.column).cmp(&(
        &right.file,
        right.line.unwrap_or(u32::MAX),
        right.column,
    ))
}

/// The text of a file; an error if it may not be read.
fn readable<'f>(path: &str, file: &'f File) -> Result<&'f str, Box<Problem>> {
    let text = match file {
        File::Refused(why) => return Err(Box::new(Problem::of(path, why))),
        File::Text(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
    };
    let lone = |text: &str| text.split('\r').skip(1).any(|rest| !rest.starts_with('\n'));
    let problem = if text.len() > MAX_FILE_BYTES {
        Problem::of(path, format_args!("has {} bytes; at most {MAX_FILE_BYTES} are read", text.len()))
    } else if text.contains('\0') {
        Problem::of(path, "holds a zero byte: this is not a text file")
    } else if lone(text) {
        Problem::of(path, "holds a carriage return without a line feed")
            .fixed_by("end lines with a line feed")
    } else {
        return Ok(text);
    };
    Err(Box::new(problem))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::model::desired::{
        AtClose, Cluster, DrainWhen, ForeignCordon, Limit, Mode, Opens, PackageSource, Pool, Provider,
    };

    const HEADER: &str =
        "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nmetadata: {name: a, labels: {ring: prod}}\n";
    const SPEC: &str = "spec: {kubernetes: {version: v1.36.3}, controlPlane: {provider: kubeadm}}\n";

    /// Reads one cluster file and one policy file that must both be valid.
    fn check(spec: &str, policy: &str) -> (Cluster, Policies) {
        let mut files = BTreeMap::new();
        files.insert("desired-state/a/cluster.yaml".to_owned(), File::Text(format!("{HEADER}{spec}")));
        if !policy.is_empty() {
            files.insert("policies/a.yaml".to_owned(), File::Text(policy.to_owned()));
        }
        let mut loaded = load(&CommitId("0".into()), &files);
        let told: Vec<_> = loaded.problems.iter().map(Problem::to_string).collect();
        assert_eq!(told.concat(), "");
        let desired = loaded.clusters.remove("a").unwrap().unwrap();
        (desired.cluster, desired.policies)
    }

    fn one(mut pools: Vec<Pool>) -> Pool {
        assert_eq!(pools.len(), 1);
        pools.remove(0)
    }

    #[test]
    fn what_is_left_out_is_cautious() {
        let spec =
            SPEC.replace("provider: kubeadm}", "provider: external}, nodePools: [{name: all, selector: {}}]");
        let (cluster, _) = check(&spec, "");
        assert_eq!(
            (cluster.mode, cluster.max_unavailable, cluster.etcd_unproven),
            (Mode::Observe, None, None)
        );
        let Pool {
            provider,
            canary,
            soak,
            max_unavailable,
            max_unavailable_per_zone,
            foreign_cordon,
            drain,
            ..
        } = one(cluster.pools);
        assert_eq!((provider, canary, soak), (Provider::External, 1, SignedDuration::from_mins(5)));
        assert_eq!((max_unavailable, max_unavailable_per_zone), (Limit::Count(1), None));
        assert_eq!((foreign_cordon, drain.when), (ForeignCordon::Skip, DrainWhen::Always));
        assert_eq!((drain.delete_empty_dir_data, drain.implicit_budgets), (false, true));
        assert_eq!(
            (drain.timeout, drain.jobs),
            (SignedDuration::from_mins(30), SignedDuration::from_hours(2))
        );
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let (cluster, _) = check(
            r#"spec:
  mode: act
  kubernetes: {version: "1.36.3"}
  maxUnavailable: 3
  controlPlane:
    provider: kubeadm
    kubeadm: {from: "/opt/kubernetes/{version}/", image: "registry.example.com/windlass:0.1.0", ignorePreflightErrors: [Swap]}
  etcd: {unproven: "velero, nightly"}
  nodePools:
    - name: general
      selector: {matchExpressions: [{key: pool, operator: NotIn, values: [batch, ""]}]}
      provider: external
      canary: 0
      maxUnavailable: 10%
      maxUnavailablePerZone: 1
      foreignCordon: upgrade
      drain: {for: minor, timeout: 1h30m, deleteEmptyDirData: true, onBlocked: surge, jobs: 0s, implicitBudgets: false, recovery: 45m, onNotRecovered: continue}
"#,
            "",
        );
        assert_eq!(cluster.version.to_string(), "v1.36.3");
        let kubeadm = cluster.control_plane.kubeadm;
        assert_eq!(kubeadm.from, PackageSource::Folder("/opt/kubernetes/{version}".into()));
        assert_eq!(kubeadm.ignore_preflight_errors, ["Swap"]);
        assert_eq!(cluster.etcd_unproven.as_deref(), Some("velero, nightly"));
        let pool = one(cluster.pools);
        assert_eq!(
            (pool.max_unavailable, pool.canary, pool.provider),
            (Limit::Percent(10), 0, Provider::External)
        );
        assert_eq!((pool.drain.when, pool.drain.jobs), (DrainWhen::Minor, SignedDuration::ZERO));
        assert_eq!(pool.foreign_cordon, ForeignCordon::Upgrade);
        assert_eq!(pool.drain.on_blocked, crate::model::desired::OnBlocked::Surge);
        let recovery = (pool.drain.recovery, pool.drain.on_not_recovered);
        assert_eq!(
            recovery,
            (SignedDuration::from_mins(45), crate::model::desired::OnNotRecovered::Continue)
        );
        for (label, matches) in
            [(None, true), (Some("general"), true), (Some("batch"), false), (Some(""), false)]
        {
            assert_eq!(pool.selector.matches(|_| label), matches, "{label:?}");
        }
    }

    #[test]
    fn policies_are_read_as_written() {
        let (_, policies) = check(
            SPEC,
            r#"apiVersion: windlass.dev/v1alpha1
kind: MaintenanceWindow
metadata: {name: prod-nights}
spec:
  clusters: {matchLabels: {ring: prod}}
  timeZone: Europe/Berlin
  opens: [{days: [Tue, Sun], at: 22:00, for: 6h}, {at: "02:30", for: 45m}]
  atClose: finishBatch
  hardLimit: 1h
---
apiVersion: windlass.dev/v1alpha1
kind: Freeze
metadata: {name: year-end}
spec: {clusters: {}, from: "2026-12-18T00:00", until: "2027-01-04T08:00", timeZone: Europe/Berlin,
       reason: year-end trading, except: [patch]}
"#,
        );
        let window = policies.windows.first().unwrap();
        assert_eq!(
            (window.at_close, window.hard_limit),
            (AtClose::FinishBatch, Some(SignedDuration::from_hours(1)))
        );
        let Opens::Weekly(openings) = &window.opens else { panic!("weekly") };
        let said: Vec<_> =
            openings.iter().map(|o| format!("{:?} {} {}", o.days, o.at, o.length.as_mins())).collect();
        assert_eq!(said, ["[Tuesday, Sunday] 22:00:00 360", "[] 02:30:00 45"]);
        let freeze = policies.freezes.first().unwrap();
        assert_eq!((freeze.until.to_string().as_str(), freeze.except_patch), ("2027-01-04T08:00:00", true));
    }

    #[test]
    fn a_window_without_a_close_has_the_default() {
        let window = "apiVersion: windlass.dev/v1alpha1\nkind: MaintenanceWindow\nmetadata: {name: x}\nspec: {clusters: {}, opens: always}\n";
        let (_, policies) = check(SPEC, window);
        let window = policies.windows.first().unwrap();
        assert_eq!(
            (&window.opens, window.at_close, window.hard_limit),
            (&Opens::Always, AtClose::FinishNode, None)
        );
    }
}
