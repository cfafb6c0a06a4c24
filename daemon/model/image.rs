//! References to container images, as cluster files and the daemon's settings name them.

/// The longest image reference; registries allow no more.
const LONGEST: usize = 255;
/// The longest tag of an image, as registries allow it.
const MAX_TAG: usize = 128;
/// The longest label of a host name.
const MAX_LABEL: usize = 63;

/// What is wrong with an image reference that is to run on hosts; `None` if it names an image with a tag or a digest.
pub fn image_complaint(image: &str) -> Option<&'static str> {
    let (tagged, digest) = match image.split_once('@') {
        Some((tagged, digest)) => (tagged, Some(digest)),
        None => (image, None),
    };
    let (path, tag) = match tagged.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (tagged, None),
    };
    if image.len() > LONGEST || !is_image_path(path) {
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

/// True if the reference has a digest: what it names can never change. A tag can be moved to another image at any
/// time, and the new image would run as root on every node.
pub fn is_pinned(image: &str) -> bool {
    image.split_once('@').is_some_and(|(_, digest)| is_digest(digest))
}

/// True if the digest is all zeros, as in an example: no image has it.
pub fn is_placeholder(image: &str) -> bool {
    let Some((before, hex)) = image.rsplit_once(':') else { return false };
    before.ends_with("@sha256") && !hex.is_empty() && hex.bytes().all(|b| b == b'0')
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
    port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0)) && name.split('.').all(is_label)
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

/// True for `sha256:` and 64 hexadecimal digits.
pub fn is_digest(digest: &str) -> bool {
    digest
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// True for a label of a host name: letters and digits, with `-` between them.
fn is_label(label: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric();
    label.len() <= MAX_LABEL
        && label.bytes().all(|b| word(b) || b == b'-')
        && label.bytes().next().is_some_and(word)
        && label.bytes().next_back().is_some_and(word)
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
        ] {
            assert_eq!(image_complaint(image), None, "{image}");
            assert_eq!(image_complaint(&format!("{image}@{digest}")), None, "{image}");
        }
        assert_eq!(image_complaint(&format!("windlass@{digest}")), None);
        assert!(is_pinned(&format!("a:1@{digest}")) && is_pinned(&format!("a@{digest}")));
        assert!(!is_pinned("a:1") && !is_pinned("a@sha256:00"));
        assert!(
            is_placeholder(&format!("a:1@sha256:{}", "0".repeat(64)))
                && !is_placeholder(&format!("a@{digest}"))
        );
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
