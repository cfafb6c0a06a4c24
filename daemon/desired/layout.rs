//! The role of each file of the repository, by its path alone.

use super::fields::not_built;
use super::helm::is_values;
use super::problem::quoted;
use super::values::is_name;

const UNREADABLE: &str = "rename it; names are UTF-8 text without control characters and backslashes";

/// The role of a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileRole<'p> {
    /// The cluster file of this folder.
    Cluster(&'p str),
    Policy,
    /// Manifests of an addon, in this folder of a cluster.
    Manifests(&'p str),
    /// A file of a chart, or of the values of one, in this folder of a cluster.
    Chart(&'p str),
    /// A file that looks like one of ours and is not read, with the folder of the cluster it is in, if any; and why.
    Stray(Option<&'p str>, String),
    /// A file of people or other tools (`README.md`, `OWNERS`, `.gitkeep`), with the folder of the cluster it is in,
    /// if any.
    Foreign(Option<&'p str>),
}

/// The role of a path. `refused` is true if its content was not given (a link, too large, not text).
pub(super) fn role(path: &str, refused: bool) -> FileRole<'_> {
    let parts: Vec<&str> = path.split('/').collect();
    let names: Vec<&str> = parts.iter().copied().filter(|part| *part != ".helmignore").collect();
    if names.iter().any(|part| part.starts_with('.')) {
        return FileRole::Foreign(None);
    }
    match parts.as_slice() {
        ["desired-state", folder, "cluster.yaml"] => FileRole::Cluster(folder),
        ["desired-state", folder, rest @ ..] if !rest.is_empty() => in_cluster(folder, rest, refused),
        ["desired-state" | "policies"] => {
            FileRole::Stray(None, "`desired-state` and `policies` must be folders".into())
        }
        ["desired-state", file] => beside_clusters(file, refused),
        ["policies", file] if is_of_kustomize(file) => FileRole::Stray(None, KUSTOMIZE.into()),
        ["policies", file] if file.strip_suffix(".yaml").is_some() => FileRole::Policy,
        ["policies", file] if is_yaml(file) => {
            FileRole::Stray(None, "policies are read from files that end in `.yaml`; rename it".into())
        }
        ["policies", .., file] if is_yaml(file) => FileRole::Stray(
            None,
            "policies are read from `policies/` itself, not from folders below it".into(),
        ),
        ["policies", .., name] if refused && is_garbled(name) => FileRole::Stray(None, UNREADABLE.into()),
        ["policies", folder] if refused && is_name(folder) => {
            FileRole::Stray(None, "policies are read from files in `policies/` only".into())
        }
        _ => FileRole::Foreign(None),
    }
}

fn in_cluster<'p>(folder: &'p str, rest: &[&str], refused: bool) -> FileRole<'p> {
    let stray = |message: String| FileRole::Stray(Some(folder), message);
    match rest {
        ["plan.lock"] => stray(not_built("plan.lock")),
        ["addons", inner @ .., _] if inner.iter().skip(1).any(|part| *part == "chart") => {
            FileRole::Chart(folder)
        }
        [.., file] if is_of_kustomize(file) => stray(KUSTOMIZE.into()),
        ["addons", _, .., file] if is_values(file) => FileRole::Chart(folder),
        ["addons"] => stray("`addons` must be a folder".into()),
        ["addons", .., file] if is_yaml(file) => FileRole::Manifests(folder),
        ["addons", .., name] if refused && is_name(name) => {
            stray("the folders of addons hold plain files: links are not followed".into())
        }
        ["cluster.yml"] => stray("a cluster is read from `cluster.yaml`; rename it".into()),
        [.., file] if is_yaml(file) => {
            stray(format!("unexpected file {}: a cluster's folder holds `cluster.yaml`", quoted(file)))
        }
        [.., name] if refused && is_garbled(name) => stray(UNREADABLE.into()),
        _ => FileRole::Foreign(Some(folder)),
    }
}

fn beside_clusters(file: &str, refused: bool) -> FileRole<'_> {
    if is_of_kustomize(file) {
        FileRole::Stray(None, KUSTOMIZE.into())
    } else if is_yaml(file) {
        FileRole::Stray(
            None,
            "a cluster is read from `desired-state/<cluster>/cluster.yaml`; move it into a folder".into(),
        )
    } else if refused && is_name(file) {
        // A link in the place of a cluster's folder is a problem; a refused README.md is not.
        FileRole::Stray(Some(file), "a cluster must be a folder with `cluster.yaml`".into())
    } else if refused && is_garbled(file) {
        // It cannot be told what the file is about, so it counts as a cluster whose folder has a wrong name.
        FileRole::Foreign(Some(file))
    } else {
        FileRole::Foreign(None)
    }
}

/// True if part of the name could not be decoded: it may be the name of a cluster's folder.
fn is_garbled(name: &str) -> bool {
    name.contains('\u{fffd}')
}

/// Its content would be read as it is, without what kustomize would change of it.
const KUSTOMIZE: &str = "this is a file of kustomize, and Windlass reads every file as it is committed; move it out of this folder";

fn is_of_kustomize(file: &str) -> bool {
    matches!(file, "kustomization.yaml" | "kustomization.yml" | "Kustomization")
}

fn is_yaml(file: &str) -> bool {
    let lower = file.to_ascii_lowercase();
    [".yaml", ".yml"].iter().any(|end| lower.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_a_role() {
        let stray = |role: FileRole<'_>| match role {
            FileRole::Stray(folder, _) => folder.map(str::to_owned),
            other => panic!("{other:?}"),
        };
        assert_eq!(role("desired-state/demo/cluster.yaml", false), FileRole::Cluster("demo"));
        assert_eq!(role("policies/a.yaml", false), FileRole::Policy);
        assert_eq!(role("desired-state/demo/addons/x/y/a.yml", false), FileRole::Manifests("demo"));
        assert_eq!(role("desired-state/demo/addons/x/README.md", true), FileRole::Foreign(Some("demo")));
        for path in ["x/values.yaml", "x/values-eu.yaml", "x/chart/templates/a.yaml", "x/chart/.helmignore"] {
            let path = format!("desired-state/demo/addons/{path}");
            assert_eq!(role(&path, false), FileRole::Chart("demo"), "{path}");
        }
        assert_eq!(stray(role("desired-state/demo/addons/x/y", true)), Some("demo".into()));
        for path in [
            "README.md",
            "policies/README.md",
            "policies/.x.yaml",
            "desired-state/OWNERS",
            ".github/x.yaml",
            "daemon/x.yaml",
        ] {
            assert_eq!(role(path, false), FileRole::Foreign(None), "{path}");
        }
        assert_eq!(role("desired-state/demo/README.md", true), FileRole::Foreign(Some("demo")));
        for path in
            ["plan.lock", "addons/x/kustomization.yaml", "cluster.yml", "Cluster.yaml", "x/cluster.yaml"]
        {
            assert_eq!(
                stray(role(&format!("desired-state/demo/{path}"), false)),
                Some("demo".into()),
                "{path}"
            );
        }
        for path in ["policies/a.yml", "policies/sub/a.yaml", "desired-state/cluster.yaml", "policies"] {
            assert_eq!(stray(role(path, false)), None, "{path}");
        }
        assert_eq!(stray(role("desired-state/prod", true)), Some("prod".into()));
        for (path, folder) in [
            ("desired-state/demo/x\u{fffd}", Some("demo")),
            ("policies/\u{fffd}", None),
            ("policies/a/\u{fffd}", None),
        ] {
            assert_eq!(stray(role(path, true)).as_deref(), folder, "{path}");
        }
        assert_eq!(role("desired-state/d\u{fffd}", true), FileRole::Foreign(Some("d\u{fffd}")));
    }
}
