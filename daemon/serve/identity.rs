//! Which process this is, and which processes before it on this machine have certainly ended.

use std::fs::{self, File, TryLockError};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::git;

/// Digits of the hash in a file's name; enough for a few repositories.
const NAME_DIGITS: usize = 16;
/// How many processes the lock file remembers. A process may be killed before it has taken over the lease of one that was killed
/// before it, so one name is not enough; a lease that is held by none of so many is waited for.
const REMEMBERED: usize = 100;
/// Holders' names are short; more is not ours.
const LONGEST_FILE: u64 = 64 * 1024;

pub(super) struct Holder {
    /// Unique for each process.
    pub(super) name: String,
    /// The processes that used this folder before and have certainly ended, oldest first.
    pub(super) predecessors: Vec<String>,
    /// Held, never read. The operating system releases the lock when the process ends.
    _lock: Option<File>,
}

/// Takes over the folder from the process that served this repository before. If that process still holds the lock,
/// no predecessor is known, and the lease decides.
pub(super) fn take(git: &git::Settings, path: &str, host: &str, now: Timestamp) -> anyhow::Result<Holder> {
    let holder = format!("{host}-{}-{}", std::process::id(), now.as_millisecond());
    let served =
        [git.url.as_str(), &git.branch, path, git.record_url.as_deref().unwrap_or(""), &git.record_branch];
    let digest: String =
        format!("{:x}", Sha256::digest(served.join("\0"))).chars().take(NAME_DIGITS).collect();
    let file = git.cache.join(format!("{digest}.holder"));
    fs::create_dir_all(&git.cache)
        .with_context(|| format!("making the cache folder {}", git.cache.display()))?;
    take_file(&file, holder, host).with_context(|| format!("taking the lock file {}", file.display()))
}

fn take_file(path: &Path, holder: String, host: &str) -> std::io::Result<Holder> {
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Ok(Holder { name: holder, predecessors: Vec::new(), _lock: None });
        }
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut before = String::new();
    (&file).take(LONGEST_FILE).read_to_string(&mut before)?;
    let mut predecessors: Vec<String> =
        before.lines().map(str::trim).filter(|name| of_host(name, host)).map(str::to_owned).collect();
    predecessors.drain(..predecessors.len().saturating_sub(REMEMBERED));
    let names: Vec<&str> = predecessors.iter().map(String::as_str).chain([holder.as_str()]).collect();
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(names.join("\n").as_bytes())?;
    file.sync_all()?;
    Ok(Holder { name: holder, predecessors, _lock: Some(file) })
}

/// True if the holder ran on this machine. The lock file says nothing about other machines: a folder may be on a
/// network share.
fn of_host(holder: &str, host: &str) -> bool {
    let rest = holder.strip_prefix(host).and_then(|rest| rest.strip_prefix('-'));
    let numbers = rest
        .map(|rest| rest.split('-').map(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())));
    numbers.is_some_and(|mut numbers| numbers.clone().count() == 2 && numbers.all(|number| number))
}

/// The poll interval of this process: up to a tenth more or less, always the same for one name.
pub(super) fn jittered(poll: SignedDuration, holder: &str) -> SignedDuration {
    let mut hash = DefaultHasher::new();
    holder.hash(&mut hash);
    let permille = 900 + i32::try_from(hash.finish() % 201).unwrap_or(100);
    poll.saturating_mul(permille) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_predecessor_is_known_only_when_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.holder");
        let first = take_file(&path, "h-1-1".into(), "h").unwrap();
        assert!(first.predecessors.is_empty());
        let beside = take_file(&path, "h-2-2".into(), "h").unwrap();
        assert!(beside.predecessors.is_empty(), "the first is still there");
        drop((first, beside));
        let next = take_file(&path, "h-3-3".into(), "h").unwrap();
        assert_eq!(next.predecessors, ["h-1-1"]);
        drop(next);
        let elsewhere = take_file(&path, "other-4-4".into(), "other").unwrap();
        assert!(elsewhere.predecessors.is_empty(), "a lock says nothing about another machine");
    }

    /// The first held the lease and was killed, and the second before it had taken it over.
    #[test]
    fn a_predecessor_is_not_forgotten_over_one_that_died_early() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.holder");
        for number in 1..=2 {
            drop(take_file(&path, format!("h-{number}-{number}"), "h").unwrap());
        }
        assert_eq!(take_file(&path, "h-3-3".into(), "h").unwrap().predecessors, ["h-1-1", "h-2-2"]);
        for number in 4..300 {
            drop(take_file(&path, format!("h-{number}-{number}"), "h").unwrap());
        }
        let last = take_file(&path, "h-300-300".into(), "h").unwrap();
        assert_eq!(last.predecessors.len(), REMEMBERED);
        assert_eq!(last.predecessors.last().map(String::as_str), Some("h-299-299"));
    }

    #[test]
    fn names_of_this_machine_are_recognised() {
        for (holder, host, expected) in [
            ("a-1-2", "a", true),
            ("a-b-1-2", "a-b", true),
            ("a-b-1-2", "a", false),
            ("", "a", false),
            ("a-1", "a", false),
        ] {
            assert_eq!(of_host(holder, host), expected, "{holder} of {host}");
        }
    }

    #[test]
    fn polls_are_spread_by_a_tenth() {
        let poll = SignedDuration::from_secs(60);
        let spread: Vec<_> = (0..200).map(|n| jittered(poll, &format!("h-{n}-1"))).collect();
        assert!(spread.iter().all(|p| (54_000..=66_000).contains(&p.as_millis())));
        assert!(spread.iter().collect::<std::collections::BTreeSet<_>>().len() > 50);
        assert_eq!(jittered(poll, "h"), jittered(poll, "h"));
    }
}
