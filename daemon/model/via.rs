//! The versions through which an addon goes to the one that is asked for.

use super::addon::Addon;

/// The version of an addon of which nothing is there.
pub const NO_VERSION: &str = "none";

/// A version on the way of an addon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddonVia {
    pub version: String,
    /// As of [`Addon`].
    pub requires: Option<String>,
}

impl Addon {
    /// The versions through which it goes from the one that runs, in their order; the last is the one that is asked for.
    #[must_use]
    pub fn path_from(&self, runs: &str) -> Vec<AddonVia> {
        let last = AddonVia { version: self.version.clone(), requires: self.requires.clone() };
        let all: Vec<&AddonVia> = self.via.iter().chain([&last]).collect();
        ahead(&all, |via| &via.version, runs).into_iter().cloned().collect()
    }

    /// True if the file asks for this version, at the end or on the way.
    #[must_use]
    pub fn has_version(&self, version: &str) -> bool {
        self.version == version || self.via.iter().any(|via| via.version == version)
    }

    /// What the file says that one of its versions needs.
    #[must_use]
    pub fn requires_of(&self, version: &str) -> Option<&str> {
        if version == self.version {
            return self.requires.as_deref();
        }
        self.via.iter().find(|via| via.version == version)?.requires.as_deref()
    }
}

/// Of versions in their order, those that are ahead of the one that runs. The last one always is.
///
/// What comes before the version that runs is left out, and what does not lie between that and the last one. What is not there yet
/// begins with the last one.
pub fn ahead<'a, T>(versions: &[&'a T], name: impl Fn(&'a T) -> &'a str, runs: &str) -> Vec<&'a T> {
    let Some((last, via)) = versions.split_last() else { return Vec::new() };
    let begun = via.iter().position(|version| name(version) == runs).map_or(0, |at| at + 1);
    let begun = if runs == NO_VERSION { via.len() } else { begun };
    let (from, to) = (numbers(runs), numbers(name(last)));
    let between = |version: &&'a T| match (&from, numbers(name(version)), &to) {
        (Some(from), Some(via), Some(to)) => (*from < via && via < *to) || (*to < via && via < *from),
        _ => true,
    };
    via.iter().skip(begun).copied().filter(between).chain([*last]).collect()
}

/// `v1.12.1` and `1.12.1-build` as numbers; `None` for a version that is none.
pub fn numbers(version: &str) -> Option<semver::Version> {
    let plain = version.trim_start_matches('v');
    // What a distributor appends is no pre-release.
    let plain = plain.split(['-', '+']).next().unwrap_or(plain);
    match plain.split('.').count() {
        2 => format!("{plain}.0").parse().ok(),
        _ => plain.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::model::addon::{AddonImage, AddonSource, AddonWhen, OnFailure, WorkloadKind, WorkloadRef};

    #[test]
    fn the_path_of_an_addon_begins_after_what_runs() {
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let (d1, d2, d3) = (digest("1"), digest("2"), digest("3"));
        for (runs, via, version, path) in [
            ("1.16.4", vec!["1.17.9"], "1.18.3", vec!["1.17.9", "1.18.3"]),
            ("v1.16.4", vec!["v1.17.9"], "v1.18.3", vec!["v1.17.9", "v1.18.3"]),
            ("1.17.9", vec!["1.17.9"], "1.18.3", vec!["1.18.3"]),
            ("1.17.12", vec!["1.16.19", "1.17.9"], "1.18.3", vec!["1.18.3"]),
            ("1.18.3", vec!["1.17.9"], "1.16.4", vec!["1.17.9", "1.16.4"]),
            ("1.18.3", vec!["1.16.19", "1.17.9"], "1.17.10", vec!["1.17.10"]),
            (&d1, vec![&d2], &d3, vec![&d2, &d3]),
            (&d2, vec![&d1, &d2], &d3, vec![&d3]),
            ("unknown", vec!["1.17.9"], "1.18.3", vec!["1.17.9", "1.18.3"]),
            // What is not there yet is installed as it is asked for.
            (NO_VERSION, vec!["1.16.19", "1.17.9"], "1.18.3", vec!["1.18.3"]),
        ] {
            let addon = Addon {
                name: "a".into(),
                version: version.into(),
                via: via.iter().map(|via| AddonVia { version: (*via).into(), requires: None }).collect(),
                source: AddonSource::Image(AddonImage {
                    workload: WorkloadRef {
                        kind: WorkloadKind::Deployment,
                        namespace: "a".into(),
                        name: "a".into(),
                    },
                    container: "a".into(),
                    repository: None,
                }),
                when: AddonWhen::default(),
                after: Vec::new(),
                requires: None,
                timeout: SignedDuration::ZERO,
                on_failure: OnFailure::Halt,
            };
            let found: Vec<String> = addon.path_from(runs).into_iter().map(|via| via.version).collect();
            assert_eq!(found, path, "from {runs}");
        }
    }
}
