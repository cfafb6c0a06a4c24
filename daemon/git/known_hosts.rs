//! Which ssh hosts are known: reads OpenSSH's `known_hosts` format and judges one key.

use std::io;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

const SSH_PORT: u16 = 22;

/// Why a host's key is not trusted. There is no way to go on without trust.
#[derive(Debug, thiserror::Error)]
pub enum KnownHostsError {
    #[error("reading {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "{host} is not a known host; it shows the key {fingerprint}. If that is the fingerprint \
         its owner publishes, add the line that `ssh-keyscan {scan}` prints to {add_to}"
    )]
    Unknown { host: String, fingerprint: String, scan: String, add_to: String },
    #[error(
        "{host} shows the key {fingerprint}, but line {line} of {file} has another one of that \
         kind: either the host was set up anew, or somebody stands in between"
    )]
    Changed { host: String, fingerprint: String, file: String, line: usize },
    #[error("{host} shows the key {fingerprint}, which line {line} of {file} revokes")]
    Revoked { host: String, fingerprint: String, file: String, line: usize },
}

/// What one file says about one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyTrust {
    Known,
    Unknown,
    Changed { line: usize },
    Revoked { line: usize },
}

/// The fingerprint as OpenSSH prints it.
pub(super) fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)))
}

/// The name under which OpenSSH files a host.
pub(super) fn filed_as(host: &str, port: Option<u16>) -> String {
    match port {
        None | Some(SSH_PORT) => host.to_ascii_lowercase(),
        Some(port) => format!("[{}]:{port}", host.to_ascii_lowercase()),
    }
}

/// Judges a raw host key against the text of a file. A revocation outweighs everything.
pub(super) fn judge(text: &str, name: &str, key: &[u8]) -> KeyTrust {
    let mut trust = KeyTrust::Unknown;
    for (index, line) in text.lines().enumerate() {
        let Some(entry) = HostLine::parse(line) else { continue };
        if !names(entry.hosts, name) {
            continue;
        }
        let line = index + 1;
        let Ok(filed) = STANDARD.decode(entry.key) else { continue };
        match (entry.revoked, filed == key) {
            (true, true) => return KeyTrust::Revoked { line },
            (false, true) => trust = KeyTrust::Known,
            (false, false) if trust == KeyTrust::Unknown && kind(&filed) == kind(key) => {
                trust = KeyTrust::Changed { line };
            }
            (true | false, false) => {}
        }
    }
    trust
}

struct HostLine<'a> {
    revoked: bool,
    hosts: &'a str,
    key: &'a str,
}

impl<'a> HostLine<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let first = words.next().filter(|word| !word.starts_with('#'))?;
        let (revoked, hosts) = match first {
            "@revoked" => (true, words.next()?),
            // An authority signs certificates, which libssh2 does not speak.
            _ if first.starts_with('@') => return None,
            hosts => (false, hosts),
        };
        let _kind = words.next()?;
        Some(Self { revoked, hosts, key: words.next()? })
    }
}

/// A raw key begins with the length and the name of its kind.
fn kind(key: &[u8]) -> Option<&[u8]> {
    let (length, rest) = key.split_first_chunk::<4>()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn names(hosts: &str, name: &str) -> bool {
    if hosts.starts_with('|') {
        return hashed_names(hosts, name).unwrap_or(false);
    }
    let mut named = false;
    for pattern in hosts.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(pattern.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => named |= matches(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()),
        }
    }
    named
}

/// `|1|salt|hash`: the HMAC-SHA1 of the name. It hides names and secures nothing.
fn hashed_names(hosts: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hosts.strip_prefix("|1|")?.split_once('|')?;
    let mut mac = Hmac::<Sha1>::new_from_slice(&STANDARD.decode(salt).ok()?).ok()?;
    mac.update(name.as_bytes());
    Some(mac.verify_slice(&STANDARD.decode(hash).ok()?).is_ok())
}

/// `*` stands for any text and `?` for one character; there is nothing else.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let Some((first, pattern_rest)) = pattern.split_first() else { return name.is_empty() };
    match (first, name.split_first()) {
        (b'*', None) => matches(pattern_rest, name),
        (b'*', Some((_, name_rest))) => matches(pattern_rest, name) || matches(pattern, name_rest),
        (b'?', Some((_, name_rest))) => matches(pattern_rest, name_rest),
        (literal, Some((letter, name_rest))) => literal == letter && matches(pattern_rest, name_rest),
        (_, None) => false,
    }
}
