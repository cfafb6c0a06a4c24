//! Addons whose versions are those of Kubernetes: kube-proxy. They are never newer than an API server, and only some minors older.

use std::collections::BTreeSet;

use super::compatible::AddonVersion;
use crate::provider::numbers;

impl AddonVersion {
    /// Of these minors of API servers, those with which Kubernetes does not support the version.
    pub(super) fn unskewed(&self, minors: &BTreeSet<u16>) -> BTreeSet<u16> {
        let against = |minor: &u16| self.out_of_skew(&BTreeSet::from([*minor])).is_some();
        minors.iter().copied().filter(against).collect()
    }

    /// Why Kubernetes does not support the version with these API servers: too new for the oldest, or too old for the newest.
    pub(super) fn out_of_skew(&self, minors: &BTreeSet<u16>) -> Option<String> {
        let (oldest, newest) = (minors.first()?, minors.last()?);
        self.known().find_map(|(known, version)| {
            let numbers = numbers(version)?;
            let (skew, own) = (known.skew_of(&numbers)?, numbers.minor);
            let (why, server) = if own > u64::from(*oldest) {
                ("newer".to_owned(), oldest)
            } else if u64::from(*newest) - own > skew.older {
                (format!("more than {} minors older", skew.older), newest)
            } else {
                return None;
            };
            Some(format!("{} 1.{own} is {why} than the API servers (1.{server})", known.addon))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(image: &str) -> AddonVersion {
        AddonVersion { version: image.to_owned(), images: vec![image.to_owned()], requires: None }
    }

    #[test]
    fn kube_proxy_is_never_newer_and_only_some_minors_older_than_an_api_server() {
        let is = "than the API servers";
        for (tag, servers, said) in [
            ("v1.36.3", &[36][..], None),
            ("v1.36.9", &[36], None),
            ("v1.33.0", &[36], None),
            ("v1.33.0", &[35, 36], None),
            ("v1.37.0", &[36], Some(format!("kube-proxy 1.37 is newer {is} (1.36)"))),
            ("v1.37.0-rc.1", &[36], Some(format!("kube-proxy 1.37 is newer {is} (1.36)"))),
            // API servers of two minors: the older one counts for a new version, the newer one for an old version.
            ("v1.36.3", &[35, 36], Some(format!("kube-proxy 1.36 is newer {is} (1.35)"))),
            ("v1.32.4", &[35, 36], Some(format!("kube-proxy 1.32 is more than 3 minors older {is} (1.36)"))),
            // Before 1.25 it may be two minors older.
            ("v1.25.0", &[28], None),
            ("v1.24.17", &[26], None),
            ("v1.24.17", &[27], Some(format!("kube-proxy 1.24 is more than 2 minors older {is} (1.27)"))),
            // Not a version that can be compared.
            ("latest", &[36], None),
        ] {
            let minors = servers.iter().copied().collect();
            let image = format!("registry.k8s.io/kube-proxy:{tag}");
            assert_eq!(version(&image).out_of_skew(&minors), said, "{tag} {servers:?}");
        }
        assert_eq!(version("quay.io/cilium/cilium:v1.99.0").out_of_skew(&BTreeSet::from([36])), None);
    }
}
