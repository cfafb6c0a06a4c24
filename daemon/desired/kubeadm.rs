//! The settings of the kubeadm upgrade Job. Each ends up in a command on a host or in a pod's spec, so the grammar of
//! each leaves no room for a second meaning.

use super::fields::{Fields, list};
use super::problem::{Place, Problems, quoted};
use super::tree::YamlNode;
use super::values::{choice, text};
use crate::model::desired::{Kubeadm, PackageSource};
use crate::model::image::image_complaint;
use crate::model::installed::{InstalledAddon, SkippedPhase};

/// The longest folder on a host, and the longest name of a check.
const MAX_PATH: usize = 255;
/// The most preflight checks that may be ignored by name; kubeadm has about forty.
const MAX_IGNORED: usize = 20;

impl Default for Kubeadm {
    fn default() -> Self {
        Self {
            from: PackageSource::Packages,
            image: None,
            ignore_preflight_errors: Vec::new(),
            skip_phases: Vec::new(),
        }
    }
}

/// The settings, and where they name the phases that are left out.
pub(super) struct KubeadmRead {
    pub(super) settings: Kubeadm,
    pub(super) skips: Option<Place>,
}

pub(super) fn kubeadm(node: &YamlNode, problems: &mut Problems<'_>) -> Option<KubeadmRead> {
    let mut fields = Fields::open(node, problems)?;
    let from = fields.optional("from", from).unwrap_or(PackageSource::Packages);
    let image = fields.optional("image", image);
    let ignored = fields.optional("ignorePreflightErrors", |node, problems| {
        let names = list(node, problems, preflight_error)?;
        if names.len() > MAX_IGNORED {
            problems.push(node.place, format_args!("at most {MAX_IGNORED} checks may be ignored"));
        }
        Some(names)
    });
    let place = fields.place_of("skipPhases");
    let skipped = fields.optional("skipPhases", skip_phases);
    fields.close(&[]);
    let skips = skipped.as_ref().map(|_| place);
    let settings = Kubeadm {
        from,
        image,
        ignore_preflight_errors: ignored.unwrap_or_default(),
        skip_phases: skipped.unwrap_or_default(),
    };
    Some(KubeadmRead { settings, skips })
}

/// `packages`, or an absolute folder on the host.
fn from(node: &YamlNode, problems: &mut Problems<'_>) -> Option<PackageSource> {
    let from = text(node, problems)?;
    if from == "packages" {
        return Some(PackageSource::Packages);
    }
    let complaint = if !from.starts_with('/') {
        "is neither `packages` nor an absolute folder"
    } else if from.split('/').any(|part| part == "..") {
        "must not climb with `..`"
    } else if !from
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '{' | '}'))
    {
        "holds a character that is not allowed in a folder here"
    } else if from.replace("{version}", "").contains(['{', '}']) {
        "holds braces other than `{version}`"
    } else if from.len() > MAX_PATH || from.contains("//") || from.split('/').any(|part| part == ".") {
        "is not a plain path"
    } else if from.trim_matches('/').is_empty() {
        "is the root folder"
    } else {
        return Some(PackageSource::Folder(from.trim_end_matches('/').to_owned()));
    };
    problems.push_fix(
        node.place,
        format_args!("{} {complaint}", quoted(from)),
        "write `packages`, or a folder on the hosts as in /opt/kubernetes/{version} (A-Z, a-z, 0-9, `/`, `.`, `_`, `-`)",
    );
    None
}

/// An image reference with a tag or a digest: the commit has to say what runs on the hosts.
fn image(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let image = text(node, problems)?;
    let Some(complaint) = image_complaint(image) else { return Some(image.to_owned()) };
    problems.push_fix(
        node.place,
        format_args!("{} {complaint}", quoted(image)),
        "write it as in registry.example.com/windlass:0.1.0, or with @sha256:<64 hex digits>",
    );
    None
}

/// Phases of `kubeadm upgrade` by name, each once. Only those of addons: without another one the control plane would be half moved.
fn skip_phases(node: &YamlNode, problems: &mut Problems<'_>) -> Option<Vec<SkippedPhase>> {
    let known = SkippedPhase::ALL.map(|phase| (phase.as_str(), phase));
    let read =
        list(node, problems, |node, problems| Some((choice(&known, &[], node, problems)?, node.place)))?;
    let mut phases: Vec<SkippedPhase> = Vec::new();
    for (phase, place) in read {
        let before = phases.iter().find(|before| {
            InstalledAddon::ALL.into_iter().any(|addon| before.skips(addon) && phase.skips(addon))
        });
        if let Some(before) = before {
            problems.push_fix(
                place,
                format_args!("{} repeats `{before}`, which is in the list already", quoted(phase.as_str())),
                "remove one of the two",
            );
        }
        phases.push(phase);
    }
    Some(phases)
}

/// One of kubeadm's checks by name; `all` is refused.
fn preflight_error(node: &YamlNode, problems: &mut Problems<'_>) -> Option<String> {
    let name = text(node, problems)?;
    if name.eq_ignore_ascii_case("all") {
        problems.push_fix(
            node.place,
            "`all` would wave every check of kubeadm through",
            "name the checks, as in `[CoreDNSUnsupportedPlugins]`",
        );
        return None;
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !name.is_empty() && name.len() <= MAX_PATH && name.chars().all(good) && !name.starts_with('-') {
        return Some(name.to_owned());
    }
    problems.push(
        node.place,
        format_args!(
            "{} is not the name of a kubeadm check: letters, digits, `-` and `_` only",
            quoted(name)
        ),
    );
    None
}
