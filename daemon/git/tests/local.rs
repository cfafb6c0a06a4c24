//! Appending to a repository on this machine.

use std::sync::{Arc, Barrier};

use super::{RECORD, World, chain, entry, open};
use crate::git::{AppendError, CommitHash, GitError, Repository, Tag};

fn tag(target: CommitHash) -> Tag {
    Tag { name: "windlass/demo/rollback/1".to_owned(), target, message: "rollback point 1".to_owned() }
}

#[test]
fn entries_are_commits_that_git_can_read() {
    let world = World::new();
    let mut repo = world.local();
    let tips = repo.fetch().expect("tips");
    assert_eq!((Some(tips.desired), tips.record), (world.tip("main"), None));
    let one = repo.append(&entry(None, "one")).expect("an entry");
    let two = repo.append(&entry(Some(one), "two")).expect("an entry");
    assert_eq!(repo.fetch().expect("tips").record, Some(two));
    assert_eq!(world.history(), [two, one]);
    let log = world.git(&["-C", "origin.git", "log", "--format=%an <%ae> %aI %s|%(trailers)", RECORD]);
    let stamp = "windlass <windlass@example.com> 2027-01-15T08:00:00+00:00";
    assert_eq!(log, format!("{stamp} demo: two|Cluster: demo\n\n{stamp} demo: one|Cluster: demo"));
    assert_eq!(world.git(&["-C", "origin.git", "show", &format!("{RECORD}:demo/one.yaml")]), "entry: one");
    let files = repo.read_record(&two, "demo").expect("files");
    assert_eq!(files.into_keys().collect::<Vec<_>>(), ["demo/one.yaml", "demo/two.yaml"]);
    world.fsck();
}

#[test]
fn the_same_entry_on_the_same_tip_is_the_same_commit() {
    let (world, other) = (World::new(), World::new());
    let one = world.local().append(&entry(None, "one")).expect("an entry");
    assert_eq!(other.local().append(&entry(None, "one")).expect("an entry"), one);
    assert_eq!(world.local().append(&entry(None, "one")).expect("again"), one, "trying again is harmless");
    let two = world.commit(RECORD, &[("other/status.yaml", "x")]);
    assert_eq!(world.local().append(&entry(None, "one")).expect("once more"), one, "below the tip too");
    assert_eq!(world.history(), [two, one]);
}

#[test]
fn another_writer_is_noticed_and_kept() {
    let world = World::new();
    let mut repo = world.local();
    let one = repo.append(&entry(None, "one")).expect("an entry");
    let theirs = world.commit(RECORD, &[("other/status.yaml", "x"), ("demo/one.yaml", "y")]);
    let error = repo.append(&entry(Some(one), "two")).expect_err("it moved");
    let AppendError::Moved { tip, changed } = error else { panic!("{}", chain(&error)) };
    assert_eq!(tip, Some(theirs));
    assert_eq!(changed, ["demo/one.yaml", "other/status.yaml"]);
    assert_eq!(world.tip(RECORD), Some(theirs));
    let two = repo.append(&entry(Some(theirs), "two")).expect("an entry");
    assert_eq!(world.history(), [two, theirs, one]);
}

#[test]
fn a_branch_that_appeared_or_went_away_is_noticed() {
    let world = World::new();
    let mut repo = world.local();
    let theirs = world.commit(RECORD, &[("other/status.yaml", "x")]);
    let error = repo.append(&entry(None, "one")).expect_err("it appeared");
    assert!(matches!(&error, AppendError::Moved { tip, .. } if *tip == Some(theirs)), "{}", chain(&error));
    world.git(&["-C", "origin.git", "update-ref", "-d", "refs/heads/windlass/status"]);
    let error = repo.append(&entry(Some(theirs), "one")).expect_err("it went away");
    let AppendError::Moved { tip: None, changed } = error else { panic!("{}", chain(&error)) };
    assert_eq!(changed, ["other/status.yaml"]);
}

#[test]
fn packed_refs_count() {
    let world = World::new();
    let mut repo = world.local();
    let one = repo.append(&entry(None, "one")).expect("an entry");
    world.git(&["-C", "origin.git", "pack-refs", "--all", "--prune"]);
    assert!(matches!(repo.append(&entry(None, "two")), Err(AppendError::Moved { .. })));
    let two = repo.append(&entry(Some(one), "two")).expect("an entry");
    assert_eq!(world.history(), [two, one]);
    world.git(&["-C", "origin.git", "gc", "--quiet", "--prune=now"]);
    repo.append(&entry(Some(two), "three")).expect("an entry");
    world.fsck();
}

/// Two writers append to the same tip over and over; each round has one winner.
#[test]
fn of_two_writers_one_wins() {
    let world = World::new();
    let mut tip = None;
    for round in 0..20 {
        let start = Arc::new(Barrier::new(2));
        let writers = ["left", "right"].map(|name| {
            let (mut repo, start) = (world.local(), Arc::clone(&start));
            std::thread::spawn(move || {
                start.wait();
                repo.append(&entry(tip, &format!("{round}-{name}")))
            })
        });
        let results = writers.map(|writer| writer.join().expect("no panic"));
        let won: Vec<CommitHash> =
            results.iter().filter_map(|result| result.as_ref().ok().copied()).collect();
        assert_eq!(won.len(), 1, "round {round}: {results:?}");
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            let lost = matches!(
                error,
                AppendError::Moved { .. } | AppendError::Failed { source: GitError::Busy { .. } }
            );
            assert!(lost, "{}", chain(error));
        }
        tip = world.tip(RECORD);
        assert_eq!(tip, won.first().copied());
    }
    assert_eq!(world.history().len(), 20);
    let merges = world.git(&["-C", "origin.git", "rev-list", "--count", "--merges", RECORD]);
    assert_eq!(merges, "0");
    world.fsck();
}

#[test]
fn a_lock_left_behind_is_named() {
    let world = World::new();
    let mut repo = world.local();
    let one = repo.append(&entry(None, "one")).expect("an entry");
    std::fs::write(world.origin().join("refs/heads/windlass/status.lock"), "").expect("a lock");
    let error = repo.append(&entry(Some(one), "two")).expect_err("it is locked");
    assert!(chain(&error).contains("refs/heads/windlass/status"), "{}", chain(&error));
    assert!(chain(&error).contains(".lock"), "{}", chain(&error));
    assert_eq!(world.tip(RECORD), Some(one));
}

#[test]
fn a_tag_is_made_once() {
    let world = World::new();
    let mut repo = world.local();
    let first = world.tip("main").expect("a commit");
    let mut change = entry(None, "one");
    change.tags.push(tag(first));
    let one = repo.append(&change).expect("an entry");
    let name = "windlass/demo/rollback/1";
    assert_eq!(world.git(&["-C", "origin.git", "cat-file", "-t", name]), "tag");
    assert_eq!(repo.resolve(name).expect("a commit"), first);
    let mut again = entry(Some(one), "two");
    again.tags.push(tag(first));
    again.at = again.at.saturating_add(jiff::SignedDuration::from_secs(5)).expect("a time");
    let two = repo.append(&again).expect("the same target is fine");
    let second = world.commit("main", &[("a", "b")]);
    let mut other = entry(Some(two), "three");
    other.tags.push(tag(second));
    let error = repo.append(&other).expect_err("the tag is taken");
    assert!(chain(&error).contains(&format!("{name}\" already points at {first}")), "{}", chain(&error));
    assert_eq!(world.tip(RECORD), Some(two));
    world.fsck();
}

#[test]
fn names_that_cannot_live_side_by_side_are_an_error() {
    for other in ["windlass", "windlass/status/x"] {
        for pack in [false, true] {
            let world = World::new();
            world.commit(other, &[("a", "b")]);
            if pack {
                world.git(&["-C", "origin.git", "pack-refs", "--all", "--prune"]);
            }
            let error = world.local().append(&entry(None, "one")).expect_err("git cannot hold both");
            let expected = format!("has \"refs/heads/{other}\", and git cannot hold");
            assert!(chain(&error).contains(&expected), "{}", chain(&error));
        }
    }
}

#[test]
fn shards_have_branches_of_their_own() {
    let world = World::new();
    let mut settings = world.settings(world.origin().display().to_string());
    settings.record_branch = "windlass/status-eu".to_owned();
    let mut repo = open(settings);
    let one = repo.append(&entry(None, "one")).expect("an entry");
    assert_eq!(world.tip("windlass/status-eu"), Some(one));
    world.local().append(&entry(None, "one")).expect("the other branch");
}

#[test]
fn a_branch_that_is_checked_out_is_left_alone() {
    let world = World::new();
    world.local().append(&entry(None, "one")).expect("an entry");
    world.git(&["clone", "--quiet", "--branch", RECORD, "origin.git", "tree"]);
    world.git(&["-C", "origin.git", "worktree", "add", "--quiet", "../second", RECORD]);
    for place in ["tree", "origin.git"] {
        let mut settings = world.settings(world.path().join(place).display().to_string());
        settings.branch = "other".to_owned();
        let mut repo = open(settings);
        let tip = world.tip(RECORD);
        let error = repo.append(&entry(tip, "two")).expect_err("somebody works there");
        assert!(matches!(&error, AppendError::Refused { words } if words.contains("checked out")));
    }
}

#[test]
fn the_record_may_live_apart() {
    let world = World::new();
    world.git(&["init", "--quiet", "--bare", "record.git"]);
    let mut settings = world.settings(world.origin().display().to_string());
    settings.record_url = Some(world.path().join("record.git").display().to_string());
    let mut repo = open(settings);
    assert!(repo.record_is_apart());
    let desired = repo.fetch().expect("tips").desired;
    let one = repo.append(&entry(None, "one")).expect("an entry");
    assert_eq!(repo.fetch().expect("tips").record, Some(one));
    assert_eq!(repo.commit(&one).expect("a commit").subject(), "demo: one");
    assert_eq!(world.tip(RECORD), None, "the desired state is only read");
    let mut tagged = entry(Some(one), "two");
    tagged.tags.push(tag(desired));
    let error = repo.append(&tagged).expect_err("the target is elsewhere");
    assert!(chain(&error).contains("tags need the record beside"), "{}", chain(&error));
}

#[test]
fn bad_input_is_refused_before_anything_is_written() {
    let world = World::new();
    let mut repo = world.local();
    for path in ["", "/a", "a/", "a//b", "../a", "a/./b", ".git/config", "a/.GIT/b", "a\\b", "a\nb"] {
        let mut change = entry(None, "one");
        change.files.insert(path.to_owned(), Vec::new());
        let error = repo.append(&change).expect_err(path);
        assert!(chain(&error).contains("cannot be the path"), "{path}: {}", chain(&error));
    }
    let mut change = entry(None, "one");
    change.message = " \n".to_owned();
    assert!(repo.append(&change).is_err());
    assert_eq!(world.tip(RECORD), None);
}

#[test]
fn settings_are_checked() {
    let world = World::new();
    let good = world.settings(world.origin().display().to_string());
    for name in ["", "-x", "a..b", "a b", "a.lock", "a\nb", "/a", "refs//x", "@{-1}"] {
        let mut settings = good.clone();
        settings.branch = name.to_owned();
        assert!(matches!(Repository::open(settings), Err(GitError::Name { .. })), "{name:?}");
    }
    let mut settings = good.clone();
    settings.record_branch = "main".to_owned();
    assert!(matches!(Repository::open(settings), Err(GitError::SameBranch { .. })));
    let mut settings = good.clone();
    settings.author.name = "<>".to_owned();
    assert!(matches!(Repository::open(settings), Err(GitError::Author { .. })));
    let mut settings = good;
    settings.url = world.path().join("nowhere").display().to_string();
    assert!(matches!(Repository::open(settings), Err(GitError::Open { .. })));
}

#[test]
fn a_missing_branch_names_those_that_exist() {
    let world = World::new();
    world.commit("trunk", &[("a", "b")]);
    let mut settings = world.settings(world.origin().display().to_string());
    settings.branch = "mian".to_owned();
    let error = open(settings).fetch().expect_err("no such branch");
    assert!(error.to_string().ends_with("has no branch \"mian\"; it has main, trunk"), "{error}");
}

#[test]
fn many_may_open_at_once() {
    let world = World::new();
    let settings = world.settings(world.origin().display().to_string());
    let openers: Vec<_> = (0..16)
        .map(|_| {
            let settings = settings.clone();
            std::thread::spawn(move || Repository::open(settings).map(|_| ()))
        })
        .collect();
    for opener in openers {
        opener.join().expect("no panic").expect("it opens");
    }
}
