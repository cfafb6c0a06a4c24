//! Fetching from and appending to a server, and everything a server and a network can do to us.

use super::http_backend::{Fault, Server};
use super::{RECORD, World, chain, entry, open};
use crate::git::{AppendError, CommitHash, GitError, Limits, Repository, Tag};

fn served() -> (World, Server, Repository) {
    let world = World::new();
    let server = Server::start(world.path());
    let repo = open(world.settings(server.url()));
    (world, server, repo)
}

#[test]
fn a_remote_is_fetched_and_read() {
    let (world, server, mut repo) = served();
    let tips = repo.fetch().expect("tips");
    assert_eq!((Some(tips.desired), tips.record), (world.tip("main"), None));
    let files = repo.read(&tips.desired, &["desired-state"], &Limits::default()).expect("files");
    assert_eq!(files.len(), 1);
    let before = server.requests().len();
    repo.fetch().expect("tips");
    assert_eq!(server.requests().len(), before + 1, "nothing new costs one request");
    let second = world.commit("main", &[("a", "b")]);
    assert_eq!(repo.fetch().expect("tips").desired, second);
    assert!(repo.is_descendant(&tips.desired, &second).expect("an answer"));
    assert_eq!(repo.resolve("main").expect("a commit"), second);
}

#[test]
fn entries_are_appended() {
    let (world, _server, mut repo) = served();
    repo.fetch().expect("tips");
    let one = repo.append(&entry(None, "one")).expect("an entry");
    let two = repo.append(&entry(Some(one), "two")).expect("an entry");
    assert_eq!(world.history(), [two, one]);
    assert_eq!(repo.append(&entry(Some(one), "two")).expect("again"), two, "trying again is harmless");
    assert_eq!(repo.fetch().expect("tips").record, Some(two));
    assert_eq!(repo.read_record(&two, "demo").expect("files").len(), 2);
    world.fsck();
    let tips = open(world.settings(world.origin().display().to_string())).fetch().expect("tips");
    assert_eq!(tips.record, Some(two));
}

#[test]
fn a_writer_who_came_first_is_noticed_and_kept() {
    let (world, _server, mut repo) = served();
    let one = repo.append(&entry(None, "one")).expect("an entry");
    let theirs = world.commit(RECORD, &[("other/status.yaml", "x")]);
    let error = repo.append(&entry(Some(one), "two")).expect_err("it moved");
    let AppendError::Moved { tip, changed } = error else { panic!("{}", chain(&error)) };
    assert_eq!((tip, changed), (Some(theirs), vec!["other/status.yaml".to_owned()]));
    let two = repo.append(&entry(Some(theirs), "two")).expect("an entry");
    assert_eq!(world.history(), [two, theirs, one]);
}

/// Ours descends from what is there, so a plain fast-forward check would not notice.
#[test]
fn a_branch_that_went_back_is_noticed() {
    let (world, _server, mut repo) = served();
    let one = repo.append(&entry(None, "one")).expect("an entry");
    let two = repo.append(&entry(Some(one), "two")).expect("an entry");
    world.git(&["-C", "origin.git", "update-ref", "refs/heads/windlass/status", &one.to_string()]);
    let error = repo.append(&entry(Some(two), "three")).expect_err("it moved");
    let AppendError::Moved { tip, changed } = error else { panic!("{}", chain(&error)) };
    assert_eq!((tip, changed), (Some(one), vec!["demo/two.yaml".to_owned()]));
    assert_eq!(world.tip(RECORD), Some(one));
    world.git(&["-C", "origin.git", "update-ref", "-d", "refs/heads/windlass/status"]);
    let error = repo.append(&entry(Some(one), "two")).expect_err("it went away");
    assert!(matches!(error, AppendError::Moved { tip: None, .. }), "{}", chain(&error));
}

fn race(expected_exists: bool) {
    let (world, server, mut repo) = served();
    let one = expected_exists.then(|| repo.append(&entry(None, "one")).expect("an entry"));
    let (send, theirs) = std::sync::mpsc::channel();
    let world = std::sync::Arc::new(world);
    let other = std::sync::Arc::clone(&world);
    server.before_push(move || {
        let _ = send.send(other.commit(RECORD, &[("other/status.yaml", "x")]));
    });
    let error = repo.append(&entry(one, "two")).expect_err("it moved meanwhile");
    let theirs = theirs.recv().expect("the other writer wrote");
    let AppendError::Moved { tip, changed } = error else { panic!("{}", chain(&error)) };
    assert_eq!((tip, changed), (Some(theirs), vec!["other/status.yaml".to_owned()]));
    assert_eq!(world.tip(RECORD), Some(theirs), "the other's commit stays");
}

#[test]
fn a_writer_between_negotiation_and_update_wins() {
    race(true);
}

#[test]
fn a_branch_created_between_negotiation_and_update_wins() {
    race(false);
}

#[test]
fn a_hook_that_declines_is_quoted() {
    for hook in ["update", "pre-receive"] {
        let (world, _server, mut repo) = served();
        let one = repo.append(&entry(None, "one")).expect("an entry");
        world.hook(hook, "printf 'frozen until \\033[31mMonday\\033[0m\\nask ops\\n' >&2; exit 1");
        let error = repo.append(&entry(Some(one), "two")).expect_err("the hook says no");
        let AppendError::Refused { words } = error else { panic!("{}", chain(&error)) };
        assert!(words.contains("hook declined"), "{words}");
        assert!(words.contains("frozen until [31mMonday [0m\nask ops"), "{words}");
        assert_eq!(world.tip(RECORD), Some(one));
    }
}

#[test]
fn a_branch_that_the_host_hides_is_not_there() {
    let (world, _server, mut repo) = served();
    let one = repo.append(&entry(None, "one")).expect("an entry");
    world.git(&["-C", "origin.git", "config", "transfer.hideRefs", "refs/heads/windlass"]);
    let error = repo.append(&entry(Some(one), "two")).expect_err("the branch is hidden");
    assert!(matches!(error, AppendError::Moved { tip: None, .. }), "{}", chain(&error));
    assert_eq!(world.tip(RECORD), Some(one));
}

#[test]
fn an_object_that_the_host_refuses_is_a_refusal() {
    let (world, _server, mut repo) = served();
    world.git(&["-C", "origin.git", "config", "receive.maxInputSize", "10"]);
    let error = repo.append(&entry(None, "one")).expect_err("it is too large");
    assert!(matches!(error, AppendError::Refused { .. }), "{}", chain(&error));
    assert_eq!(world.tip(RECORD), None);
}

#[test]
fn a_push_that_is_never_answered_did_not_arrive() {
    let (world, server, mut repo) = served();
    let one = repo.append(&entry(None, "one")).expect("an entry");
    server.fault(Fault::HangPush);
    let error = repo.append(&entry(Some(one), "two")).expect_err("no answer");
    let AppendError::Unreachable { attempted: Some(attempted), .. } = error else {
        panic!("{}", chain(&error));
    };
    assert_eq!(world.tip(RECORD), Some(one));
    server.fault(Fault::None);
    assert_eq!(repo.append(&entry(Some(one), "two")).expect("an entry"), attempted);
    assert_eq!(world.history(), [attempted, one]);
}

#[test]
fn a_push_whose_answer_is_lost_counts() {
    let (world, server, mut repo) = served();
    let one = repo.append(&entry(None, "one")).expect("an entry");
    server.fault(Fault::CutPush);
    let two = repo.append(&entry(Some(one), "two")).expect("it arrived");
    assert_eq!(world.history(), [two, one]);
}

#[test]
fn a_push_that_cannot_be_read_back_may_have_arrived() {
    let (world, server, mut repo) = served();
    server.fault(Fault::CutPushThenHang);
    let error = repo.append(&entry(None, "one")).expect_err("nobody knows");
    let AppendError::Unreachable { attempted: Some(attempted), .. } = error else {
        panic!("{}", chain(&error));
    };
    assert_eq!(world.tip(RECORD), Some(attempted));
    server.fault(Fault::None);
    assert_eq!(repo.append(&entry(None, "one")).expect("it is there"), attempted);
    let theirs = world.commit(RECORD, &[("other/status.yaml", "x")]);
    assert_eq!(repo.append(&entry(None, "one")).expect("it is below the tip"), attempted);
    assert_eq!(world.history(), [theirs, attempted]);
}

#[test]
fn a_server_that_is_away_is_unreachable() {
    let (world, server, mut repo) = served();
    let one = repo.append(&entry(None, "one")).expect("an entry");
    for fault in [Fault::Status(500), Fault::Status(503)] {
        server.fault(fault);
        let error = repo.fetch().expect_err("it is away");
        assert!(matches!(error, GitError::Unreachable { .. }), "{}", chain(&error));
        let error = repo.append(&entry(Some(one), "two")).expect_err("it is away");
        assert!(matches!(error, AppendError::Unreachable { attempted: None, .. }), "{}", chain(&error));
    }
    let url = server.url();
    drop(server);
    let error = repo.fetch().expect_err("it is away");
    assert!(error.to_string().contains(&url), "{error}");
    assert!(matches!(error, GitError::Unreachable { .. }), "{}", chain(&error));
    drop(world);
}

#[test]
fn a_silent_server_is_given_up_on() {
    let (_world, server, mut repo) = served();
    server.fault(Fault::HangAll);
    let error = repo.fetch().expect_err("no answer");
    assert!(matches!(error, GitError::Unreachable { .. }), "{}", chain(&error));
}

#[test]
fn wrong_places_are_told_apart() {
    let (world, server, mut repo) = served();
    let mut settings = world.settings(format!("http://{}/nowhere.git", server.address));
    let error = open(settings.clone()).fetch().expect_err("no repository");
    assert!(matches!(error, GitError::NoRepository { .. }), "{}", chain(&error));
    settings = world.settings(server.url());
    settings.branch = "trunk".to_owned();
    let error = open(settings).fetch().expect_err("no branch");
    assert!(error.to_string().ends_with("has no branch \"trunk\"; it has main"), "{error}");
    world.git(&["-C", "origin.git", "update-ref", "-d", "refs/heads/main"]);
    let error = repo.fetch().expect_err("it is empty");
    assert!(error.to_string().ends_with("it has no branches yet"), "{error}");
}

#[test]
fn a_redirect_to_another_host_is_not_followed() {
    let (world, server, _repo) = served();
    let elsewhere = Server::start(world.path());
    elsewhere.ask_for("git", "canary");
    let port = elsewhere.address.rsplit(':').next().expect("a port").to_owned();
    server.fault(Fault::Redirect(format!("http://localhost:{port}")));
    let mut settings = world.settings(server.url());
    settings.credentials.token_file = Some(token(&world, "canary"));
    let error = open(settings).fetch().expect_err("it points elsewhere");
    assert!(matches!(error, GitError::Redirected { .. }), "{}", chain(&error));
    assert!(elsewhere.requests().is_empty(), "{:?}", elsewhere.requests());
}

fn token(world: &World, text: &str) -> std::path::PathBuf {
    let path = world.path().join("token");
    std::fs::write(&path, format!("{text}\n")).expect("a token");
    path
}

#[test]
fn a_token_opens_and_is_never_shown() {
    let (world, server, mut nameless) = served();
    server.ask_for("git", "canary-7");
    let error = nameless.fetch().expect_err("nobody asked for us");
    assert!(matches!(error, GitError::AuthRefused { .. }), "{}", chain(&error));
    assert!(error.to_string().contains("no credentials"), "{error}");

    let mut settings = world.settings(server.url());
    settings.credentials.token_file = Some(token(&world, "canary-7"));
    let mut repo = open(settings.clone());
    repo.fetch().expect("tips");
    let one = repo.append(&entry(None, "one")).expect("an entry");
    world.hook("update", "echo your password is canary-7 >&2; exit 1");
    let error = repo.append(&entry(Some(one), "two")).expect_err("the hook says no");
    assert!(chain(&error).contains("your password is ***"), "{}", chain(&error));

    token(&world, "canary-8");
    let error = repo.fetch().expect_err("it was changed");
    assert!(matches!(error, GitError::AuthRefused { .. }), "{}", chain(&error));
    let shown = format!("{error:?} {}", chain(&error));
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("the token in"), "{shown}");
    let before = server.requests().len();
    let _ = repo.fetch();
    assert!(server.requests().len() <= before + 3, "a wrong token is offered once");
    server.ask_for("git", "canary-8");
    repo.fetch().expect("a token may rotate");

    settings.credentials.token_file = Some(world.path().join("no-token"));
    let error = open(settings).fetch().expect_err("no token");
    assert!(matches!(error, GitError::TokenFile { .. }), "{}", chain(&error));
}

#[test]
fn a_password_in_the_address_works_and_is_never_shown() {
    let (world, server, _repo) = served();
    server.ask_for("me", "canary/9");
    let url = format!("http://me:canary%2F9@{}/origin.git", server.address);
    let mut repo = open(world.settings(url.clone()));
    repo.fetch().expect("tips");
    server.ask_for("me", "other");
    let error = repo.fetch().expect_err("it was changed");
    let shown = format!("{error:?} {}", chain(&error));
    assert!(!shown.contains("canary") && shown.contains(&server.url()), "{shown}");
    for file in walk(&world.path().join("cache")) {
        let bytes = std::fs::read(&file).expect("a file");
        assert!(!String::from_utf8_lossy(&bytes).contains("canary"), "{}", file.display());
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for found in std::fs::read_dir(folder).expect("a folder") {
        let path = found.expect("an entry").path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

fn tagged(expected: Option<CommitHash>, name: &str, target: CommitHash) -> crate::git::Append {
    let mut change = entry(expected, name);
    let name = "windlass/demo/rollback/1".to_owned();
    change.tags.push(Tag { name, target, message: "rollback point 1".to_owned() });
    change
}

#[test]
fn tags_come_first_and_once() {
    let (world, server, mut repo) = served();
    let first = repo.fetch().expect("tips").desired;
    let one = repo.append(&tagged(None, "one", first)).expect("an entry");
    let name = "windlass/demo/rollback/1";
    assert_eq!(world.git(&["-C", "origin.git", "cat-file", "-t", name]), "tag");
    assert_eq!(world.git(&["-C", "origin.git", "rev-parse", &format!("{name}^{{}}")]), first.to_string());
    let mut again = tagged(Some(one), "two", first);
    again.at = jiff::Timestamp::from_second(1_900_000_000).expect("a time");
    let two = repo.append(&again).expect("the same target is fine");
    let second = world.commit("main", &[("a", "b")]);
    repo.fetch().expect("tips");
    let error = repo.append(&tagged(Some(two), "three", second)).expect_err("the tag is taken");
    assert!(chain(&error).contains(&format!("already points at {first}")), "{}", chain(&error));
    assert_eq!(world.tip(RECORD), Some(two));
    let mut fresh = open(world.settings(server.url()));
    fresh.fetch().expect("tips");
    assert_eq!(fresh.resolve(name).expect("a commit"), first, "a fresh clone knows it too");
    world.fsck();
}

#[test]
fn a_protected_tag_keeps_the_entry_back() {
    let (world, _server, mut repo) = served();
    let first = repo.fetch().expect("tips").desired;
    world.hook("update", "case $1 in refs/tags/*) echo tags are protected >&2; exit 1;; esac");
    let error = repo.append(&tagged(None, "one", first)).expect_err("the hook says no");
    let AppendError::Refused { words } = error else { panic!("{}", chain(&error)) };
    assert!(words.contains("tags are protected"), "{words}");
    assert_eq!(world.tip(RECORD), None);
}

#[test]
fn clones_are_not_shared_and_broken_ones_are_made_anew() {
    let (world, server, mut repo) = served();
    let tips = repo.fetch().expect("tips");
    let mut second = open(world.settings(server.url()));
    assert_eq!(second.fetch().expect("tips"), tips, "two at once have a clone each");
    drop(second);
    let clone = walk(&world.path().join("cache")).into_iter().find(|path| path.ends_with("HEAD"));
    let clone = clone.and_then(|head| head.parent().map(std::path::Path::to_owned)).expect("a clone");
    drop(repo);

    std::fs::write(clone.join("HEAD"), "").expect("a broken file");
    let mut repo = open(world.settings(server.url()));
    assert_eq!(repo.fetch().expect("tips"), tips, "no HEAD");

    std::fs::write(clone.join("refs/heads/main"), "rubbish\n").expect("a broken file");
    assert_eq!(repo.fetch().expect("tips"), tips, "no branch");

    std::fs::remove_dir_all(clone.join("objects/pack")).expect("a folder");
    std::fs::create_dir(clone.join("objects/pack")).expect("a folder");
    drop(repo);
    let mut repo = open(world.settings(server.url()));
    assert_eq!(repo.fetch().expect("tips"), tips, "no objects");
    assert_eq!(repo.read(&tips.desired, &[""], &Limits::default()).expect("files").len(), 1);
}

#[test]
fn a_certificate_that_nobody_signed_is_refused() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    let world = World::new();
    let subject = ["-subj", "/CN=localhost", "-keyout", "tls.key", "-out", "tls.crt"];
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(subject)
        .current_dir(world.path())
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no openssl on this machine");
        return;
    }
    let mut server = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "tls.crt", "-key", "tls.key", "-www"])
        .current_dir(world.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl ran before");
    let lines = BufReader::new(server.stdout.take().expect("an output")).lines();
    let mut ports = lines.map_while(Result::ok).filter_map(|line| {
        line.strip_prefix("ACCEPT ").and_then(|at| at.rsplit(':').next().map(str::to_owned))
    });
    let port = ports.next().expect("it listens");
    let error = open(world.settings(format!("https://localhost:{port}/r.git")))
        .fetch()
        .expect_err("nobody signed it");
    server.kill().and_then(|()| server.wait()).expect("it ends");
    assert!(matches!(error, GitError::Certificate { .. }), "{}", chain(&error));
}
