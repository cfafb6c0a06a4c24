//! What single settings may say: names of branches and contexts, addresses, folders, the author, the image, the poll
//! interval. It knows no flags and no file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use serde_saphyr::Spanned;

use super::{DEFAULT_POLL, Given, LONGEST_POLL, RawAuthor, RawHelm, SHORTEST_POLL, Settled};
use crate::git::{Author, is_branch_name, refused_address};
use crate::model::image::image_complaint;

impl Settled<'_> {
    pub(super) fn contexts(&mut self, raw: &BTreeMap<String, Spanned<String>>) -> BTreeMap<String, String> {
        let mut contexts = BTreeMap::new();
        for (cluster, context) in raw {
            let key = format!("contexts.{cluster}");
            let Some(given) = self.given(None, "", Some(context), &key) else { continue };
            if given.value.is_empty() {
                self.wrong(&given, "is empty; name a context of the kubeconfig");
            }
            contexts.insert(cluster.clone(), given.value);
        }
        contexts
    }

    /// The author of the record's commits.
    pub(super) fn author(&mut self, raw: &RawAuthor) -> Author {
        let usual = Author { name: "Windlass".to_owned(), email: "windlass@localhost".to_owned() };
        let (mut name, mut email) = (usual.name.clone(), usual.email.clone());
        if let Some(given) = self.given(None, "", raw.name.as_ref(), "author.name") {
            name.clone_from(&given.value);
            self.in_commits(&given, &Author { name: given.value.clone(), ..usual.clone() });
        }
        if let Some(given) = self.given(None, "", raw.email.as_ref(), "author.email") {
            email.clone_from(&given.value);
            self.in_commits(&given, &Author { email: given.value.clone(), ..usual });
        }
        Author { name, email }
    }

    fn in_commits(&mut self, given: &Given<String>, author: &Author) {
        if given.value.is_empty() {
            self.wrong(given, "is empty");
        } else if !author.is_valid() {
            self.wrong(given, format_args!("`{}` cannot be in the author of a commit", given.value));
        }
    }

    pub(super) fn branch(&mut self, given: Given<String>) -> String {
        if !is_branch_name(&given.value) {
            self.wrong(&given, format_args!("`{}` is not a name that git allows for a branch", given.value));
        }
        given.value
    }

    /// A folder inside a repository: forward slashes, and no way out of it.
    pub(super) fn folder(&mut self, given: &Given<String>) -> String {
        let inside = given.value.trim_matches('/');
        let inside = if inside == "." { "" } else { inside };
        if inside.split('/').any(|part| matches!(part, ".." | ".")) || inside.contains('\\') {
            self.wrong(given, format_args!("`{}` is not a plain folder inside the repository", given.value));
        }
        inside.to_owned()
    }

    pub(super) fn poll(&mut self, given: &Given<String>) -> SignedDuration {
        let read = given.value.parse::<SignedDuration>();
        match read {
            Ok(poll) if (SHORTEST_POLL..=LONGEST_POLL).contains(&poll) => poll,
            Ok(_) => {
                self.wrong(given, format_args!("`{}` is not between 1s and 24h", given.value));
                DEFAULT_POLL
            }
            Err(_) => {
                let what = format!("`{}` is no length of time; write `60s` or `5m`", given.value);
                self.wrong(given, what);
                DEFAULT_POLL
            }
        }
    }

    /// The program helm: a path, or a name that is looked for on the `PATH`.
    pub(super) fn program(&mut self, raw: &RawHelm) -> PathBuf {
        let Some(given) = self.given(None, "", raw.program.as_ref(), "helm.program") else {
            return PathBuf::from("helm");
        };
        let path = if given.value.contains('/') {
            self.beside(Path::new(&given.value))
        } else {
            PathBuf::from(&given.value)
        };
        if given.value.is_empty() {
            self.wrong(&given, "is empty; name the program, as in /usr/local/bin/helm");
        } else if given.value.contains('/') && !path.is_file() {
            self.wrong(&given, format_args!("there is no file {}", path.display()));
        }
        path
    }

    /// The image of a Job that is root on every host: a reference that says what it runs.
    pub(super) fn image(&mut self, given: Given<String>) -> String {
        if let Some(complaint) = image_complaint(&given.value) {
            self.wrong(&given, format_args!("`{}` {complaint}", given.value));
        }
        given.value
    }

    /// An address. A local path in the settings file is relative to that file's folder, like every path there.
    pub(super) fn address(&mut self, given: Given<String>) -> String {
        if let Some(refused) = refused_address(&given.value) {
            self.wrong(&given, format_args!("cannot be used: {refused}"));
        }
        let local = given.value == "." || given.value.starts_with("./") || given.value.starts_with("../");
        if given.place.is_some() && local {
            self.beside(Path::new(&given.value)).display().to_string()
        } else {
            given.value
        }
    }
}
