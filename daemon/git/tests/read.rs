//! Files at a commit: what is read, and what is refused one by one.

use git2::{ObjectType, Oid};

use super::{World, chain};
use crate::git::{Blob, BlobRefusal, CommitHash, GitError, Limits};

fn text(text: &str) -> Blob {
    Blob::Text(text.to_owned())
}

fn refused(why: BlobRefusal) -> Blob {
    Blob::Refused { why }
}

/// A commit whose top has exactly these entries, however odd; git itself would not make it.
fn hostile(world: &World, entries: &[(&str, &[u8], Oid)]) -> CommitHash {
    let repo = git2::Repository::open(world.origin()).expect("the origin");
    let mut raw = Vec::new();
    for (mode, name, id) in entries {
        raw.extend_from_slice(mode.as_bytes());
        raw.push(b' ');
        raw.extend_from_slice(name);
        raw.push(0);
        raw.extend_from_slice(id.as_bytes());
    }
    let tree = repo.odb().expect("objects").write(ObjectType::Tree, &raw).expect("a tree");
    let commit = format!("tree {tree}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nhostile\n");
    CommitHash(repo.odb().expect("objects").write(ObjectType::Commit, commit.as_bytes()).expect("a commit"))
}

fn blob(world: &World, content: &[u8]) -> Oid {
    let repo = git2::Repository::open(world.origin()).expect("the origin");
    repo.blob(content).expect("a blob")
}

#[test]
fn folders_are_read_and_nothing_else() {
    let world = World::new();
    let files = [
        ("policies/freeze.yaml", "kind: Freeze\n"),
        ("policies-old/x.yaml", "x"),
        ("desired-state/demo/addons/a/b.yaml", "b"),
        ("README.md", "hello"),
    ];
    let tip = world.commit("main", &files);
    let repo = world.local();
    let read = |folders: &[&str]| repo.read(&tip, folders, &Limits::default()).expect("files");
    let both = read(&["desired-state/", "./policies", "missing", "desired-state/demo"]);
    let paths: Vec<&str> = both.keys().map(String::as_str).collect();
    let expected =
        ["desired-state/demo/addons/a/b.yaml", "desired-state/demo/cluster.yaml", "policies/freeze.yaml"];
    assert_eq!(paths, expected);
    assert_eq!(both["policies/freeze.yaml"], text("kind: Freeze\n"));
    assert_eq!(read(&[""]).len(), 5);
    assert_eq!(read(&["../etc", "desired-state/../policies"]).len(), 0);
}

#[test]
fn links_and_submodules_are_named_and_not_followed() {
    let world = World::new();
    let some = world.tip("main").expect("a commit").to_string();
    let tip = world.commit_modes(
        "main",
        &[
            ("120000", "desired-state/link.yaml", "/etc/passwd"),
            ("120000", "policies", "desired-state"),
            ("160000", "desired-state/module", &some),
            ("100755", "desired-state/run.sh", "#!"),
            ("100644", "file", "x"),
        ],
    );
    let repo = world.local();
    let files = repo.read(&tip, &["desired-state", "policies/inner", "file/inner"], &Limits::default());
    let files = files.expect("files");
    assert_eq!(files["desired-state/link.yaml"], refused(BlobRefusal::Symlink));
    assert_eq!(files["desired-state/module"], refused(BlobRefusal::Submodule));
    assert_eq!(files["policies"], refused(BlobRefusal::Symlink));
    assert_eq!(files["file"], refused(BlobRefusal::NotAFolder));
    assert_eq!(files["desired-state/run.sh"], text("#!"));
}

#[test]
fn odd_names_and_bytes_are_refused_one_by_one() {
    let world = World::new();
    let (good, latin) = (blob(&world, b"good"), blob(&world, b"caf\xe9"));
    let folder =
        git2::Repository::open(world.origin()).and_then(|repo| Ok(repo.head()?.peel_to_tree()?.id()));
    let folder = folder.expect("a folder");
    let tip = hostile(
        &world,
        &[
            ("100644", b"..", good),
            ("100644", b".git", good),
            ("100644", b"a/b", good),
            ("100644", b"bell\x07", good),
            ("100644", b"caf\xe9", good),
            ("100644", b"good", good),
            ("100644", b"latin", latin),
            ("100644", b"twice", good),
            ("100644", b"twice", good),
            ("100644", b"zone", folder),
        ],
    );
    let files = world.local().read(&tip, &[""], &Limits::default()).expect("files");
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["..", ".git", "a\u{fffd}b", "bell\u{fffd}", "caf\u{fffd}", "good", "latin", "twice", "zone"]
    );
    for name in ["..", ".git", "a\u{fffd}b", "bell\u{fffd}", "caf\u{fffd}"] {
        assert_eq!(files[name], refused(BlobRefusal::Name), "{name}");
    }
    assert_eq!(files["good"], text("good"));
    assert_eq!(files["latin"], refused(BlobRefusal::Encoding));
    assert_eq!(files["twice"], refused(BlobRefusal::Twice));
    assert_eq!(files["zone"], refused(BlobRefusal::NotAFile));
}

#[test]
fn a_file_over_the_limit_is_refused_by_its_header() {
    let world = World::new();
    let mib = 1024 * 1024;
    let (exact, over) = (" ".repeat(mib), " ".repeat(mib + 1));
    let tip = world.commit("main", &[("d/exact", &exact), ("d/over", &over)]);
    let files = world.local().read(&tip, &["d"], &Limits::default()).expect("files");
    assert_eq!(files["d/exact"], text(&exact));
    let (size, limit) = (1_048_577, 1_048_576);
    assert_eq!(files["d/over"], refused(BlobRefusal::TooLarge { size, limit }));
}

#[test]
fn a_commit_over_the_limits_is_one_error() {
    let world = World::new();
    let big = blob(&world, " ".repeat(1024 * 1024).as_bytes());
    let names: Vec<String> = (0..64).map(|number| format!("{number:02}")).collect();
    let entries: Vec<_> = names.iter().map(|name| ("100644", name.as_bytes(), big)).collect();
    let tip = hostile(&world, &entries);
    let repo = world.local();
    // Sixty-four files of a MiB are the limit, and the folder that names them is more.
    let error = repo.read(&tip, &[""], &Limits::default()).expect_err("too much");
    assert!(matches!(error, GitError::TooMuch { .. }), "{}", chain(&error));
    assert!(error.to_string().contains("67108864 bytes"), "{error}");
    let few = Limits { entries: 63, total: u64::MAX, ..Limits::default() };
    let error = repo.read(&tip, &[""], &few).expect_err("too many");
    assert!(error.to_string().contains("63 files and folders"), "{error}");
    let enough = Limits { entries: 64, total: u64::MAX, ..Limits::default() };
    assert_eq!(repo.read(&tip, &[""], &enough).expect("files").len(), 64);
}

#[test]
fn a_tree_that_multiplies_itself_ends() {
    let world = World::new();
    let repo = git2::Repository::open(world.origin()).expect("the origin");
    let mut tree = repo.treebuilder(None).and_then(|builder| builder.write()).expect("a tree");
    for _ in 0..40 {
        let mut builder = repo.treebuilder(None).expect("a builder");
        for name in ["a", "b", "c", "d"] {
            builder.insert(name, tree, 0o040_000).expect("an entry");
        }
        tree = builder.write().expect("a tree");
    }
    let tip = hostile(&world, &[("40000", b"bomb", tree)]);
    let error = world.local().read(&tip, &["bomb"], &Limits::default()).expect_err("too many");
    assert!(matches!(error, GitError::TooMuch { .. }), "{}", chain(&error));
}

#[test]
fn commits_are_found_by_name_and_by_id() {
    let world = World::new();
    let first = world.tip("main").expect("a commit");
    let second = world.commit("main", &[("a", "b")]);
    let other = world.commit("other", &[("c", "d")]);
    let repo = world.local();
    assert_eq!(repo.resolve("main").expect("a commit"), second);
    assert_eq!(repo.resolve(&first.to_string()).expect("a commit"), first);
    assert_eq!(repo.resolve(&first.short()).expect("a commit"), first);
    assert!(matches!(repo.resolve("nothing"), Err(GitError::NoSuchCommit { .. })));
    assert!(matches!(repo.resolve("main:a"), Err(GitError::NoSuchCommit { .. })));
    assert!(repo.is_descendant(&first, &second).expect("an answer"));
    assert!(repo.is_descendant(&first, &first).expect("an answer"));
    assert!(!repo.is_descendant(&second, &first).expect("an answer"));
    assert!(!repo.is_descendant(&first, &other).expect("an answer"));
    let info = repo.commit(&second).expect("a commit");
    assert_eq!(info.subject(), "change");
    assert_eq!(info.parents, [first]);
    assert_eq!(info.committer.to_string(), "Someone <someone@example.com>");
    assert_eq!(info.time.to_string(), "2023-11-14T22:13:20Z");
    let log = repo.log(&second, 10).expect("a log");
    assert_eq!(log.iter().map(|info| info.id).collect::<Vec<_>>(), [second, first]);
    assert_eq!(repo.log(&second, 1).expect("a log").len(), 1);
    let missing = "0123456789012345678901234567890123456789".parse().expect("an id");
    assert!(matches!(repo.commit(&missing), Err(GitError::NoSuchCommit { .. })));
}
