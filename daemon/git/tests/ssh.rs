//! Fetching and appending over ssh, from the real sshd; skipped where there is none.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{World, chain, entry, open};
use crate::git::{GitError, Settings};

const SSHD: &str = "/usr/sbin/sshd";
/// sshd insists on this folder, which only its own start script makes.
const SSHD_FOLDER: &str = "/run/sshd";

/// An sshd per connection, on a port of its own.
struct Host {
    folder: PathBuf,
    port: u16,
    user: String,
}

impl Host {
    fn start(world: &World) -> Option<Self> {
        if !Path::new(SSHD).exists() || !Path::new(SSHD_FOLDER).exists() {
            eprintln!("skipped: {SSHD} and {SSHD_FOLDER} are needed, as openssh-server brings them");
            return None;
        }
        let folder = world.path().to_owned();
        for name in ["host_key", "key", "other_key"] {
            run(&folder, "ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", name]);
        }
        let shown = folder.display();
        let config = format!(
            "HostKey {shown}/host_key\nAuthorizedKeysFile {shown}/key.pub\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPermitRootLogin yes\nLogLevel QUIET\n"
        );
        std::fs::write(folder.join("sshd_config"), config).expect("a file");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let served = folder.clone();
        std::thread::spawn(move || serve(&listener, &served));
        Some(Self { user: run(&folder, "id", &["-un"]), folder, port })
    }

    fn settings(&self, world: &World) -> Settings {
        let repo = world.origin();
        let url = format!("ssh://{}@127.0.0.1:{}{}", self.user, self.port, repo.display());
        let mut settings = world.settings(url);
        settings.credentials.ssh_key = Some(self.folder.join("key"));
        settings.credentials.known_hosts = Some(self.folder.join("known_hosts"));
        settings
    }

    /// Writes what `ssh-keyscan` would print, with the public key in the given file.
    fn know(&self, key: &str) {
        let key = std::fs::read_to_string(self.folder.join(key)).expect("a key");
        let line = format!("[127.0.0.1]:{} {key}", self.port);
        std::fs::write(self.folder.join("known_hosts"), line).expect("a file");
    }
}

fn serve(listener: &TcpListener, folder: &Path) {
    while let Ok((stream, _)) = listener.accept() {
        let input = OwnedFd::from(stream.try_clone().expect("a second handle"));
        let mut child = Command::new(SSHD)
            .args(["-i", "-f"])
            .arg(folder.join("sshd_config"))
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(OwnedFd::from(stream)))
            .stderr(Stdio::null())
            .spawn()
            .expect("sshd runs");
        let _ = child.wait();
    }
}

fn run(folder: &Path, program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(folder).output().expect("it runs");
    assert!(output.status.success(), "{program} {args:?}");
    String::from_utf8(output.stdout).expect("plain output").trim().to_owned()
}

#[test]
fn entries_are_appended_over_ssh() {
    let world = World::new();
    let Some(host) = Host::start(&world) else { return };
    host.know("host_key.pub");
    let mut repo = open(host.settings(&world));
    assert_eq!(Some(repo.fetch().expect("tips").desired), world.tip("main"));
    let one = repo.append(&entry(None, "one")).expect("an entry");
    let two = repo.append(&entry(Some(one), "two")).expect("an entry");
    assert_eq!(world.history(), [two, one]);
    world.hook("update", "echo frozen >&2; exit 1");
    let error = repo.append(&entry(Some(two), "three")).expect_err("the hook says no");
    assert!(chain(&error).contains("hook declined: frozen"), "{}", chain(&error));
}

#[test]
fn hosts_and_keys_that_are_not_known_are_refused() {
    let world = World::new();
    let Some(host) = Host::start(&world) else { return };
    let fingerprint = run(&host.folder, "ssh-keygen", &["-l", "-f", "host_key.pub"]);
    let fingerprint = fingerprint.split(' ').nth(1).expect("a fingerprint").to_owned();

    let error = open(host.settings(&world)).fetch().expect_err("there is no file");
    assert!(chain(&error).contains("known_hosts: No such file"), "{}", chain(&error));

    std::fs::write(host.folder.join("known_hosts"), "").expect("a file");
    let error = open(host.settings(&world)).fetch().expect_err("an unknown host");
    let shown = chain(&error);
    assert!(matches!(error, GitError::HostKey { .. }), "{shown}");
    assert!(shown.contains(&fingerprint), "{shown}");
    assert!(shown.contains(&format!("ssh-keyscan -p {} 127.0.0.1", host.port)), "{shown}");

    host.know("other_key.pub");
    let error = open(host.settings(&world)).fetch().expect_err("another key");
    assert!(chain(&error).contains("somebody stands in between"), "{}", chain(&error));

    let mut unnamed = host.settings(&world);
    unnamed.credentials.known_hosts = None;
    let error = open(unnamed).fetch().expect_err("nobody knows this port");
    assert!(chain(&error).contains(&fingerprint), "{}", chain(&error));

    host.know("host_key.pub");
    let mut settings = host.settings(&world);
    settings.credentials.ssh_key = Some(host.folder.join("other_key"));
    let error = open(settings).fetch().expect_err("not our key");
    assert!(matches!(error, GitError::AuthRefused { .. }), "{}", chain(&error));
    assert!(error.to_string().contains("other_key"), "{error}");

    let mut settings = host.settings(&world);
    settings.url.push_str("-nowhere");
    let error = open(settings).fetch().expect_err("no repository");
    assert!(matches!(error, GitError::NoRepository { .. }), "{}", chain(&error));
}

#[test]
fn keys_with_a_passphrase_are_told_apart() {
    let world = World::new();
    for (name, words, format, expected) in [
        ("open", "", "RFC4716", true),
        ("closed", "secret", "RFC4716", false),
        ("open-pem", "", "PEM", true),
        ("closed-pem", "secret", "PEM", false),
    ] {
        let args = ["-q", "-t", "rsa", "-b", "2048", "-m", format, "-N", words, "-f", name];
        run(world.path(), "ssh-keygen", &args);
        let key = std::fs::read_to_string(world.path().join(name)).expect("a key");
        assert_eq!(crate::git::credentials::is_open(&key), expected, "{name}");
    }
}
