//! Reads files into resources: it reads each document's header, reads the document by its kind, and refuses a
//! document in the wrong place.

use super::cluster::{ClusterFile, cluster};
use super::fields::{Fields, listed, nearest, not_built};
use super::policy::{Placed, freeze, window};
use super::problem::{Problem, Problems, quoted};
use super::tree::{YamlNode, documents};
use super::values::text;
use crate::model::desired::{Freeze, Window};

const API_VERSION: &str = "windlass.dev/v1alpha1";
const KINDS: &[&str] = &["Cluster", "MaintenanceWindow", "Freeze"];
/// Kinds that the documents name and this version does not have.
const LATER_KINDS: &[&str] = &["Override", "Approval", "DisruptionLimit"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum ResourceKind {
    Cluster,
    MaintenanceWindow,
    Freeze,
}

/// The policies of a file; a document with a problem is left out.
#[derive(Default)]
pub(super) struct PolicyFile {
    pub(super) windows: Vec<Placed<Window>>,
    pub(super) freezes: Vec<Placed<Freeze>>,
    pub(super) problems: Vec<Problem>,
}

/// Reads `desired-state/<folder>/cluster.yaml`: one document, one cluster.
pub(super) fn cluster_file(folder: &str, path: &str, text: &str) -> (ClusterFile, Vec<Problem>) {
    let mut problems = Problems::new(path, text);
    let documents = documents(text, &mut problems);
    let mut read = ClusterFile::default();
    match documents.as_slice() {
        [] => nothing_in(&mut problems, "the file describes no cluster"),
        [node, more @ ..] => {
            if let Some(second) = more.first() {
                problems.push_fix(
                    second.place,
                    "a second document in a cluster's file",
                    "give each cluster its own folder; policies belong in `policies/`",
                );
            }
            read = one_cluster(folder, node, &mut problems);
        }
    }
    (read, problems.into_list())
}

fn one_cluster(folder: &str, node: &YamlNode, problems: &mut Problems<'_>) -> ClusterFile {
    let Some(mut fields) = Fields::open(node, problems) else { return ClusterFile::default() };
    match header(&mut fields) {
        Some(ResourceKind::Cluster) => {
            let read = cluster(folder, &mut fields);
            fields.close(&[]);
            read
        }
        Some(ResourceKind::MaintenanceWindow | ResourceKind::Freeze) => {
            let place = fields.place_of("kind");
            fields.problems().push_fix(place, "a policy in a cluster's folder", "move it into `policies/`");
            ClusterFile::default()
        }
        None => {
            kindless(fields);
            ClusterFile::default()
        }
    }
}

/// Reads a file of `policies/`: any number of documents.
pub(super) fn policy_file(path: &str, text: &str) -> PolicyFile {
    let mut problems = Problems::new(path, text);
    let documents = documents(text, &mut problems);
    if documents.is_empty() {
        nothing_in(&mut problems, "the file holds no policy");
    }
    let mut file = PolicyFile::default();
    for node in &documents {
        policy(node, &mut file, &mut problems);
    }
    file.problems = problems.into_list();
    file
}

fn policy(node: &YamlNode, file: &mut PolicyFile, problems: &mut Problems<'_>) {
    let before = problems.count();
    let Some(mut fields) = Fields::open(node, problems) else { return };
    let (mut windows, mut freezes) = (None, None);
    match header(&mut fields) {
        Some(ResourceKind::MaintenanceWindow) => windows = window(&mut fields),
        Some(ResourceKind::Freeze) => freezes = freeze(&mut fields),
        Some(ResourceKind::Cluster) => {
            let place = fields.place_of("kind");
            fields.problems().push_fix(
                place,
                "a cluster among the policies",
                "move it to desired-state/<cluster>/cluster.yaml",
            );
            return;
        }
        None => {
            kindless(fields);
            return;
        }
    }
    fields.close(&[]);
    // A policy with a problem does not come into force in part.
    if problems.count() == before {
        file.windows.extend(windows);
        file.freezes.extend(freezes);
    }
}

/// Reads `apiVersion` and `kind`. `None` if the rest of the document cannot be judged.
fn header(fields: &mut Fields<'_, '_, '_>) -> Option<ResourceKind> {
    fields.required("apiVersion", &format!("apiVersion: {API_VERSION}"), |node, problems| {
        let version = text(node, problems)?;
        if version != API_VERSION {
            problems.push_fix(
                node.place,
                format_args!("{} is not known to this version of Windlass", quoted(version)),
                format_args!("write `{API_VERSION}`"),
            );
        }
        Some(())
    });
    fields.required("kind", "kind: Cluster", |node, problems| {
        let word = text(node, problems)?;
        match word {
            "Cluster" => return Some(ResourceKind::Cluster),
            "MaintenanceWindow" => return Some(ResourceKind::MaintenanceWindow),
            "Freeze" => return Some(ResourceKind::Freeze),
            _ => {}
        }
        let hint = nearest(word, KINDS.iter().chain(LATER_KINDS).copied());
        let unknown = format!("unknown kind {}", quoted(word));
        match hint {
            _ if LATER_KINDS.contains(&word) => {
                problems.push_fix(node.place, not_built(word), "remove the document");
            }
            Some(hint) => problems.push_meant(node.place, unknown, hint),
            None => problems.push_fix(node.place, unknown, format_args!("the kinds are {}", listed(KINDS))),
        }
        None
    })
}

/// Without a kind only the outermost keys can be judged; one of them may be the kind, misspelt.
fn kindless(mut fields: Fields<'_, '_, '_>) {
    if !fields.has("kind") {
        fields.optional("metadata", |_, _| Some(()));
        fields.optional("spec", |_, _| Some(()));
        fields.close(&[]);
    }
}

/// Reports an empty file, unless it has a document that could not be read.
fn nothing_in(problems: &mut Problems<'_>, message: &str) {
    if problems.count() == 0 {
        problems.push_file(format_args!("{message}: it is empty, or holds only comments"));
    }
}
