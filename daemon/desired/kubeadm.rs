//! The settings of the kubeadm upgrade Job. Each ends up in a command on a host or in a pod's spec, so the grammar of
//! each leaves no room for a second meaning.

use super::defaults;
use super::fields::{Fields, list};
use super::problem::{Problems, quoted};
use super::tree::YamlNode;
use super::values::text;
use crate::model::desired::{Kubeadm, PackageSource};

/// The longest folder on a host, and the longest image reference; registries allow no more than 255 characters.
const MAX_PATH: usize = 255;
/// The longest tag of an image, as registries allow it.
const MAX_TAG: usize = 128;
/// The most preflight checks that may be ignored by name; kubeadm has about forty.
const MAX_IGNORED: usize = 20;

impl Default for Kubeadm {
    fn default() -> Self {
        Self {
            from: PackageSource::Packages,
            image: defaults::IMAGE.to_owned(),
            ignore_preflight_errors: Vec::new(),
        }
    }
}

pub(super) fn kubeadm(node: &YamlNode, problems: &mut Problems<'_>) -> Option<Kubeadm> {
    let mut fields = Fields::open(node, problems)?;
    let from = fields.optional("from", from).unwrap_or(PackageSource::Packages);
    let image = fields.optional("image", image).unwrap_or_else(|| defaults::IMAGE.to_owned());
    let ignored = fields.optional("ignorePreflightErrors", |node, problems| {
        let names = list(node, problems, preflight_error)?;
        if names.len() > MAX_IGNORED {
            problems.push(node.place, format_args!("at most {MAX_IGNORED} checks may be ignored"));
        }
        Some(names)
    });
    fields.close(&[]);
    Some(Kubeadm { from, image, ignore_preflight_errors: ignored.unwrap_or_default() })
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

fn image_complaint(image: &str) -> Option<&'static str> {
    let (tagged, digest) = match image.split_once('@') {
        Some((tagged, digest)) => (tagged, Some(digest)),
        None => (image, None),
    };
    let (path, tag) = match tagged.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (tagged, None),
    };
    if image.len() > MAX_PATH || !is_image_path(path) {
        Some("is not an image reference")
    } else if digest.is_some_and(|digest| !is_digest(digest)) {
        Some("has a digest that is not sha256: and 64 hex digits")
    } else if tag.is_some_and(|tag| !is_tag(tag)) {
        Some("has a tag that no registry accepts")
    } else if tag.is_none() && digest.is_none() {
        Some("has neither a tag nor a digest, so it would change under you")
    } else {
        None
    }
}

/// True for an optional registry host and lower-case path components.
fn is_image_path(path: &str) -> bool {
    let (host, rest) = match path.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (Some(host), rest),
        _ => (None, path),
    };
    host.is_none_or(is_host) && rest.split('/').all(is_component)
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
        && name.split('.').all(|label| super::values::is_name(&label.to_ascii_lowercase()))
}

/// True for letters and digits, separated by one `.`, one or two `_`, or any number of `-`.
fn is_component(component: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let parted = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let separators = parted.filter(|run| !run.is_empty());
    component.bytes().next().is_some_and(word)
        && component.bytes().next_back().is_some_and(word)
        && separators.into_iter().all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= MAX_TAG && tag.starts_with(word) && tag.chars().all(|c| word(c) || matches!(c, '.' | '-'))
}

fn is_digest(digest: &str) -> bool {
    digest
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_references_name_what_they_run() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for image in [
            "windlass:0.1.0",
            "registry.example.com/windlass:0.1.0",
            "registry.example.com:5000/a/b_c/d-e:V1_x.y",
            "localhost/windlass:dev",
            "localhost:5000/windlass:dev",
            defaults::IMAGE,
        ] {
            assert_eq!(image_complaint(image), None, "{image}");
            assert_eq!(image_complaint(&format!("{image}@{digest}")), None, "{image}");
        }
        assert_eq!(image_complaint(&format!("windlass@{digest}")), None);
        for image in [
            "",
            "windlass",
            "Windlass:1",
            "a/b",
            "a//b:1",
            "/a:1",
            "a/:1",
            "a:",
            "a:-1",
            "a b:1",
            "a:1;rm",
            "a:1@md5:00",
            "host:port/a:1",
            "host:0/a:1",
            "-x.y/a:1",
            "a..b:1",
            "a.:1",
            "a:1@",
            "$(id):1",
            "a___b:1",
        ] {
            assert!(image_complaint(image).is_some(), "{image}");
        }
    }
}
