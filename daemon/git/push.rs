//! Appends to a repository on a server, where only the server's own answer for a ref counts.

use std::cell::{Cell, RefCell};

use git2::{Oid, PushOptions, RemoteRedirect};

use super::append::{Append, AppendError, Tag};
use super::build;
use super::classify;
use super::error::GitError;
use super::link::Link;
use super::remote::{self, Heads};
use super::store::{Store, StoreKind};
use super::types::{CommitHash, Settings, branch_ref};

pub(super) fn append_remote(
    store: &mut Store,
    settings: &Settings,
    change: &Append,
) -> Result<CommitHash, AppendError> {
    let built = build::commit(&store.repo, &store.place, &settings.author, change)?;
    let ours = CommitHash(built.id);
    push_tags(store, settings, change)?;
    let name = branch_ref(&settings.record_branch);
    let expected = change.expected.map_or(Oid::ZERO_SHA1, |id| id.0);
    match push(store, settings, &name, built.id, expected)? {
        Pushed::Accepted => {
            // Only so that the next fetch need not bring it back; without it all is well too.
            let _ = store.repo.reference(&name, built.id, true, "");
            Ok(ours)
        }
        Pushed::Differs { there } if there == built.id => Ok(ours),
        Pushed::Differs { .. } => differing(store, settings, change, ours),
        Pushed::Declined { status, words } => {
            if classify::may_be_a_race(&status) {
                let sent = UnansweredPush { ours, failure: Failure::Declined(words) };
                return read_back(store, settings, change, sent);
            }
            Err(AppendError::Refused { words })
        }
        Pushed::Unknown { failure } => read_back(store, settings, change, UnansweredPush { ours, failure }),
    }
}

/// How a push of one ref went.
enum Pushed {
    Accepted,
    /// Nothing was sent, since the server has another value than the expected one.
    Differs {
        there: Oid,
    },
    Declined {
        status: String,
        words: String,
    },
    /// It was sent and the answer is missing.
    Unknown {
        failure: Failure,
    },
}

/// What a push failed with, in case it turns out not to have arrived.
enum Failure {
    Declined(String),
    Broken(GitError),
}

fn push(store: &Store, settings: &Settings, name: &str, id: Oid, expected: Oid) -> Result<Pushed, GitError> {
    let StoreKind::Remote { remote, .. } = store.kind() else {
        return Err(build::no_such(CommitHash(id)));
    };
    let link = Link::new(remote, &settings.credentials);
    let differs = Cell::new(None);
    let sent = Cell::new(false);
    let status: RefCell<Option<Option<String>>> = RefCell::default();
    let mut callbacks = link.callbacks();
    callbacks.push_negotiation(|updates| {
        for update in updates {
            if update.src() != expected {
                differs.set(Some(update.src()));
                return Err(git2::Error::from_str("the ref has another value"));
            }
        }
        sent.set(true);
        Ok(())
    });
    callbacks.push_update_reference(|_, words| {
        *status.borrow_mut() = Some(words.map(str::to_owned));
        Ok(())
    });
    let mut options = PushOptions::new();
    options.remote_callbacks(callbacks).proxy_options(Link::proxy()).follow_redirects(RemoteRedirect::None);
    let answer = link.wire(&store.repo)?.push(&[format!("{id}:{name}")], Some(&mut options));
    drop(options);
    if let Some(there) = differs.get() {
        return Ok(Pushed::Differs { there });
    }
    match (answer, status.into_inner()) {
        (Ok(()), Some(None)) => Ok(Pushed::Accepted),
        (_, Some(Some(status))) => {
            let words = with_words(&status, &link.words());
            Ok(Pushed::Declined { status, words })
        }
        (Ok(()), None) => Ok(Pushed::Unknown {
            failure: Failure::Declined(with_words("the host did not say what became of it", &link.words())),
        }),
        (Err(error), _) if classify::unpacking_failed(&error) => Ok(Pushed::Unknown {
            failure: Failure::Declined(with_words("the host could not store the entry", &link.words())),
        }),
        (Err(error), _) if sent.get() => {
            Ok(Pushed::Unknown { failure: Failure::Broken(link.failure(error)) })
        }
        (Err(error), _) => Err(link.failure(error)),
    }
}

fn with_words(status: &str, words: &str) -> String {
    let status = classify::words(status.as_bytes(), &[]);
    if words.is_empty() { status } else { format!("{status}: {words}") }
}

/// A push without an answer, to be settled by what the server has now.
struct UnansweredPush {
    ours: CommitHash,
    failure: Failure,
}

fn read_back(
    store: &mut Store,
    settings: &Settings,
    change: &Append,
    sent: UnansweredPush,
) -> Result<CommitHash, AppendError> {
    let branch = settings.record_branch.as_str();
    let attempted = Some(sent.ours);
    let tip = match store.fetch(&[branch], settings) {
        Ok(found) => found.get(branch),
        Err(unanswered) => {
            let source = match sent.failure {
                Failure::Broken(source) => source,
                Failure::Declined(_) => unanswered,
            };
            return Err(AppendError::Unreachable { attempted, source });
        }
    };
    if arrived(store, sent.ours, tip)? {
        return Ok(sent.ours);
    }
    if tip != change.expected {
        return Err(moved_to(store, change, tip));
    }
    Err(match sent.failure {
        Failure::Declined(words) => AppendError::Refused { words },
        Failure::Broken(source) => match source {
            GitError::Unreachable { .. } => AppendError::Unreachable { attempted, source },
            source => AppendError::Failed { source },
        },
    })
}

/// The server has another tip than the expected one: somebody's, or an earlier try of ours.
fn differing(
    store: &mut Store,
    settings: &Settings,
    change: &Append,
    ours: CommitHash,
) -> Result<CommitHash, AppendError> {
    let branch = settings.record_branch.as_str();
    let tip = store.fetch(&[branch], settings)?.get(branch);
    if arrived(store, ours, tip)? { Ok(ours) } else { Err(moved_to(store, change, tip)) }
}

fn arrived(store: &Store, ours: CommitHash, tip: Option<CommitHash>) -> Result<bool, GitError> {
    tip.map_or(Ok(false), |tip| store.is_descendant(&ours, &tip))
}

fn moved_to(store: &Store, change: &Append, tip: Option<CommitHash>) -> AppendError {
    match build::changed(&store.repo, &store.place, change.expected, tip) {
        Ok(changed) => AppendError::Moved { tip, changed },
        Err(error) => error.into(),
    }
}

/// Tags come first: an entry that names a rollback point must find it there.
fn push_tags(store: &Store, settings: &Settings, change: &Append) -> Result<(), AppendError> {
    if change.tags.is_empty() {
        return Ok(());
    }
    let heads = remote_heads(store, settings)?;
    for tag in &change.tags {
        if !tag_exists(&heads, tag)? {
            push_tag(store, settings, change, tag)?;
        }
    }
    Ok(())
}

fn push_tag(store: &Store, settings: &Settings, change: &Append, tag: &Tag) -> Result<(), AppendError> {
    let id = build::tag(&store.repo, &store.place, &settings.author, tag, change.at)?;
    let pushed = push(store, settings, &tag_ref(tag), id, Oid::ZERO_SHA1)?;
    let failure = match pushed {
        Pushed::Accepted => return Ok(()),
        Pushed::Differs { there } if there == id => return Ok(()),
        Pushed::Differs { there } => Failure::Broken(taken(tag, there)),
        Pushed::Declined { words, .. } => Failure::Declined(words),
        Pushed::Unknown { failure } => failure,
    };
    // Somebody may have made it meanwhile, perhaps ourselves.
    if remote_heads(store, settings).is_ok_and(|heads| tag_exists(&heads, tag).unwrap_or(false)) {
        return Ok(());
    }
    Err(match failure {
        Failure::Declined(words) => AppendError::Refused { words },
        Failure::Broken(source) => source.into(),
    })
}

fn remote_heads(store: &Store, settings: &Settings) -> Result<Heads, GitError> {
    match store.kind() {
        StoreKind::Remote { remote, .. } => remote::list(&store.repo, remote, &settings.credentials),
        StoreKind::Local => Ok(Heads::new()),
    }
}

fn tag_exists(heads: &Heads, tag: &Tag) -> Result<bool, GitError> {
    let name = tag_ref(tag);
    match heads.get(&format!("{name}^{{}}")).or_else(|| heads.get(&name)) {
        None => Ok(false),
        Some(target) if *target == tag.target.0 => Ok(true),
        Some(target) => Err(taken(tag, *target)),
    }
}

fn tag_ref(tag: &Tag) -> String {
    format!("refs/tags/{}", tag.name)
}

fn taken(tag: &Tag, target: Oid) -> GitError {
    GitError::TagTaken { name: tag.name.clone(), target: target.to_string() }
}
