//! Where each file of a cluster is on the status branch, and what the path of a file means.
//!
//! Entries of a run are in the run's folder, all others in the cluster's. Both count in one sequence, so the numbers
//! give the order of everything that happened to a cluster.

/// Files per folder: GitHub and `git ls-tree` stay fast, and a new commit rewrites only small trees.
const PER_FOLDER: u64 = 1000;

pub(super) fn entry_path(cluster: &str, run: Option<&str>, seq: u64) -> String {
    let folder = seq / PER_FOLDER;
    match run {
        Some(run) => format!("{cluster}/runs/{run}/journal/{folder}/{seq:08}.yaml"),
        None => format!("{cluster}/journal/{folder}/{seq:08}.yaml"),
    }
}

pub(super) fn status_path(cluster: &str) -> String {
    format!("{cluster}/status.yaml")
}

pub(super) fn plan_path(cluster: &str, run: &str) -> String {
    format!("{cluster}/runs/{run}/plan.yaml")
}

pub(super) fn report_path(cluster: &str, run: &str) -> String {
    format!("{cluster}/runs/{run}/report.md")
}

pub(super) fn rollback_point_path(cluster: &str, id: &str) -> String {
    format!("{cluster}/rollback-points/{id}.yaml")
}

pub(super) fn evidence_path(cluster: &str, id: &str, addon: &str) -> String {
    format!("{cluster}/rollback-points/{id}/addons/{addon}/objects.yaml")
}

/// The meaning of a path below the cluster's folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PathMeaning<'a> {
    Entry,
    Plan {
        run: &'a str,
    },
    /// Written for people, never read back.
    Page,
    /// In a place where only files of Windlass may be.
    Stray,
    /// Not below the cluster's folder.
    Elsewhere,
}

pub(super) fn meaning_of<'a>(cluster: &str, path: &'a str) -> PathMeaning<'a> {
    let Some(rest) = path.strip_prefix(cluster).and_then(|rest| rest.strip_prefix('/')) else {
        return PathMeaning::Elsewhere;
    };
    let parts: Vec<&str> = rest.split('/').collect();
    match parts.as_slice() {
        ["runs", run, "plan.yaml"] => PathMeaning::Plan { run },
        ["runs", _, "report.md"] | ["rollback-points", _] => PathMeaning::Page,
        ["runs", _, "journal", _, _] | ["journal", _, _] => PathMeaning::Entry,
        ["runs" | "journal", ..] => PathMeaning::Stray,
        _ => PathMeaning::Page,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        assert_eq!(entry_path("c", Some("a-1"), 12_345), "c/runs/a-1/journal/12/00012345.yaml");
        assert_eq!(entry_path("c", None, 7), "c/journal/0/00000007.yaml");
        assert_eq!(meaning_of("c", &entry_path("c", Some("a-1"), 12_345)), PathMeaning::Entry);
        assert_eq!(meaning_of("c", &entry_path("c", None, 7)), PathMeaning::Entry);
        assert_eq!(meaning_of("c", &plan_path("c", "a-1")), PathMeaning::Plan { run: "a-1" });
        for page in [
            status_path("c"),
            report_path("c", "a-1"),
            rollback_point_path("c", "a-1"),
            evidence_path("c", "a-1", "web"),
        ] {
            assert_eq!(meaning_of("c", &page), PathMeaning::Page, "{page}");
        }
        for stray in ["c/runs/a-1/notes.txt", "c/runs/x", "c/journal/x.yaml", "c/runs/a-1/journal/1.yaml"] {
            assert_eq!(meaning_of("c", stray), PathMeaning::Stray, "{stray}");
        }
        for elsewhere in ["d/status.yaml", "cc/status.yaml", "status.yaml"] {
            assert_eq!(meaning_of("c", elsewhere), PathMeaning::Elsewhere, "{elsewhere}");
        }
    }
}
