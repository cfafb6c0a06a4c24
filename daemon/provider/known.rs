//! Addons that Windlass knows: which of their versions work with which Kubernetes by what their projects say, and what kubeadm installs
//! by itself. The data is `compatibility.yaml`, which people review; each row has its source.

use std::sync::OnceLock;

use serde::Deserialize;

pub use crate::model::addon::numbers;
use crate::model::addon::{AddonKind, repository, requirement};
use crate::model::installed::InstalledAddon;
use crate::model::version::{Maturity, Version};

const DATA: &str = include_str!("compatibility.yaml");

#[derive(Debug, Deserialize)]
pub struct KnownAddon {
    pub addon: String,
    /// The ends of repositories: `coredns/coredns`.
    pub images: Vec<String>,
    #[serde(default)]
    pub versions: Vec<Statement>,
    /// From how far back its versions are reached.
    #[serde(default)]
    pub upgrades: Vec<Reach>,
    /// What people have to do themselves for some upgrades.
    #[serde(default)]
    pub notices: Vec<UpgradeNotice>,
    /// How far it may be from the API servers, by its version.
    #[serde(default)]
    pub skew: Vec<Skew>,
    /// What kubeadm installs with a minor.
    #[serde(default)]
    pub kubeadm: Vec<Installed>,
}

/// What a project says of some of its versions.
#[derive(Debug, Deserialize)]
pub struct Statement {
    pub versions: String,
    pub kubernetes: String,
}

/// From how many minors back a project supports the upgrade to some of its versions.
#[derive(Debug, Deserialize)]
pub struct Reach {
    pub to: String,
    pub minors: u64,
    /// True if the way back is tested over as many.
    #[serde(default)]
    pub back: bool,
}

/// What a project asks people to do themselves for an upgrade, or a way back, between some versions.
#[derive(Debug, Deserialize)]
pub struct UpgradeNotice {
    from: String,
    to: String,
    /// True if it is about moves to another minor only.
    #[serde(default)]
    minor: bool,
    /// The kinds of addons that it concerns; empty for all.
    #[serde(default)]
    kinds: Vec<AddonKind>,
    pub text: String,
}

/// It is never newer than an API server, and at most so many minors older. Its versions are those of Kubernetes.
#[derive(Debug, Deserialize)]
pub struct Skew {
    pub versions: String,
    pub older: u64,
}

#[derive(Debug, Deserialize)]
pub struct Installed {
    /// `1.36`.
    pub kubernetes: String,
    pub version: String,
    /// What the first patches of the minor install, where that is older.
    #[serde(default)]
    pub first: Option<String>,
}

/// What kubeadm installs with this version of Kubernetes; `None` if that is not known.
pub fn installed_with(addon: InstalledAddon, to: &Version) -> Option<String> {
    match addon {
        InstalledAddon::KubeProxy => Some(to.to_string()),
        InstalledAddon::CoreDns => row_of(addon, to).map(|row| row.version.clone()),
    }
}

/// What every kubeadm of this minor installs at least; `None` if that is not known, as before the release of a minor.
pub fn installed_at_least(addon: InstalledAddon, to: &Version) -> Option<String> {
    match addon {
        InstalledAddon::KubeProxy => Some(to.to_string()),
        InstalledAddon::CoreDns => {
            let row = row_of(addon, to).filter(|_| to.maturity == Maturity::Release)?;
            Some(row.first.as_ref().unwrap_or(&row.version).clone())
        }
    }
}

fn row_of(addon: InstalledAddon, to: &Version) -> Option<&'static Installed> {
    let known = all_known().iter().find(|known| known.addon == addon.name())?;
    let minor = format!("{}.{}", to.major, to.minor);
    known.kubeadm.iter().find(|row| row.kubernetes == minor)
}

fn all_known() -> &'static [KnownAddon] {
    static KNOWN: OnceLock<Vec<KnownAddon>> = OnceLock::new();
    // A test reads the data, so what a user runs can be read.
    KNOWN.get_or_init(|| serde_saphyr::from_str(DATA).unwrap_or_default())
}

/// What is known of the addon with this image.
pub fn known_of(image: &str) -> Option<&'static KnownAddon> {
    let repository = repository(image);
    let is = |end: &String| {
        repository.strip_suffix(end.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    };
    all_known().iter().find(|known| known.images.iter().any(is))
}

/// The first version of a minor.
pub fn of_minor(minor: u16) -> semver::Version {
    semver::Version::new(1, u64::from(minor), 0)
}

impl KnownAddon {
    /// What is known of the way to this version.
    pub fn reach(&self, to: &semver::Version) -> Option<&Reach> {
        self.upgrades.iter().find(|row| requirement(&row.to).is_some_and(|range| range.matches(to)))
    }
}

impl UpgradeNotice {
    /// True if it concerns a move between these versions.
    pub fn is_about(&self, kind: AddonKind, from: &semver::Version, to: &semver::Version) -> bool {
        let within = |range: &str, version| requirement(range).is_some_and(|range| range.matches(version));
        let minor = (from.major, from.minor) != (to.major, to.minor);
        (self.kinds.is_empty() || self.kinds.contains(&kind))
            && (minor || !self.minor)
            && within(&self.from, from)
            && within(&self.to, to)
    }
}

impl KnownAddon {
    /// How far this version may be from the API servers; `None` if nothing is said of it.
    pub fn skew_of(&self, version: &semver::Version) -> Option<&Skew> {
        self.skew.iter().find(|row| requirement(&row.versions).is_some_and(|range| range.matches(version)))
    }
}

impl Statement {
    /// True if it is about this version of the addon.
    pub fn is_about(&self, version: &semver::Version) -> bool {
        requirement(&self.versions).is_some_and(|range| range.matches(version))
    }

    /// The first version that it is about.
    pub fn first(&self) -> Option<semver::Version> {
        let range = requirement(&self.versions)?;
        let first = range.comparators.first()?;
        Some(semver::Version::new(first.major, first.minor.unwrap_or(0), first.patch.unwrap_or(0)))
    }

    /// True if it names this minor of Kubernetes 1.
    pub fn allows(&self, minor: u16) -> bool {
        requirement(&self.kubernetes).is_some_and(|range| range.matches(&of_minor(minor)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_data_can_be_read_and_has_a_source() {
        assert!(all_known().len() >= 12, "{} addons", all_known().len());
        for known in all_known() {
            assert!(!known.images.is_empty(), "{}", known.addon);
            for row in &known.versions {
                assert!(
                    requirement(&row.versions).is_some() && requirement(&row.kubernetes).is_some(),
                    "{row:?}"
                );
            }
            for row in &known.upgrades {
                assert!(requirement(&row.to).is_some() && row.minors > 0, "{row:?}");
            }
            for row in &known.notices {
                assert!(requirement(&row.from).is_some() && requirement(&row.to).is_some(), "{row:?}");
            }
            for row in &known.skew {
                assert!(requirement(&row.versions).is_some() && row.older > 0, "{row:?}");
            }
            for row in &known.kubeadm {
                assert!(numbers(&row.version).is_some() && row.kubernetes.starts_with("1."), "{row:?}");
                let first = row.first.as_deref().map(numbers);
                assert!(first.is_none_or(|first| first < numbers(&row.version)), "{row:?}");
            }
        }
        let rows: Vec<serde_json::Value> = serde_saphyr::from_str(DATA).unwrap();
        let mut stated = 0;
        for known in &rows {
            let lists = ["versions", "kubeadm", "upgrades", "skew", "notices"]
                .map(|list| known[list].as_array().cloned().unwrap_or_default());
            for row in lists.iter().flatten() {
                let source = row["source"].as_str().unwrap_or_default();
                let checked = row["checked"].as_str().unwrap_or_default();
                assert!(source.starts_with("https://"), "{row}");
                assert!(checked.parse::<jiff::civil::Date>().is_ok(), "{row}");
                stated += 1;
            }
        }
        assert!(stated > 60, "{stated} rows");
    }

    #[test]
    fn a_notice_is_about_some_moves() {
        let about = |image: &str, kind, from: &str, to: &str| -> Vec<&str> {
            let (from, to) = (numbers(from).unwrap(), numbers(to).unwrap());
            let notices = known_of(image).unwrap().notices.iter();
            let words = notices.filter(|notice| notice.is_about(kind, &from, &to));
            words.map(|notice| notice.text.split_whitespace().next().unwrap()).collect()
        };
        let (cilium, calico) = ("quay.io/cilium/cilium:1", "docker.io/calico/node:1");
        for (image, kind, from, to, first_words) in [
            (cilium, AddonKind::Helm, "1.17.9", "1.18.3", vec!["a", "the"]),
            (cilium, AddonKind::Image, "1.18.1", "1.18.3", vec![]),
            (cilium, AddonKind::Helm, "1.18.1", "1.17.9", vec!["a", "the"]),
            (calico, AddonKind::Manifests, "3.27.4", "3.28.0", vec!["the", "use"]),
            (calico, AddonKind::Helm, "3.31.0", "3.32.0", vec!["neither", "use"]),
            (calico, AddonKind::Image, "3.32.0", "3.33.0", vec!["neither", "use", "most"]),
            (calico, AddonKind::Image, "3.28.0", "3.27.4", vec!["neither", "use"]),
        ] {
            assert_eq!(about(image, kind, from, to), first_words, "{image} {kind:?} {from} {to}");
        }
    }

    #[test]
    fn what_kubeadm_installs_depends_on_the_version() {
        let least = |addon, to: &str| installed_at_least(addon, &to.parse().unwrap());
        let (dns, proxy) = (InstalledAddon::CoreDns, InstalledAddon::KubeProxy);
        for (addon, to, version) in [
            (proxy, "v1.36.3", Some("v1.36.3")),
            (proxy, "v1.99.0", Some("v1.99.0")),
            (dns, "v1.36.3", Some("v1.14.2")),
            // The first patches of 1.31 install an older one, and no patch asks for less.
            (dns, "v1.31.0", Some("v1.11.1")),
            (dns, "v1.31.9", Some("v1.11.1")),
            // What a candidate installs may not be what the release does.
            (dns, "v1.37.0-rc.1", None),
            (dns, "v1.99.0", None),
        ] {
            assert_eq!(least(addon, to).as_deref(), version, "{} {to}", addon.name());
        }
    }

    #[test]
    fn images_are_known_by_the_end_of_their_repository() {
        let name = |image| known_of(image).map(|known| known.addon.as_str());
        assert_eq!(name("registry.k8s.io/coredns/coredns:v1.11.3"), Some("coredns"));
        assert_eq!(name("coredns/coredns:1.11.3"), Some("coredns"));
        assert_eq!(name("mirror.example.com:5000/quay/cilium/cilium:v1.18.3@sha256:00"), Some("cilium"));
        assert_eq!(name("example.com/notcoredns/coredns:1"), None);
    }
}
