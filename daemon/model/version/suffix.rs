//! What vendors append to a version, and which of them count. A suffix that is not in this table has no order: it may be
//! a hash, a date or a name.

/// A vendor's scheme whose suffix counts builds of one version of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scheme {
    K3s,
    Rke2,
    Gke,
    K0s,
    /// EKS Distro and EKS Anywhere, `-eks-1-33-4`. The suffix of EKS itself is a hash.
    EksDistro,
    Vmware,
    Mirantis,
    Aliyun,
    Tencent,
}

/// The text between the sign and the number. What follows the number (`-build20250910` in an image of RKE2, `-tkg.1` in
/// a release of `VMware`) is in the name of a package and in no kubelet's version, so it does not count.
const COUNTED: [(&str, Scheme); 8] = [
    ("k3s", Scheme::K3s),
    ("rke2r", Scheme::Rke2),
    ("gke.", Scheme::Gke),
    ("k0s.", Scheme::K0s),
    ("vmware.", Scheme::Vmware),
    ("mirantis-", Scheme::Mirantis),
    ("aliyun.", Scheme::Aliyun),
    ("tke.", Scheme::Tencent),
];

/// The scheme and the number of a suffix; `None` where the suffix has no order. A tag of an image cannot have a `+`, so
/// vendors write `-` there: the sign does not matter.
pub(super) fn read(suffix: &str) -> Option<(Scheme, u64)> {
    let body = suffix.strip_prefix(['-', '+'])?;
    if let Some(release) = body.strip_prefix("eks-") {
        return Some((Scheme::EksDistro, eks_distro(release)?));
    }
    let (tail, scheme) =
        COUNTED.iter().find_map(|(prefix, scheme)| Some((body.strip_prefix(prefix)?, *scheme)))?;
    Some((scheme, leading_number(tail)?))
}

/// The number at the beginning of a text, if it ends there or at a sign.
fn leading_number(text: &str) -> Option<u64> {
    let (digits, after) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let whole = after.is_empty() || after.starts_with(['-', '+', '.']);
    whole.then(|| digits.parse().ok()).flatten()
}

/// The release of EKS Distro: the third number of `1-33-4`. A hash of digits alone has no dashes.
fn eks_distro(text: &str) -> Option<u64> {
    let numbers: Option<Vec<u64>> = text.split('-').map(|part| part.parse().ok()).collect();
    match numbers?.as_slice() {
        [_, _, release] => Some(*release),
        _ => None,
    }
}
