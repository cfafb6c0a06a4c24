//! What is offered to a server that asks who we are, one thing after the other, each once.
//!
//! Credential helpers are those of git's own configuration for this user and this system, never one that a watched
//! repository names; `store` is read by us, so that it works without git.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use git2::{Config, Cred, CredentialHelper, CredentialType, ErrorClass, ErrorCode};

use super::address::{Address, Remote};
use super::error::GitError;
use super::types::Credentials;

/// The name that goes with a token where nobody gave one; hosts look at the token alone.
const USERNAME: &str = "git";
/// In the order in which OpenSSH tries them.
const DEFAULT_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

pub(super) enum Offer {
    Password { username: String, password: String, what: String },
    Agent,
    Key(PathBuf),
}

/// The offers of one conversation.
#[derive(Default)]
pub(super) struct Offers {
    left: Option<VecDeque<Offer>>,
    tried: Vec<String>,
    /// Never to appear in a message.
    pub secrets: Vec<String>,
}

impl Offers {
    /// What was offered, for a message.
    pub(super) fn tried(&self) -> String {
        if self.tried.is_empty() { "no credentials".to_owned() } else { self.tried.join(", ") }
    }

    pub(super) fn next(
        &mut self,
        remote: &Remote,
        credentials: &Credentials,
        allowed: CredentialType,
    ) -> Result<Cred, NoOffer> {
        let named = remote.username.as_deref().or(credentials.username.as_deref());
        let username = named.unwrap_or(USERNAME);
        if allowed.contains(CredentialType::USERNAME) {
            return Ok(Cred::username(username)?);
        }
        let mut left = match self.left.take() {
            Some(left) => left,
            None => offers(remote, credentials).map_err(NoOffer::Broken)?,
        };
        let answer = loop {
            let Some(offer) = left.pop_front() else { break Err(NoOffer::Git(exhausted())) };
            match offer {
                Offer::Password { username, password, what } if takes_password(allowed) => {
                    let cred = Cred::userpass_plaintext(&username, &password);
                    self.tried.push(what);
                    self.secrets.push(password);
                    break cred.map_err(NoOffer::Git);
                }
                Offer::Agent if allowed.contains(CredentialType::SSH_KEY) => {
                    self.tried.push("the ssh agent".to_owned());
                    break Cred::ssh_key_from_agent(username).map_err(NoOffer::Git);
                }
                Offer::Key(path) if allowed.contains(CredentialType::SSH_KEY) => {
                    self.tried.push(format!("the key {}", path.display()));
                    break Cred::ssh_key(username, None, &path, None).map_err(NoOffer::Git);
                }
                Offer::Password { .. } | Offer::Agent | Offer::Key(_) => {}
            }
        };
        self.left = Some(left);
        answer
    }
}

/// Why there is no further offer.
pub(super) enum NoOffer {
    /// Something we were told to offer cannot be read.
    Broken(GitError),
    Git(git2::Error),
}

impl From<git2::Error> for NoOffer {
    fn from(error: git2::Error) -> Self {
        Self::Git(error)
    }
}

fn takes_password(allowed: CredentialType) -> bool {
    allowed.contains(CredentialType::USER_PASS_PLAINTEXT)
}

fn exhausted() -> git2::Error {
    git2::Error::new(ErrorCode::Auth, ErrorClass::Callback, "there is nothing more to offer")
}

fn offers(remote: &Remote, credentials: &Credentials) -> Result<VecDeque<Offer>, GitError> {
    let in_address = remote.password.clone().map(|password| Offer::Password {
        username: remote.username.clone().unwrap_or_default(),
        password,
        what: "the password in the address".to_owned(),
    });
    if remote.ssh {
        if let Some(path) = &credentials.ssh_key {
            return Ok(VecDeque::from([Offer::Key(path.clone())]));
        }
        // The agent comes last: where there is none, libgit2 ends the conversation.
        let keys = default_keys().into_iter().map(Offer::Key);
        return Ok(in_address.into_iter().chain(keys).chain([Offer::Agent]).collect());
    }
    if let Some(path) = &credentials.token_file {
        let username = credentials.username.clone().or_else(|| remote.username.clone());
        return Ok(VecDeque::from([Offer::Password {
            username: username.unwrap_or_else(|| USERNAME.to_owned()),
            password: token(path)?,
            what: format!("the token in {}", path.display()),
        }]));
    }
    let known = stored(remote).or_else(|| helped(&Config::open_default().ok()?, remote));
    // Some hosts take a token as the user, with an empty password.
    let bare = remote.username.clone().filter(|_| remote.password.is_none());
    let bare = bare.map(|username| Offer::Password {
        username,
        password: String::new(),
        what: "the user in the address".to_owned(),
    });
    Ok(in_address.into_iter().chain(known).chain(bare).collect())
}

fn token(path: &Path) -> Result<String, GitError> {
    let text =
        fs::read_to_string(path).map_err(|source| GitError::TokenFile { path: path.to_owned(), source })?;
    let token = text.trim();
    if token.is_empty() || token.chars().any(char::is_control) {
        return Err(GitError::TokenShape { path: path.to_owned() });
    }
    Ok(token.to_owned())
}

fn default_keys() -> Vec<PathBuf> {
    let Some(home) = std::env::home_dir() else { return Vec::new() };
    let keys = DEFAULT_KEYS.iter().map(|name| home.join(".ssh").join(name));
    keys.filter(|path| fs::read_to_string(path).is_ok_and(|key| is_open(&key))).collect()
}

/// Whether a private key needs no passphrase. One that does would end the conversation before the
/// agent, which may know it, is asked.
pub(super) fn is_open(key: &str) -> bool {
    // The magic text, then the cipher's name with its length before it; "none" stands for none.
    const PLAIN: &[u8] = b"openssh-key-v1\0\0\0\0\x04none";
    if !key.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----") {
        return !key.contains("ENCRYPTED");
    }
    let body = key.lines().nth(1).unwrap_or_default();
    let start = body.get(..PLAIN.len().div_ceil(3) * 4).unwrap_or_default();
    STANDARD.decode(start).is_ok_and(|start| start.starts_with(PLAIN))
}

/// What the configured helper program answers for this host. It runs as the daemon does.
pub(super) fn helped(config: &Config, remote: &Remote) -> Option<Offer> {
    let mut helper = CredentialHelper::new(&remote.text);
    helper.username(remote.username.as_deref()).config(config);
    let (username, password) = helper.execute()?;
    Some(Offer::Password { username, password, what: "what git's credential helper has".to_owned() })
}

/// What git's own `store` helper has for this host, if git is set up to use it.
fn stored(remote: &Remote) -> Option<Offer> {
    let path = store_file()?;
    let text = fs::read_to_string(&path).ok()?;
    let (username, password) = stored_for(&text, remote)?;
    Some(Offer::Password { username, password, what: format!("what {} has", path.display()) })
}

/// The user and password of the first line that is for the same host.
pub(super) fn stored_for(text: &str, remote: &Remote) -> Option<(String, String)> {
    text.lines().find_map(|line| {
        let line = line.trim_end_matches('/');
        let Ok(Address::Remote(entry)) = Address::parse(&format!("{line}/-")) else { return None };
        let same_place =
            entry.scheme() == remote.scheme() && entry.host == remote.host && entry.port == remote.port;
        let same_user = remote.username.is_none() || remote.username == entry.username;
        if same_place && same_user { Some((entry.username?, entry.password?)) } else { None }
    })
}

fn store_file() -> Option<PathBuf> {
    let helper = Config::open_default().ok()?.get_string("credential.helper").ok()?;
    let mut words = helper.split_whitespace();
    if words.next()? != "store" {
        return None;
    }
    let home = std::env::home_dir()?;
    let named = match words.next() {
        Some("--file") => words.next(),
        Some(option) => option.strip_prefix("--file="),
        None => None,
    };
    Some(match named {
        Some(path) => match path.strip_prefix("~/") {
            Some(inside) => home.join(inside),
            None => PathBuf::from(path),
        },
        None => home.join(".git-credentials"),
    })
}
