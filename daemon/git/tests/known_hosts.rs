//! Host keys against files that the real ssh-keygen wrote.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::git::known_hosts::{KeyTrust, filed_as, fingerprint, judge};

/// An ed25519 key as it stands on the wire, made up of its kind and 32 equal bytes.
fn key(fill: u8) -> Vec<u8> {
    let kind = b"ssh-ed25519";
    let mut key = vec![0, 0, 0, 11];
    key.extend_from_slice(kind);
    key.extend_from_slice(&[0, 0, 0, 32]);
    key.extend_from_slice(&[fill; 32]);
    key
}

fn line(hosts: &str, fill: u8) -> String {
    format!("{hosts} ssh-ed25519 {} comment\n", STANDARD.encode(key(fill)))
}

#[test]
fn plain_names() {
    let table = [
        ("example.com", "example.com", KeyTrust::Known),
        ("Example.com", "example.com", KeyTrust::Known),
        ("other.com,example.com", "example.com", KeyTrust::Known),
        ("*.example.com", "git.example.com", KeyTrust::Known),
        ("*.example.com", "example.com", KeyTrust::Unknown),
        ("git?.example.com", "git1.example.com", KeyTrust::Known),
        ("*.example.com,!bad.example.com", "bad.example.com", KeyTrust::Unknown),
        ("[example.com]:2222", "[example.com]:2222", KeyTrust::Known),
        ("example.com", "[example.com]:2222", KeyTrust::Unknown),
        ("# example.com", "example.com", KeyTrust::Unknown),
        ("@cert-authority example.com", "example.com", KeyTrust::Unknown),
        ("@revoked example.com", "example.com", KeyTrust::Revoked { line: 1 }),
    ];
    for (hosts, name, expected) in table {
        assert_eq!(judge(&line(hosts, 1), name, &key(1)), expected, "{hosts} {name}");
    }
}

#[test]
fn another_key_of_the_same_kind_is_a_change() {
    let text = format!("# ours\n{}", line("example.com", 1));
    assert_eq!(judge(&text, "example.com", &key(2)), KeyTrust::Changed { line: 2 });
    let both = format!("{text}{}", line("example.com", 2));
    assert_eq!(judge(&both, "example.com", &key(2)), KeyTrust::Known);
    let revoked = format!("{both}{}", line("@revoked *", 2));
    assert_eq!(judge(&revoked, "example.com", &key(2)), KeyTrust::Revoked { line: 4 });
}

#[test]
fn a_key_of_another_kind_is_unknown() {
    let mut other = key(1);
    other[4..15].copy_from_slice(b"ssh-ed99999");
    assert_eq!(judge(&line("example.com", 1), "example.com", &other), KeyTrust::Unknown);
}

#[test]
fn ports_are_filed_as_openssh_does() {
    assert_eq!(filed_as("Example.com", None), "example.com");
    assert_eq!(filed_as("example.com", Some(22)), "example.com");
    assert_eq!(filed_as("example.com", Some(2222)), "[example.com]:2222");
}

#[test]
fn hashed_names_and_fingerprints_agree_with_openssh() {
    let dir = tempfile::tempdir().expect("a folder");
    let keygen = |args: &[&str]| {
        Command::new("ssh-keygen").args(args).current_dir(dir.path()).output().map(|output| {
            assert!(output.status.success(), "ssh-keygen {args:?}");
            String::from_utf8(output.stdout).expect("plain output")
        })
    };
    let Ok(_) = keygen(&["-q", "-t", "ed25519", "-N", "", "-f", "key"]) else {
        eprintln!("skipped: there is no ssh-keygen on this machine");
        return;
    };
    let public = std::fs::read_to_string(dir.path().join("key.pub")).expect("a key");
    let raw = STANDARD.decode(public.split(' ').nth(1).expect("a key")).expect("base64");
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, format!("example.com {public}[example.com]:2222 {public}")).expect("a file");
    keygen(&["-H", "-f", "hosts"]).expect("it ran before");
    let hashed = std::fs::read_to_string(&hosts).expect("a file");
    assert!(hashed.starts_with("|1|") && !hashed.contains("example.com"), "{hashed}");
    assert_eq!(judge(&hashed, "example.com", &raw), KeyTrust::Known);
    assert_eq!(judge(&hashed, "[example.com]:2222", &raw), KeyTrust::Known);
    assert_eq!(judge(&hashed, "example.org", &raw), KeyTrust::Unknown);
    assert_eq!(judge(&hashed, "example.com", &key(1)), KeyTrust::Changed { line: 1 });
    let listed = keygen(&["-l", "-f", "key.pub"]).expect("it ran before");
    assert!(listed.contains(&fingerprint(&raw)), "{listed}");
}
