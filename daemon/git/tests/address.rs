//! Which addresses are allowed, and that none shows its password.

use crate::git::address::Address;
use crate::git::credentials::Offer;

fn shown(text: &str) -> String {
    match Address::parse(text) {
        Ok(Address::Local(path)) => format!("local {}", path.display()),
        Ok(Address::Remote(remote)) => {
            let port = remote.port.map(|port| format!(" {port}")).unwrap_or_default();
            format!("remote {} at {}{port}", remote.text, remote.host)
        }
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn addresses_are_told_apart() {
    let table = [
        ("/srv/repo.git", "local /srv/repo.git"),
        ("./repo", "local ./repo"),
        ("../a:b/c", "local ../a:b/c"),
        ("repo", "local repo"),
        ("https://example.com/o/r.git", "remote https://example.com/o/r.git at example.com"),
        ("http://127.0.0.1:8080/r", "remote http://127.0.0.1:8080/r at 127.0.0.1 8080"),
        ("ssh://git@Example.com:2222/r", "remote ssh://git@Example.com:2222/r at example.com 2222"),
        ("ssh://git@[::1]:2222/r", "remote ssh://git@[::1]:2222/r at ::1 2222"),
        ("git@example.com:o/r.git", "remote git@example.com:o/r.git at example.com"),
        ("https://user@example.com/r", "remote https://example.com/r at example.com"),
    ];
    for (text, expected) in table {
        assert_eq!(shown(text), expected, "{text}");
    }
}

#[test]
fn other_addresses_are_refused() {
    let table = [
        ("", "it is empty"),
        ("--upload-pack=touch /tmp/x", "dash"),
        ("ssh://-oProxyCommand=x/r", "dash"),
        ("-x@host:r", "dash"),
        ("file:///srv/repo.git", "without file://"),
        ("git://example.com/r", "use https or ssh"),
        ("ext::sh -c touch", "helper programs"),
        ("ftp://example.com/r", "only local paths"),
        ("https://example.com", "names no repository"),
        ("https:///r", "names no host"),
        ("https://exa mple.com/r", "no host name"),
        ("https://example.com:port/r", "no number"),
        ("https://example.com/r\n", "control character"),
        ("https://example.com/r?private_token=hunter2", "query"),
        ("git@example.com:", "names no repository"),
    ];
    for (text, why) in table {
        let shown = shown(text);
        assert!(shown.starts_with("error: ") && shown.contains(why), "{text}: {shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn no_address_shows_its_secret() {
    let table = [
        "https://user:hunter2@example.com/r",
        "https://hunter2@example.com/r",
        "http://user:hunter2@example.com:80/r",
        "ssh://git:hunter2@example.com/r",
        "ftp://user:hunter2@example.com/r",
        "https://user:hunter2@exa mple.com/r",
        "https://user:hunter2%zz@example.com/r",
        "https://a@b:hunter2@example.com/r",
    ];
    for text in table {
        let debug = format!("{:?}", Address::parse(text));
        assert!(!shown(text).contains("hunter2"), "{}", shown(text));
        assert!(!debug.contains("hunter2"), "{debug}");
    }
}

#[test]
fn settings_hide_the_passwords_in_addresses() {
    let world = super::World::new();
    let mut settings = world.settings("https://user:hunter2@example.com/r");
    settings.record_url = Some("https://hunter2@example.com/record?hunter2".to_owned());
    let shown = format!("{settings:?}");
    assert!(!shown.contains("hunter2") && shown.contains("example.com/record"), "{shown}");
}

#[test]
fn the_store_of_git_is_searched_by_host() {
    let text = "https://a:one@example.com\nhttps://b:tw%40o@example.com/\nnonsense\nhttp://c:three@example.com:8080\n";
    let stored = |url: &str| {
        let Ok(Address::Remote(remote)) = Address::parse(url) else { panic!("a remote") };
        crate::git::credentials::stored_for(text, &remote)
    };
    let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
    assert_eq!(stored("https://example.com/r"), pair("a", "one"));
    assert_eq!(stored("https://b@Example.com/r"), pair("b", "tw@o"));
    assert_eq!(stored("http://example.com:8080/r"), pair("c", "three"));
    assert_eq!(stored("http://example.com/r"), None);
    assert_eq!(stored("https://example.org/r"), None);
}

#[test]
fn the_configured_helper_is_asked_for_the_host() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config");
    let helper = "!f() { if grep -q host=example.com; then echo username=ada; echo password=secret; fi; }; f";
    std::fs::write(&file, format!("[credential]\n\thelper = \"{helper}\"\n")).expect("a file");
    let config = git2::Config::open(&file).expect("a configuration");
    let asked = |url: &str| {
        let Ok(Address::Remote(remote)) = Address::parse(url) else { panic!("a remote") };
        match crate::git::credentials::helped(&config, &remote)? {
            Offer::Password { username, password, .. } => Some((username, password)),
            Offer::Agent | Offer::Key(_) => None,
        }
    };
    assert_eq!(asked("https://example.com/r"), Some(("ada".to_owned(), "secret".to_owned())));
    assert_eq!(asked("https://example.org/r"), None);
}

#[test]
fn passwords_are_decoded() {
    let Ok(Address::Remote(remote)) = Address::parse("https://a%40b:p%3Aw%2F@example.com/r") else {
        panic!("a remote");
    };
    assert_eq!(remote.username.as_deref(), Some("a@b"));
    assert_eq!(remote.password.as_deref(), Some("p:w/"));
}
