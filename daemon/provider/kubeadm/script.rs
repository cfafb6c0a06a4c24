//! The script that upgrades one host: a head with the parameters, then the parts that its role needs. It depends only
//! on role, target and settings, so all nodes of one stage run the same text.

use std::fmt::Write as _;

use crate::model::desired::{Kubeadm, PackageSource};
use crate::model::version::{Maturity, Version};
use crate::provider::Role;

const SHARED: &str = include_str!("host/shared.sh");
const CGROUP: &str = include_str!("host/cgroup.sh");
const CGROUP_IGNORED: &str = include_str!("host/cgroup-ignored.sh");
const FOLDER: &str = include_str!("host/folder.sh");
const PACKAGES: &str = include_str!("host/packages.sh");
const CONTROL_PLANE: &str = include_str!("host/servers.sh");
const KUBELET: &str = include_str!("host/kubelet.sh");
const KUBELET_WORKER: &str = include_str!("host/kubelet-worker.sh");
const KUBELET_CONTROL_PLANE: &str = include_str!("host/kubelet-control-plane.sh");

/// The whole text.
pub(super) fn script(role: Role, kubeadm: &Kubeadm, to: &Version) -> String {
    let mut text = head(role, kubeadm, to);
    text.push_str(SHARED);
    // From this minor on, kubeadm and the kubelet refuse cgroup v1.
    if (to.major, to.minor) < (1, 35) {
        text.push_str("\nneed_cgroup() { :; }\n");
    } else if ignores(kubeadm, "SystemVerification") {
        text.push_str(CGROUP_IGNORED);
    } else {
        text.push_str(CGROUP);
    }
    text.push_str(match kubeadm.from {
        PackageSource::Packages => PACKAGES,
        PackageSource::Folder(_) => FOLDER,
    });
    for part in match role {
        Role::FirstControlPlane | Role::OtherControlPlane => [CONTROL_PLANE, ""],
        Role::ControlPlaneKubelet => [KUBELET_CONTROL_PLANE, KUBELET],
        Role::WorkerKubelet => [KUBELET_WORKER, KUBELET],
    } {
        text.push_str(part);
    }
    text
}

/// The parameters as variables, and one command. Two scripts of one role differ in nothing else.
fn head(role: Role, kubeadm: &Kubeadm, to: &Version) -> String {
    let mut head = format!("#!/bin/sh\n# Windlass, on the host: {}, to {to}.\nset -eu\n", role.title());
    let _ = writeln!(head, "title={}", quote(&format!("{}, to {to}", role.title())));
    let _ = writeln!(head, "target={}", quote(&to.to_string()));
    match &kubeadm.from {
        PackageSource::Packages => {
            let _ = writeln!(head, "minor={}", quote(&to.minor_name()));
        }
        PackageSource::Folder(folder) => {
            let _ = writeln!(head, "folder={}", quote(&folder.replace("{version}", &to.to_string())));
        }
    }
    let command = match role {
        Role::FirstControlPlane => {
            format!("kubeadm upgrade apply {} -y{}{}", quote(&to.to_string()), maturity(to), skipped(kubeadm))
        }
        // kubeadm moves its addons on the node whose API server is the last to run the new version.
        Role::OtherControlPlane => format!("kubeadm upgrade node{}", skipped(kubeadm)),
        Role::WorkerKubelet => "kubeadm upgrade node".to_owned(),
        Role::ControlPlaneKubelet => return head,
    };
    let _ = writeln!(head, "upgrade() {{ run {command}{}; }}", ignored(kubeadm));
    head
}

/// kubeadm moves to a version that is no release only with a flag.
fn maturity(to: &Version) -> &'static str {
    match to.maturity {
        Maturity::Release => "",
        Maturity::Rc(_) => " --allow-release-candidate-upgrades",
        Maturity::Alpha(_) | Maturity::Beta(_) => " --allow-experimental-upgrades",
    }
}

/// True if the kubeadm of this version can leave out the phases of addons, on the first control plane node and on the others.
/// Before 1.32 `upgrade apply` had no phases, and those of `upgrade node` had none for addons.
pub(super) fn can_skip_phases(to: &Version) -> bool {
    (to.major, to.minor) >= (1, 32)
}

fn skipped(kubeadm: &Kubeadm) -> String {
    if kubeadm.skip_phases.is_empty() {
        return String::new();
    }
    let phases: Vec<_> = kubeadm.skip_phases.iter().map(|phase| phase.as_str()).collect();
    format!(" --skip-phases={}", quote(&phases.join(",")))
}

fn ignored(kubeadm: &Kubeadm) -> String {
    if kubeadm.ignore_preflight_errors.is_empty() {
        return String::new();
    }
    format!(" --ignore-preflight-errors={}", quote(&kubeadm.ignore_preflight_errors.join(",")))
}

/// True if the settings ignore this check. kubeadm compares the names of its checks without regard to case.
fn ignores(kubeadm: &Kubeadm, check: &str) -> bool {
    kubeadm.ignore_preflight_errors.iter().any(|name| name.eq_ignore_ascii_case(check))
}

/// Quotes any text as one shell word. Values were validated before; a script that runs as root quotes them all the
/// same.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
