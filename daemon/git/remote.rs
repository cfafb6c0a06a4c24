//! Looks at a remote's branches and brings their commits into the clone.

use std::collections::BTreeMap;

use git2::{AutotagOption, Direction, FetchOptions, Oid, RemoteRedirect, Repository};

use super::address::Remote;
use super::error::GitError;
use super::link::Link;
use super::store::Found;
use super::types::{CommitHash, Credentials, branch_ref};

/// Tags that we made ourselves, so that a rollback point can be named.
const OUR_TAGS: &str = "refs/tags/windlass/";

/// What every name on the server points at; `name^{}` is what an annotated tag points at.
pub(super) type Heads = BTreeMap<String, Oid>;

pub(super) fn list(repo: &Repository, remote: &Remote, credentials: &Credentials) -> Result<Heads, GitError> {
    let link = Link::new(remote, credentials);
    let mut wire = link.wire(repo)?;
    let connection = wire
        .connect_auth(Direction::Fetch, Some(link.callbacks()), Some(Link::proxy()))
        .map_err(|error| link.failure(error))?;
    Ok(heads(connection.list().map_err(|error| link.failure(error))?))
}

fn heads(listed: &[git2::RemoteHead<'_>]) -> Heads {
    listed.iter().map(|head| (head.name().to_owned(), head.oid())).collect()
}

/// Lists and fetches over one connection, so that nothing moves between the two.
pub(super) fn fetch(
    repo: &Repository,
    remote: &Remote,
    credentials: &Credentials,
    branches: &[&str],
) -> Result<Found, GitError> {
    let link = Link::new(remote, credentials);
    let mut wire = link.wire(repo)?;
    let mut connection = wire
        .connect_auth(Direction::Fetch, Some(link.callbacks()), Some(Link::proxy()))
        .map_err(|error| link.failure(error))?;
    let heads = heads(connection.list().map_err(|error| link.failure(error))?);
    let wanted = missing(repo, &heads, branches);
    if !wanted.is_empty() {
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(link.callbacks())
            .proxy_options(Link::proxy())
            .follow_redirects(RemoteRedirect::None)
            .download_tags(AutotagOption::None)
            .update_fetchhead(false);
        connection.remote().fetch(&wanted, Some(&mut options), None).map_err(|error| link.failure(error))?;
    }
    drop(connection);
    settle(repo, remote, &heads, branches)
}

/// The refspecs of what the clone lacks; none when it has everything.
fn missing(repo: &Repository, heads: &Heads, branches: &[&str]) -> Vec<String> {
    let differs = |name: &str, there: Oid| repo.refname_to_id(name).ok() != Some(there);
    let branches = branches.iter().map(|branch| branch_ref(branch));
    let mut wanted: Vec<String> = branches
        .filter(|name| heads.get(name).is_some_and(|there| differs(name, *there)))
        .map(|name| format!("+{name}:{name}"))
        .collect();
    let mut tags = heads.iter().filter(|(name, _)| name.starts_with(OUR_TAGS));
    if tags.any(|(name, there)| !name.ends_with("^{}") && differs(name, *there)) {
        wanted.push(format!("+{OUR_TAGS}*:{OUR_TAGS}*"));
    }
    wanted
}

/// Checks that the tips can be read, and forgets branches that the server no longer has.
fn settle(repo: &Repository, remote: &Remote, heads: &Heads, branches: &[&str]) -> Result<Found, GitError> {
    let place = remote.text.clone();
    let fail = |error| GitError::git("reading what was fetched", &place, error);
    let mut found = Found { place: place.clone(), ..Found::default() };
    for branch in branches {
        let name = branch_ref(branch);
        if let Some(tip) = heads.get(&name) {
            repo.find_commit(*tip).and_then(|commit| commit.tree()).map_err(fail)?;
            found.tips.insert((*branch).to_owned(), CommitHash(*tip));
        } else if let Ok(mut gone) = repo.find_reference(&name) {
            gone.delete().map_err(fail)?;
        }
    }
    let names = heads.keys().filter_map(|name| name.strip_prefix("refs/heads/"));
    found.exists = names.map(str::to_owned).collect();
    Ok(found)
}
