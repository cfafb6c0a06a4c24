//! One conversation with a server: what it asks and says while libgit2 talks to it.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use git2::cert::Cert;
use git2::{
    CertificateCheckStatus, Cred, CredentialType, ErrorClass, ErrorCode, ProxyOptions, Remote as Wire,
    RemoteCallbacks, Repository,
};

use super::address::Remote;
use super::classify;
use super::credentials::{NoOffer, Offers};
use super::error::GitError;
use super::known_hosts::{self, KeyTrust, KnownHostsError};
use super::types::Credentials;

const SYSTEM_HOSTS: &str = "/etc/ssh/ssh_known_hosts";
/// A host may be talkative; what people read of it is its last few lines.
const WORDS_LIMIT: usize = 8 * 1024;

pub(super) struct Link<'a> {
    remote: &'a Remote,
    credentials: &'a Credentials,
    offers: RefCell<Offers>,
    /// What went wrong inside a callback, where libgit2 has room for a text only.
    trouble: RefCell<Option<GitError>>,
    words: RefCell<Vec<u8>>,
    /// The key that an ssh host showed.
    shown: RefCell<Option<String>>,
}

impl<'a> Link<'a> {
    pub(super) fn new(remote: &'a Remote, credentials: &'a Credentials) -> Self {
        Self {
            remote,
            credentials,
            offers: RefCell::default(),
            trouble: RefCell::default(),
            words: RefCell::default(),
            shown: RefCell::default(),
        }
    }

    /// The handle to talk through. The clone holds no remote by name, so nothing can redefine it.
    pub(super) fn wire<'repo>(&self, repo: &'repo Repository) -> Result<Wire<'repo>, GitError> {
        let wire = repo.remote_anonymous(&self.remote.text).map_err(|error| self.failure(error))?;
        if wire.url_bytes() == self.remote.text.as_bytes() {
            return Ok(wire);
        }
        Err(GitError::Address {
            address: self.remote.text.clone(),
            why: "git's own settings replace it (insteadOf); give the final address",
        })
    }

    pub(super) fn callbacks(&self) -> RemoteCallbacks<'_> {
        let mut callbacks = RemoteCallbacks::new();
        callbacks.credentials(|_, _, allowed| self.offer(allowed));
        callbacks.certificate_check(|cert, _| self.check_host(cert));
        callbacks.sideband_progress(|bytes| {
            let mut words = self.words.borrow_mut();
            words.extend_from_slice(bytes);
            let surplus = words.len().saturating_sub(WORDS_LIMIT);
            words.drain(..surplus);
            true
        });
        callbacks
    }

    pub(super) fn proxy() -> ProxyOptions<'static> {
        let mut proxy = ProxyOptions::new();
        proxy.auto();
        proxy
    }

    /// What an error of libgit2 means, with what was noticed on the way.
    pub(super) fn failure(&self, error: git2::Error) -> GitError {
        if let Some(trouble) = self.trouble.borrow_mut().take() {
            return trouble;
        }
        let place = self.remote.text.clone();
        if self.remote.ssh && error.code() == ErrorCode::Certificate {
            let source = Box::new(self.unknown_host());
            return GitError::HostKey { place, source };
        }
        classify::failure(place, self.offers.borrow().tried(), error)
    }

    /// What the host said, without secrets and control characters.
    pub(super) fn words(&self) -> String {
        classify::words(&self.words.borrow(), &self.offers.borrow().secrets)
    }

    fn offer(&self, allowed: CredentialType) -> Result<Cred, git2::Error> {
        let answer = self.offers.borrow_mut().next(self.remote, self.credentials, allowed);
        answer.map_err(|asked| match asked {
            NoOffer::Git(error) => error,
            NoOffer::Broken(trouble) => self.stop(trouble, ErrorCode::Auth),
        })
    }

    /// Keeps the whole error here and gives libgit2 a reason to stop.
    fn stop(&self, trouble: GitError, code: ErrorCode) -> git2::Error {
        let stop = git2::Error::new(code, ErrorClass::Callback, trouble.to_string());
        *self.trouble.borrow_mut() = Some(trouble);
        stop
    }

    /// libgit2 checks https certificates and `~/.ssh/known_hosts` by itself; the rest is ours.
    fn check_host(&self, cert: &Cert<'_>) -> Result<CertificateCheckStatus, git2::Error> {
        let Some(key) = cert.as_hostkey() else {
            return Ok(CertificateCheckStatus::CertificatePassthrough);
        };
        let Some(key) = key.hostkey() else {
            return Err(self.untrusted(self.unknown_host()));
        };
        *self.shown.borrow_mut() = Some(known_hosts::fingerprint(key));
        let (file, named) = match &self.credentials.known_hosts {
            Some(path) => (path.clone(), true),
            None => (PathBuf::from(SYSTEM_HOSTS), false),
        };
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(_) if !named => return Ok(CertificateCheckStatus::CertificatePassthrough),
            Err(source) => {
                return Err(self.untrusted(KnownHostsError::Unreadable { path: file, source }));
            }
        };
        let name = known_hosts::filed_as(&self.remote.host, self.remote.port);
        match known_hosts::judge(&text, &name, key) {
            KeyTrust::Known => Ok(CertificateCheckStatus::CertificateOk),
            KeyTrust::Unknown if !named => Ok(CertificateCheckStatus::CertificatePassthrough),
            KeyTrust::Unknown => Err(self.untrusted(self.unknown_host())),
            KeyTrust::Changed { line } => Err(self.untrusted(self.changed(&file, line))),
            KeyTrust::Revoked { line } => Err(self.untrusted(self.revoked(&file, line))),
        }
    }

    fn untrusted(&self, source: KnownHostsError) -> git2::Error {
        let place = self.remote.text.clone();
        self.stop(GitError::HostKey { place, source: Box::new(source) }, ErrorCode::Certificate)
    }

    fn unknown_host(&self) -> KnownHostsError {
        let host = self.remote.host.clone();
        let scan = match self.remote.port {
            Some(port) => format!("-p {port} {host}"),
            None => host.clone(),
        };
        let add_to = match &self.credentials.known_hosts {
            Some(path) => path.display().to_string(),
            None => "~/.ssh/known_hosts".to_owned(),
        };
        KnownHostsError::Unknown { host, fingerprint: self.fingerprint(), scan, add_to }
    }

    fn changed(&self, file: &Path, line: usize) -> KnownHostsError {
        let (host, fingerprint) = (self.remote.host.clone(), self.fingerprint());
        KnownHostsError::Changed { host, fingerprint, file: file.display().to_string(), line }
    }

    fn revoked(&self, file: &Path, line: usize) -> KnownHostsError {
        let (host, fingerprint) = (self.remote.host.clone(), self.fingerprint());
        KnownHostsError::Revoked { host, fingerprint, file: file.display().to_string(), line }
    }

    fn fingerprint(&self) -> String {
        self.shown.borrow().clone().unwrap_or_else(|| "of an unknown kind".to_owned())
    }
}
