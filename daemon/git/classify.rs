//! Tells libgit2's network errors apart, and cleans what a host says before people read it.
//!
//! libgit2 gives most of them one code; their texts are fixed in its source and looked at here
//! and nowhere else.

use git2::{ErrorClass, ErrorCode};

use super::error::{Cause, GitError};
use crate::model::text::flat;

pub(super) fn failure(place: String, tried: String, error: git2::Error) -> GitError {
    let (code, class, source) = (error.code(), error.class(), Cause(error));
    let text = source.0.message().to_owned();
    let says = |part: &str| text.contains(part);
    let status = |code: &str| text.ends_with(&format!("http status code: {code}"));
    let denied = says("authentication replays") || says("error authenticating");
    if code == ErrorCode::Auth || denied || status("403") {
        return GitError::AuthRefused { place, tried, source };
    }
    if code == ErrorCode::Certificate || class == ErrorClass::Ssl {
        return GitError::Certificate { place, source };
    }
    if says("cannot redirect from") || says("unexpected redirect") {
        return GitError::Redirected { place, source };
    }
    let missing = ["ot found", "not be found", "does not appear to be a git repository", "does not exist"];
    if status("404")
        || (matches!(class, ErrorClass::Net | ErrorClass::Ssh) && missing.iter().any(|part| says(part)))
    {
        return GitError::NoRepository { place, source };
    }
    match class {
        ErrorClass::Net | ErrorClass::Os | ErrorClass::Http | ErrorClass::Ssh => {
            GitError::Unreachable { place, source }
        }
        _ if matches!(code, ErrorCode::Timeout | ErrorCode::Eof) => GitError::Unreachable { place, source },
        _ => GitError::git("talking to the server", &place, source.0),
    }
}

/// The host could not store what we sent: a quota, a full disk, a rule on objects.
pub(super) fn unpacking_failed(source: &git2::Error) -> bool {
    source.message().contains("unpacking the sent packfile failed")
}

/// Whether the words with which a host declines a ref may mean that it moved.
pub(super) fn may_be_a_race(status: &str) -> bool {
    let races = [
        "failed to update ref",
        "failed to lock",
        "cannot lock ref",
        "non-fast-forward",
        "fetch first",
        "stale info",
        "already exists",
        "incorrect old value",
        "reference moved",
    ];
    races.iter().any(|race| status.contains(race))
}

/// Lines of a host in plain text. Progress, which overwrites itself with `\r`, is left out.
pub(super) fn words(bytes: &[u8], secrets: &[String]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.as_str(), "***");
    }
    let lines = text.lines().map(|line| line.rsplit('\r').next().unwrap_or_default());
    let plain = lines.map(flat);
    plain.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}
