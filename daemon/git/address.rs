//! Repository addresses: which are allowed, and how they are shown without their secrets.

use std::fmt;
use std::path::PathBuf;

use super::error::GitError;

/// Where a repository is.
#[derive(Clone, Debug)]
pub(super) enum Address {
    Local(PathBuf),
    Remote(Remote),
}

/// A repository on a server. Its password is kept apart, so that no message can hold it.
#[derive(Clone)]
pub(super) struct Remote {
    /// What libgit2 is given and what people see: never a password, and no user on http.
    pub text: String,
    pub ssh: bool,
    pub host: String,
    pub port: Option<u16>,
    pub username: Option<String>,
    pub password: Option<String>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Remote(remote) => remote.text.fmt(f),
        }
    }
}

/// Why an address is refused; `None` if it can be the address of a repository.
pub fn refused_address(text: &str) -> Option<GitError> {
    Address::parse(text).err()
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, GitError> {
        let refuse = |why| GitError::Address { address: redacted(text), why };
        if text.is_empty() {
            return Err(refuse("it is empty"));
        }
        if text.chars().any(char::is_control) {
            return Err(refuse("it holds a control character"));
        }
        if text.starts_with('-') {
            return Err(refuse("it starts with a dash and would read as an option"));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return with_scheme(scheme, rest).map(Self::Remote).map_err(refuse);
        }
        match text.split_once(':') {
            Some((host, _)) if host.contains('/') => Ok(Self::Local(PathBuf::from(text))),
            Some((_, path)) if path.starts_with(':') => Err(refuse("helper programs are never started")),
            Some((host, path)) => scp_like(text, host, path).map(Self::Remote).map_err(refuse),
            None => Ok(Self::Local(PathBuf::from(text))),
        }
    }
}

fn with_scheme(scheme: &str, rest: &str) -> Result<Remote, &'static str> {
    match scheme {
        "http" | "https" | "ssh" => {}
        "file" => return Err("give the path itself, without file://"),
        "git" => return Err("git:// neither encrypts nor knows who is asking; use https or ssh"),
        _ => return Err("only local paths, http, https and ssh are served"),
    }
    if rest.contains(['?', '#']) {
        return Err("a query or a fragment is no part of a repository's address");
    }
    let (authority, path) = rest.split_once('/').ok_or("it names no repository")?;
    if path.is_empty() {
        return Err("it names no repository");
    }
    let (user, place) = match authority.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, authority),
    };
    let (username, password) = split_user(user.unwrap_or_default())?;
    let (host, port) = split_port(place)?;
    let ssh = scheme == "ssh";
    // On http the user part may be a token by itself, so none of it stays visible.
    let shown = match &username {
        Some(name) if ssh => format!("{name}@"),
        Some(_) | None => String::new(),
    };
    let text = format!("{scheme}://{shown}{place}/{path}");
    Ok(Remote { text, ssh, host, port, username, password })
}

fn scp_like(text: &str, host: &str, path: &str) -> Result<Remote, &'static str> {
    if path.is_empty() {
        return Err("it names no repository");
    }
    let (username, host) = match host.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, host),
    };
    check_host(host)?;
    let host = host.to_ascii_lowercase();
    Ok(Remote { text: text.to_owned(), ssh: true, host, port: None, username, password: None })
}

fn split_user(user: &str) -> Result<(Option<String>, Option<String>), &'static str> {
    let (name, password) = match user.split_once(':') {
        Some((name, password)) => (name, Some(decoded(password)?)),
        None => (user, None),
    };
    let name = Some(decoded(name)?).filter(|name| !name.is_empty());
    if name.as_deref().is_some_and(|name| name.starts_with('-')) {
        return Err("its user starts with a dash and would read as an option");
    }
    Ok((name, password))
}

fn split_port(place: &str) -> Result<(String, Option<u16>), &'static str> {
    let end = place.rfind(']').unwrap_or(0);
    let (host, port) = match place.rfind(':') {
        Some(colon) if colon >= end => {
            let (host, port) = place.split_at(colon);
            let port = port.trim_start_matches(':').parse().map_err(|_| "its port is no number")?;
            (host, Some(port))
        }
        Some(_) | None => (place, None),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    check_host(bare)?;
    Ok((bare.to_ascii_lowercase(), port))
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() {
        return Err("it names no host");
    }
    if host.starts_with('-') {
        return Err("its host starts with a dash and would read as an option");
    }
    if host.chars().all(allowed) { Ok(()) } else { Err("its host is no host name") }
}

/// Undoes percent encoding, which user names and passwords need for `@`, `:` and `/`.
fn decoded(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "its user part is wrongly percent-encoded";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(WRONG) };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| WRONG)?);
    }
    let text = String::from_utf8(bytes).map_err(|_| WRONG)?;
    if text.contains('\0') { Err(WRONG) } else { Ok(text) }
}

/// An address as messages show it.
pub(super) fn shown(text: &str) -> String {
    match Address::parse(text) {
        Ok(address) => address.to_string(),
        Err(_) => redacted(text),
    }
}

/// An address that could not be read, shown without anything that may be a secret.
fn redacted(text: &str) -> String {
    let text: String = text.escape_debug().collect();
    let (scheme, rest) = text.split_once("://").unwrap_or(("", &text));
    let cut = rest.find(['?', '#']).unwrap_or(rest.len());
    let rest = rest.get(..cut).unwrap_or_default();
    let authority = rest.split('/').next().unwrap_or_default();
    let shown = match authority.rfind('@') {
        Some(at) => format!("***{}", rest.get(at..).unwrap_or_default()),
        None => rest.to_owned(),
    };
    if scheme.is_empty() { shown } else { format!("{scheme}://{shown}") }
}

impl Remote {
    pub(super) fn scheme(&self) -> &str {
        self.text.split_once("://").map_or("ssh", |(scheme, _)| scheme)
    }
}
