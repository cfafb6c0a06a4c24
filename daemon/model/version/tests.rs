//! Versions as vendors write them, each with its source, and which of two comes first.

use proptest::prelude::*;

use super::suffix::Scheme;
use super::*;

fn v(text: &str) -> Version {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What is read of a version after its numbers.
type Reading = (Maturity, Option<(Scheme, u64)>);

const RELEASE: Reading = (Maturity::Release, None);

const fn counted(scheme: Scheme, number: u64) -> Reading {
    (Maturity::Release, Some((scheme, number)))
}

const fn rc(number: u16) -> Reading {
    (Maturity::Rc(number), None)
}

/// Versions that kubelets, API servers and images bear, by who makes them.
fn read_in_the_field() -> Vec<(&'static str, Reading)> {
    use Scheme::{Aliyun, EksDistro, Gke, K0s, K3s, Mirantis, Rke2, Tencent, Vmware};
    vec![
        // kubernetes/kubernetes, tags; kubeadm, Talos, AKS, OKE, kind and minikube run these as they are.
        ("v1.36.3", RELEASE),
        ("v1.9.6", RELEASE),
        ("v1.26.8", RELEASE),
        ("v1.34.0-alpha.3", (Maturity::Alpha(3), None)),
        ("v1.30.0-beta.0", (Maturity::Beta(0), None)),
        ("v1.37.0-rc.1", rc(1)),
        ("v1.31.0-rc.0", rc(0)),
        // kubernetes/kubernetes, builds between two tags (dl.k8s.io/ci/latest.txt).
        ("v1.35.0-alpha.1.250+01c03a6a6e3c5b", (Maturity::Alpha(1), None)),
        ("v1.22.0-beta.0.77+5ac1d5ab96aab5-dirty", (Maturity::Beta(0), None)),
        ("v1.31.0-rc.0.1+5ac1d5ab96aab5", rc(0)),
        ("v1.29.3-4+ab12cd34ef56ab-dirty", RELEASE),
        // k3s-io/k3s, releases.
        ("v1.34.1+k3s1", counted(K3s, 1)),
        ("v1.29.1+k3s2", counted(K3s, 2)),
        ("v1.18.10-rc1+k3s1", (Maturity::Rc(1), Some((K3s, 1)))),
        ("v1.24.9-rc1+k3s1", (Maturity::Rc(1), Some((K3s, 1)))),
        ("v1.19.1-alpha1+k3s1", (Maturity::Alpha(1), Some((K3s, 1)))),
        ("v1.17.4+k3s-44a5f6c1", RELEASE),
        // rancher/k3s on Docker Hub, tags of images.
        ("v1.34.1-k3s1", counted(K3s, 1)),
        ("v1.27.1-rc1-k3s1", (Maturity::Rc(1), Some((K3s, 1)))),
        // rancher/rke2, releases.
        ("v1.35.3+rke2r3", counted(Rke2, 3)),
        ("v1.24.4+rke2r1", counted(Rke2, 1)),
        ("v1.20.4-rc1+rke2r1", (Maturity::Rc(1), Some((Rke2, 1)))),
        ("v1.18.4-beta14+rke2", (Maturity::Beta(14), None)),
        ("v1.18.4-alpha13+rke2", (Maturity::Alpha(13), None)),
        // rancher/hardened-kubernetes, tags of the images of its static pods.
        ("v1.34.1-rke2r1-build20250910", counted(Rke2, 1)),
        ("v1.24.4-rke2r1-build20220818", counted(Rke2, 1)),
        // awslabs/amazon-eks-ami, changelog; the control plane of the same cluster bears another hash.
        ("v1.33.5-eks-113cf36", RELEASE),
        ("v1.33.5-eks-3025e55", RELEASE),
        ("v1.11.10-eks-7f15ca", RELEASE),
        ("v1.29.0-eks-680e576", RELEASE),
        ("v1.24.17-eks-1552412", RELEASE),
        // aws/eks-distro and aws/eks-anywhere, releases.
        ("v1.21.2-eks-1-21-4", counted(EksDistro, 4)),
        ("v1.28.3-eks-1-28-9", counted(EksDistro, 9)),
        ("v1.35.2-eks-1-35-8", counted(EksDistro, 8)),
        ("v2.7.0-eks-1-26-latest", RELEASE),
        // GKE, release notes; Google Distributed Cloud.
        ("v1.33.4-gke.1350000", counted(Gke, 1_350_000)),
        ("v1.11.3-gke.18", counted(Gke, 18)),
        ("v1.14.10-gke.27", counted(Gke, 27)),
        ("v1.20.10-gke.2100", counted(Gke, 2100)),
        ("v1.28.5-gke.1200", counted(Gke, 1200)),
        // AKS, hotfixes of hyperkube in 2020 and virtual nodes (virtual-kubelet/azure-aci#564).
        ("v1.16.9-hotfix.20200529", RELEASE),
        ("v1.19.10-vk-azure-aci-1.4.16", RELEASE),
        // VMware Tanzu, bills of material and releases.
        ("v1.21.2+vmware.1", counted(Vmware, 1)),
        ("v1.23.8+vmware.2", counted(Vmware, 2)),
        ("v1.23.10+vmware.1-tkg.1", counted(Vmware, 1)),
        ("v1.33.6+vmware.1-fips-vkr.2", counted(Vmware, 1)),
        ("v1.23.8+vmware.2-tkg.2-zshippable", counted(Vmware, 2)),
        // k0sproject/k0s, releases; the kubelet says only `+k0s`.
        ("v1.27.2+k0s.0", counted(K0s, 0)),
        ("v1.23.6+k0s.1", counted(K0s, 1)),
        ("v1.27.2+k0s", RELEASE),
        // Mirantis Kubernetes Engine, and Docker Enterprise before it.
        ("v1.27.7-mirantis-1", counted(Mirantis, 1)),
        ("v1.18.10-mirantis-1", counted(Mirantis, 1)),
        ("v1.14.8-docker-1", RELEASE),
        // Alibaba Cloud ACK, Tencent TKE, Huawei CCE.
        ("v1.26.3-aliyun.1", counted(Aliyun, 1)),
        ("v1.9.3-aliyun.1", counted(Aliyun, 1)),
        ("v1.22.5-tke.9", counted(Tencent, 9)),
        ("v1.20.6-tke.27", counted(Tencent, 27)),
        ("v1.25.3-r0-25.1.4", RELEASE),
        // OpenShift: the hash of a commit.
        ("v1.30.4+de5aa81", RELEASE),
        ("v1.11.0+d4cacc0", RELEASE),
        ("v1.27.6+f67aeb3", RELEASE),
        // IBM Cloud Kubernetes Service, Rancher's hyperkube, Liqo.
        ("v1.30.4+IKS", RELEASE),
        ("v1.24.4-rancher1", RELEASE),
        ("v1.25.0-liqo-v0.8.0", RELEASE),
    ]
}

#[test]
fn versions_of_vendors_are_read_and_read_back_as_they_were_written() {
    let rows = read_in_the_field();
    assert!(rows.len() >= 60, "{}", rows.len());
    for (text, reading) in rows {
        let version = v(text);
        assert_eq!((version.maturity, suffix::read(version.suffix())), reading, "{text}");
        assert_eq!(version.to_string(), text);
        let numbers = v(text.split(['-', '+']).next().unwrap());
        let same = (version.major, version.minor, version.patch);
        assert_eq!(same, (numbers.major, numbers.minor, numbers.patch), "{text}");
    }
    assert_eq!(v("1.29.4").to_string(), "v1.29.4");
}

#[test]
fn what_is_not_a_version_is_refused() {
    for text in [
        "",
        "v",
        "1",
        "v1.x.3",
        "1.30.",
        "1.30.1.2",
        "v1.30.1-",
        "v1.030.1",
        "stable-1.29",
        "v1.30.1 ",
        "v1.30.1/..",
        "v99999.1.1",
        // A kubelet of KWOK, a virtual kubelet of Azure, and a build without its variables.
        "kwok-v0.6.0",
        "v1.15.2-vk-N/A",
        "v0.0.0-master+$Format:%H$",
    ] {
        assert!(matches!(text.parse::<Version>(), Err(VersionError::Malformed(_))), "{text}");
    }
    assert_eq!("1.30".parse::<Version>(), Err(VersionError::NoPatch("1.30".into())));
}

#[test]
fn what_has_to_move_is_told_by_numbers_then_maturity_then_a_suffix_that_counts() {
    for (runs, asked, order) in [
        ("v1.9.9", "v1.30.0", Ordering::Less),
        ("v1.30.0-alpha.2", "v1.30.0-beta.0", Ordering::Less),
        ("v1.30.0-beta.0", "v1.30.0-rc.1", Ordering::Less),
        ("v1.30.0-rc.1", "v1.30.0-rc.10", Ordering::Less),
        ("v1.30.0-rc.10", "v1.30.0", Ordering::Less),
        ("v1.30.0", "v1.30.1", Ordering::Less),
        // A candidate of a vendor comes before its release.
        ("v1.34.1-rc1+k3s1", "v1.34.1+k3s1", Ordering::Less),
        ("v1.34.1-rc1+k3s1", "v1.34.1-rc2+k3s1", Ordering::Less),
        ("v1.18.4-beta14+rke2", "v1.18.4+rke2r1", Ordering::Less),
        ("v1.34.1-rc1", "v1.34.1-rc.1", Ordering::Equal),
        // One scheme that counts.
        ("v1.30.0+k3s1", "v1.30.0+k3s2", Ordering::Less),
        ("v1.30.0+k3s9", "v1.30.0+k3s10", Ordering::Less),
        ("v1.30.0+rke2r1", "v1.30.0+rke2r2", Ordering::Less),
        ("v1.34.1-rke2r1-build20250910", "v1.34.1+rke2r1", Ordering::Equal),
        ("v1.33.4-gke.999", "v1.33.4-gke.1350000", Ordering::Less),
        ("v1.28.3-eks-1-28-9", "v1.28.3-eks-1-28-10", Ordering::Less),
        ("v1.23.8+vmware.1", "v1.23.8+vmware.2", Ordering::Less),
        ("v1.23.8+vmware.2", "v1.23.8+vmware.2-tkg.1", Ordering::Equal),
        ("v1.27.2+k0s", "v1.27.2+k0s.1", Ordering::Equal),
        // Hashes, and two schemes: nobody knows which comes first, so nothing has to move.
        ("v1.33.5-eks-113cf36", "v1.33.5-eks-3025e55", Ordering::Equal),
        ("v1.33.5-eks-113cf36", "v1.33.5", Ordering::Equal),
        ("v1.30.4+de5aa81", "v1.30.4+aaaaaaa", Ordering::Equal),
        ("v1.30.0", "v1.30.0+k3s1", Ordering::Equal),
        ("v1.30.0+k3s1", "v1.30.0+rke2r2", Ordering::Equal),
        ("v1.33.5-eks-3025e55", "v1.34.1", Ordering::Less),
    ] {
        for (a, b, expected) in [(runs, asked, order), (asked, runs, order.reverse())] {
            let (a, b) = (v(a), v(b));
            let found = (a.is_before(&b), a.is_as(&b), a.is_after(&b), a.reaches(&b));
            let wanted = (expected.is_lt(), expected.is_eq(), expected.is_gt(), expected.is_ge());
            assert_eq!(found, wanted, "{a} against {b}");
        }
    }
    assert_eq!(v("v1.36.0").minors_ahead_of(&v("v1.33.9")), 3);
}

#[test]
fn the_oldest_and_the_newest_are_found_among_mixed_suffixes() {
    let mixed = ["v1.30.0+k3s2", "v1.30.0", "v1.30.0-eks-3025e55", "v1.30.0+k3s1", "v1.30.0-rc.1"].map(v);
    let oldest = Version::oldest(&mixed).unwrap();
    let newest = Version::newest(&mixed).unwrap();
    assert_eq!(oldest.to_string(), "v1.30.0-rc.1");
    assert!(mixed.iter().all(|version| !version.is_before(oldest) && !newest.is_before(version)));
}

#[test]
fn a_kubelet_may_lag_by_three_minors_and_an_old_one_by_two() {
    for (kubelet, api_server, may) in [
        ("v1.33.0", "v1.36.3", true),
        ("v1.32.13", "v1.36.0", false),
        ("v1.25.0-rc.1", "v1.28.0", true),
        ("v1.24.17", "v1.26.0", true),
        ("v1.24.17", "v1.27.0", false),
        ("v1.36.3", "v1.35.0", true),
    ] {
        assert_eq!(v(kubelet).may_lag(&v(api_server)), may, "{kubelet} under {api_server}");
    }
}

/// A version with the suffix of any scheme, or of none. The numbers are small, so that many of them are equal.
fn any_version() -> impl Strategy<Value = Version> {
    let maturity = prop_oneof![
        Just(String::new()),
        (0u8..3).prop_map(|n| format!("-rc{n}")),
        (0u8..3).prop_map(|n| format!("-beta.{n}")),
    ];
    let suffix = prop_oneof![
        Just(String::new()),
        any_hash(),
        (0u8..4).prop_map(|n| format!("+k3s{n}")),
        (0u8..4).prop_map(|n| format!("-rke2r{n}-build2025")),
        (0u8..4).prop_map(|n| format!("-gke.{n}")),
        (0u8..4).prop_map(|n| format!("+vmware.{n}-tkg.1")),
        (0u8..4).prop_map(|n| format!("-eks-1-30-{n}")),
        "[+-][a-z]{1,6}[.-]?[a-z0-9]{0,5}",
    ];
    (30u16..32, 0u16..2, maturity, suffix)
        .prop_map(|(minor, patch, maturity, suffix)| v(&format!("v1.{minor}.{patch}{maturity}{suffix}")))
}

fn any_hash() -> impl Strategy<Value = String> {
    ("[0-9a-f]{6,7}", prop_oneof![Just("-eks-"), Just("+")]).prop_map(|(hash, sign)| format!("{sign}{hash}"))
}

proptest! {
    #[test]
    fn no_pair_goes_both_up_and_down(a in any_version(), b in any_version()) {
        let one = [a.is_before(&b), a.is_as(&b), a.is_after(&b)];
        prop_assert_eq!(one.into_iter().filter(|holds| *holds).count(), 1);
        prop_assert_eq!(a.is_before(&b), b.is_after(&a));
        prop_assert_eq!(a.is_as(&b), b.is_as(&a));
        prop_assert!(a.is_as(&a));
    }

    #[test]
    fn hashes_have_no_order(one in any_hash(), other in any_hash()) {
        let (one, other) = (v(&format!("v1.30.1{one}")), v(&format!("v1.30.1{other}")));
        prop_assert!(one.is_as(&other));
    }

    #[test]
    fn the_order_is_total_within_a_scheme(numbers in prop::collection::vec(0u32..2_000_000, 2..6)) {
        for prefix in ["+k3s", "+rke2r", "-gke.", "+k0s.", "+vmware.", "-eks-1-30-", "-aliyun.", "-tke.", "-mirantis-"] {
            let mut sorted: Vec<_> = numbers.iter().map(|n| (n, v(&format!("v1.30.1{prefix}{n}")))).collect();
            sorted.sort_by(|(_, a), (_, b)| a.sorted_against(b));
            for pair in sorted.windows(2) {
                prop_assert_eq!(pair[0].1.is_before(&pair[1].1), pair[0].0 < pair[1].0);
            }
        }
    }

    #[test]
    fn the_order_of_lists_never_contradicts_what_has_to_move(a in any_version(), b in any_version(), c in any_version()) {
        prop_assert!(!a.is_before(&b) || a.sorted_against(&b).is_lt());
        prop_assert!(a.sorted_against(&b).is_eq() == (a == b));
        let up = a.sorted_against(&b).is_le() && b.sorted_against(&c).is_le();
        prop_assert!(!up || a.sorted_against(&c).is_le());
        prop_assert!(!(a.is_before(&b) && b.is_before(&c)) || a.is_before(&c));
    }

    #[test]
    fn any_text_is_refused_or_reads_back(text in "v?[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}[-+.a-z0-9/_]{0,20}") {
        if let Ok(version) = text.parse::<Version>() {
            let shown = version.to_string();
            prop_assert_eq!(shown.trim_start_matches('v'), text.trim_start_matches('v'));
        }
    }
}
