//! The script that upgrades one host: a head with what was asked for, then the parts that its role needs.
//! It depends on the role, the target and the settings alone: the nodes of one stage run the same text.

use std::fmt::Write as _;

use crate::model::desired::{Kubeadm, PackageSource};
use crate::model::version::{Maturity, Version};

use super::{Order, Role};

/// The exit code of a script that refused before it changed anything; the node can be returned as it is.
pub const REFUSED: i32 = 10;

const LAUNCH: &str = include_str!("host/launch.sh");
const SHARED: &str = include_str!("host/shared.sh");
const CGROUP: &str = include_str!("host/cgroup.sh");
const CGROUP_IGNORED: &str = include_str!("host/cgroup-ignored.sh");
const FOLDER: &str = include_str!("host/folder.sh");
const PACKAGES: &str = include_str!("host/packages.sh");
const SERVERS: &str = include_str!("host/servers.sh");
const KUBELET: &str = include_str!("host/kubelet.sh");
const KUBELET_WORKER: &str = include_str!("host/kubelet-worker.sh");
const KUBELET_CONTROL_PLANE: &str = include_str!("host/kubelet-control-plane.sh");

/// A script with the words that stand above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub title: String,
    pub text: String,
}

/// What the Job of this order runs on its host.
pub fn script(order: &Order) -> String {
    render(order.role, order.kubeadm, &order.step.to)
}

pub(super) fn titled(role: Role, kubeadm: &Kubeadm, to: &Version) -> Script {
    Script { title: format!("{to}: {}", role.says()), text: render(role, kubeadm, to) }
}

/// How every other script reaches its host.
pub(super) fn launch(kubeadm: &Kubeadm) -> Script {
    Script {
        title: format!("the way to the host, by a Job of the image {}", kubeadm.image),
        text: LAUNCH.to_owned(),
    }
}

pub(super) fn launcher() -> &'static str {
    LAUNCH
}

/// The transient unit on the host. Neither run nor attempt is in it: a second Job for the same work finds the first one's.
pub(super) fn unit(role: Role, to: &Version) -> String {
    let version: String = to.to_string().chars().map(|c| if c == '+' { '-' } else { c }).collect();
    format!("windlass-{}-{version}", role.component().as_str())
}

fn render(role: Role, kubeadm: &Kubeadm, to: &Version) -> String {
    let mut text = head(role, kubeadm, to);
    text.push_str(SHARED);
    // Since this minor both kubeadm and the kubelet refuse cgroup v1.
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
        Role::FirstServers | Role::OtherServers => [SERVERS, ""],
        Role::ControlPlaneKubelet => [KUBELET_CONTROL_PLANE, KUBELET],
        Role::WorkerKubelet => [KUBELET_WORKER, KUBELET],
    } {
        text.push_str(part);
    }
    text
}

/// What was asked for, as variables and one command; all that differs between two scripts of one role.
fn head(role: Role, kubeadm: &Kubeadm, to: &Version) -> String {
    let mut head = format!("#!/bin/sh\n# Windlass, on the host: {}, to {to}.\nset -eu\n", role.says());
    let _ = writeln!(head, "title={}", quote(&format!("{}, to {to}", role.says())));
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
        Role::FirstServers => format!("kubeadm upgrade apply {} -y{}", quote(&to.to_string()), maturity(to)),
        Role::OtherServers | Role::WorkerKubelet => "kubeadm upgrade node".to_owned(),
        Role::ControlPlaneKubelet => return head,
    };
    let _ = writeln!(head, "upgrade() {{ run {command}{}; }}", ignored(kubeadm));
    head
}

/// kubeadm moves to what is no release only where it is told so.
fn maturity(to: &Version) -> &'static str {
    match to.maturity {
        Maturity::Release => "",
        Maturity::Rc(_) => " --allow-release-candidate-upgrades",
        Maturity::Alpha(_) | Maturity::Beta(_) => " --allow-experimental-upgrades",
    }
}

fn ignored(kubeadm: &Kubeadm) -> String {
    if kubeadm.ignore_preflight_errors.is_empty() {
        return String::new();
    }
    format!(" --ignore-preflight-errors={}", quote(&kubeadm.ignore_preflight_errors.join(",")))
}

/// kubeadm compares the names of its checks without regard to case.
fn ignores(kubeadm: &Kubeadm, check: &str) -> bool {
    kubeadm.ignore_preflight_errors.iter().any(|name| name.eq_ignore_ascii_case(check))
}

/// One word of a shell, whatever is in it. Values were validated before; a script that runs as root quotes them all the same.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
