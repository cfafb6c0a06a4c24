//! Kubeconfigs in the shapes that people have them, each judged against what kubectl makes of it; and that none of
//! their secrets is ever shown.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::cluster::kubeconfig::{Access, Login, Trust, read};
use crate::cluster::{ClusterApi, ConnectError, call};

/// A certificate, and a text that looks like a key: nothing here connects.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
const CERTIFICATE_DATA: &str =
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tClFVSkQKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----\n";
const KEY_DATA: &str = "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tClFVSkQKLS0tLS1FTkQgUFJJVkFURSBLRVktLS0tLQo=";
pub(super) const EXEC: &str = "apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never";

/// A folder with the files that the rows name.
pub(super) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("ca.crt", CERTIFICATE),
        ("bundle.crt", &format!("Subject: a CA\n{CERTIFICATE}\n# and another\n{CERTIFICATE}")),
        ("no.crt", "nothing\n"),
        ("me.crt", CERTIFICATE),
        ("me.key", KEY),
        ("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nQUJD\n-----END ENCRYPTED PRIVATE KEY-----\n"),
        ("token", "abc\n"),
        ("empty", ""),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

pub(super) fn file(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\npreferences: {{}}\nclusters: [{{name: k, cluster: {{{cluster}}}}}]\nusers: [{{name: u, \
         user: {{{user}}}}}]\ncontexts: [{{name: c, context: {{cluster: k, user: u, namespace: n}}}}]\n"
    )
}

/// What was understood, in words.
fn told(access: &Access, folder: &Path) -> String {
    let mut text = access.server.to_string();
    match &access.trust {
        Trust::Anything => text.push_str(" insecure"),
        Trust::Roots(roots) => write!(text, " roots={}", roots.len()).unwrap(),
        Trust::System => {}
    }
    if let Some(name) = &access.server_name {
        write!(text, " name={name}").unwrap();
    }
    if let Some(proxy) = &access.proxy {
        write!(text, " proxy={proxy}").unwrap();
    }
    match &access.login {
        Login::Anonymous => {}
        Login::Token(token) => write!(text, " token={}", token.reveal()).unwrap(),
        Login::Password(name, password) => write!(text, " basic={name}/{}", password.reveal()).unwrap(),
        Login::Exec(exec) => {
            let command = exec.command.display().to_string();
            write!(text, " exec={}", command.replace(&folder.display().to_string(), "DIR")).unwrap();
        }
    }
    if access.identity.is_some() {
        text.push_str(" certificate");
    }
    if let Some(other) = &access.impersonate {
        write!(text, " as={}/{}", other.user, other.groups.join("+")).unwrap();
    }
    text
}

fn judged(cluster: &str, user: &str) -> String {
    let folder = folder();
    let path = folder.path().join("config");
    std::fs::write(&path, file(cluster, user)).unwrap();
    match read(&[path], "c") {
        Ok(access) => told(&access, folder.path()),
        Err(error) => format!("refused: {error}").replace(&folder.path().display().to_string(), "DIR"),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is one table")]
fn a_context_is_understood_as_kubectl_understands_it() {
    let https = "server: 'https://h:6443'";
    let with = |more: &str| format!("{https}, {more}");
    let exec = |more: &str| format!("exec: {{{EXEC}, {more}}}");
    // Where kubectl refuses, so do we, and say what to do; the words after `refused` are a part of ours.
    let rows: Vec<(String, String, &str)> = vec![
        (https.into(), String::new(), "https://h:6443/"),
        ("server: 'http://127.0.0.1:8001'".into(), String::new(), "http://127.0.0.1:8001/"),
        (
            "server: 'https://rancher/k8s/clusters/c-1'".into(),
            String::new(),
            "https://rancher/k8s/clusters/c-1",
        ),
        (
            "server: 'h:6443', insecure-skip-tls-verify: true".into(),
            String::new(),
            "https://h:6443/ insecure",
        ),
        ("server: 'h:8080'".into(), String::new(), "http://h:8080/"),
        ("server: ''".into(), String::new(), "refused: it has no `server`"),
        ("server: 'ftp://h'".into(), String::new(), "refused: is neither http nor https"),
        // Trust.
        (with("certificate-authority: ca.crt"), String::new(), "https://h:6443/ roots=1"),
        (with("certificate-authority: bundle.crt"), String::new(), "https://h:6443/ roots=2"),
        (with("certificate-authority: no.crt"), String::new(), "refused: holds no certificate in PEM"),
        (
            with("certificate-authority: gone.crt"),
            String::new(),
            "refused: certificate-authority DIR/gone.crt cannot be read",
        ),
        (
            with(&format!("certificate-authority-data: {CERTIFICATE_DATA}")),
            String::new(),
            "https://h:6443/ roots=1",
        ),
        (with("certificate-authority-data: ''"), String::new(), "https://h:6443/"),
        (with("certificate-authority-data: 'not base64!'"), String::new(), "refused: is not base64"),
        (
            with(&format!("certificate-authority: ca.crt, certificate-authority-data: {CERTIFICATE_DATA}")),
            String::new(),
            "refused: it has both certificate-authority and certificate-authority-data",
        ),
        (with("insecure-skip-tls-verify: true"), String::new(), "https://h:6443/ insecure"),
        (
            with("insecure-skip-tls-verify: true, certificate-authority: ca.crt"),
            String::new(),
            "refused: insecure-skip-tls-verify and a certificate-authority",
        ),
        (with("tls-server-name: other"), String::new(), "https://h:6443/ name=other"),
        (with("tls-server-name: other."), String::new(), "https://h:6443/ name=other"),
        (with("insecure-skip-tls-verify: null"), String::new(), "https://h:6443/"),
        (with("tls-server-name: a, tls-server-name: b"), String::new(), "https://h:6443/ name=b"),
        ("server: 'http://h'".into(), "token: abc".into(), "http://h/ token=abc"),
        (https.into(), "as: \"a\\nb\"".into(), "refused: holds a line break"),
        // Proxies.
        (with("proxy-url: 'http://p:3128'"), String::new(), "https://h:6443/ proxy=http://p:3128/"),
        (with("proxy-url: 'socks5://p:1080'"), String::new(), "https://h:6443/ proxy=socks5://p:1080/"),
        (with("proxy-url: 'https://p'"), String::new(), "https://h:6443/ proxy=https://p/"),
        (with("proxy-url: ''"), String::new(), "https://h:6443/"),
        (with("proxy-url: 'socks4://p'"), String::new(), "refused: its proxy-url is not one of"),
        (with("proxy-url: 'p:3128'"), String::new(), "refused: its proxy-url is not one of"),
        // Tokens.
        (https.into(), "token: abc".into(), "https://h:6443/ token=abc"),
        (https.into(), "token: \"abc\\n\"".into(), "refused: its token holds a line break"),
        (https.into(), "token: ''".into(), "https://h:6443/"),
        (https.into(), "tokenFile: token".into(), "https://h:6443/ token=abc"),
        (https.into(), "token: old, tokenFile: token".into(), "https://h:6443/ token=abc"),
        (https.into(), "token: old, tokenFile: gone".into(), "https://h:6443/ token=old"),
        (https.into(), "tokenFile: gone".into(), "refused: tokenFile DIR/gone cannot be read"),
        (https.into(), "tokenFile: empty".into(), "refused: its tokenFile is empty"),
        (https.into(), "username: a, password: b".into(), "https://h:6443/ basic=a/b"),
        (https.into(), "username: a, token: b".into(), "refused: it has a token and a username"),
        // Client certificates.
        (
            https.into(),
            "client-certificate: me.crt, client-key: me.key".into(),
            "https://h:6443/ certificate",
        ),
        (
            https.into(),
            format!("client-certificate-data: {CERTIFICATE_DATA}, client-key-data: {KEY_DATA}"),
            "https://h:6443/ certificate",
        ),
        (
            https.into(),
            format!("client-certificate-data: {CERTIFICATE_DATA}, client-key: me.key"),
            "https://h:6443/ certificate",
        ),
        (
            https.into(),
            "client-certificate: me.crt".into(),
            "refused: it has a client-certificate and no client-key",
        ),
        (
            https.into(),
            "client-certificate: me.crt, client-key: token".into(),
            "refused: its client-key is not",
        ),
        (
            https.into(),
            "client-certificate: me.crt, client-key: locked.key".into(),
            "refused: its client-key is encrypted",
        ),
        (
            https.into(),
            "client-certificate: token, client-key: me.key".into(),
            "refused: its client-certificate is not",
        ),
        // Plugins. A command with a `/` lies beside the kubeconfig.
        (https.into(), exec("command: aws"), "https://h:6443/ exec=aws"),
        (https.into(), exec("command: ./bin/login"), "https://h:6443/ exec=DIR/./bin/login"),
        (https.into(), exec("command: /usr/bin/login"), "https://h:6443/ exec=/usr/bin/login"),
        (https.into(), exec("command: ''"), "refused: its exec plugin has no `command`"),
        (https.into(), format!("token: abc, {}", exec("command: aws")), "https://h:6443/ token=abc"),
        (
            https.into(),
            "exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: aws}".into(),
            "https://h:6443/ exec=aws",
        ),
        (
            https.into(),
            "exec: {apiVersion: client.authentication.k8s.io/v1, command: aws}".into(),
            "refused: its exec plugin has no interactiveMode",
        ),
        (
            https.into(),
            "exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: aws}".into(),
            "refused: its exec plugin has the apiVersion `client.authentication.k8s.io/v1alpha1`",
        ),
        (
            https.into(),
            "exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, interactiveMode: Always}"
                .into(),
            "refused: nobody is there to be asked",
        ),
        (
            https.into(),
            format!("{}, auth-provider: {{name: oidc}}", exec("command: aws")),
            "refused: it has `exec` and an `auth-provider`",
        ),
        (
            https.into(),
            "auth-provider: {name: gcp}".into(),
            "refused: its auth-provider `gcp` is not supported",
        ),
        // Impersonation.
        (
            https.into(),
            "token: abc, as: jane, as-groups: [a, b]".into(),
            "https://h:6443/ token=abc as=jane/a+b",
        ),
        (https.into(), "as-groups: [a]".into(), "refused: without `as`"),
        // What is not known is passed over.
        (
            with("extensions: [{name: x, extension: {a: 1}}], disable-compression: true"),
            String::new(),
            "https://h:6443/",
        ),
    ];
    assert!(rows.len() >= 30, "{}", rows.len());
    for (cluster, user, expected) in rows {
        let found = judged(&cluster, &user);
        match expected.strip_prefix("refused: ") {
            None => assert_eq!(found, expected, "{cluster} / {user}"),
            Some(part) => {
                assert!(found.starts_with("refused: kubeconfig DIR/config: "), "{cluster} / {user}: {found}");
                assert!(found.contains(part), "{cluster} / {user}: {found}");
            }
        }
    }
}

fn written(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn several_files_are_one_and_the_first_entry_of_a_name_counts() {
    let folder = folder();
    let entry = |name: &str, server: &str, context: &str| {
        format!(
            "clusters: [{{name: {name}, cluster: {{server: '{server}', certificate-authority: ca.crt}}}}]\n\
             contexts: [{{name: {context}, context: {{cluster: {name}, user: u}}}}]\n"
        )
    };
    let a = written(&folder, "a", &entry("k", "https://a", "one"));
    std::fs::create_dir_all(folder.path().join("sub")).unwrap();
    std::fs::write(folder.path().join("sub/ca.crt"), CERTIFICATE.repeat(3)).unwrap();
    let b = written(
        &folder,
        "sub/b",
        &(entry("other", "https://b", "two") + "users: [{name: u, user: {token: t}}]\n"),
    );
    let c = written(&folder, "c", &entry("k", "https://c", "three"));
    let gone = folder.path().join("gone");
    let empty = written(&folder, "empty.yaml", "\n");
    let all = [gone, empty, a, b, c];
    for (context, expected) in [
        ("one", "https://a/ roots=1 token=t"),
        // Its paths are relative to its own file.
        ("two", "https://b/ roots=3 token=t"),
        // The context is of the third file, and the cluster of that name of the first.
        ("three", "https://a/ roots=1 token=t"),
    ] {
        assert_eq!(told(&read(&all, context).unwrap(), folder.path()), expected, "{context}");
    }
    let error = read(&all, "four").unwrap_err().to_string();
    assert!(error.contains("has no context `four`") && error.contains("it has: one, two, three"), "{error}");
    // A file that is there and cannot be read stops all, as for kubectl; so does a missing one that stands alone.
    let broken = written(&folder, "broken", "clusters: [{name: k, cluster: [1]}]\n");
    let error = read(&[all[2].clone(), broken], "one").unwrap_err().to_string();
    assert!(error.contains("broken:1:") && error.contains("not what a kubeconfig has there"), "{error}");
    assert!(matches!(read(&all[..1], "one"), Err(ConnectError::Read { .. })));
}

/// A marker in every field that may hold a secret, and in what a plugin prints; nothing that is shown has it.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is one table")]
async fn no_secret_is_in_an_error_or_in_what_debug_shows() {
    const MARKER: &str = "hunter2hunter2";
    let folder = folder();
    std::fs::write(folder.path().join("secret"), format!("{MARKER}\u{1}")).unwrap();
    let script = |text: &str| {
        format!(
            "exec: {{{EXEC}, command: /bin/sh, args: ['-c', \"{text}\"], env: [{{name: S, value: {MARKER}}}]}}"
        )
    };
    let exec_arg =
        |command: &str| format!("exec: {{{EXEC}, command: {command}, args: [--secret, {MARKER}]}}");
    let users = vec![
        format!("token: {MARKER}"),
        format!("token: \"{MARKER}\\n\""),
        format!("token: [{MARKER}]"),
        format!("token: {{a: {MARKER}}}"),
        "tokenFile: secret".to_owned(),
        format!("username: a, password: {MARKER}"),
        format!("username: a, token: b, password: {MARKER}"),
        format!("client-certificate: me.crt, client-key-data: {MARKER}"),
        format!("client-certificate-data: {MARKER}, client-key: me.key"),
        format!("client-certificate-data: {CERTIFICATE_DATA}, client-key-data: [{MARKER}]"),
        format!(
            "auth-provider: {{name: oidc, config: {{client-secret: {MARKER}, refresh-token: {MARKER}}}}}"
        ),
        exec_arg("/bin/false"),
        exec_arg("no-such-program"),
        script("echo told >&2; exit 1"),
        // It prints what it was given.
        script("echo $S >&2; exit 1"),
        script("echo $S"),
        script("printf '{\\\"apiVersion\\\":\\\"'$S'\\\"'"),
        format!("exec: {{{EXEC}, command: /bin/sh, args: [1, {{a: {MARKER}}}]}}"),
        // It prints a part of what it was given, or the same in another form.
        format!(
            "exec: {{{EXEC}, command: /bin/sh, args: ['-c', 'echo ${{1#*=}} >&2; exit 1', sh, '--secret={MARKER}']}}"
        ),
        format!("exec: {{{EXEC}, command: /bin/sh, args: ['-xc', 'curl -u me:{MARKER} x || exit 1']}}"),
        format!(
            "exec: {{{EXEC}, command: /bin/sh, args: ['-c', 'echo $S >&2; exit 1'], env: [{{name: S, value: \"a b\\n{MARKER}\"}}]}}"
        ),
        format!("exec: {{{EXEC}, command: './p --token {MARKER}'}}"),
        format!(
            "exec: {{{EXEC}, command: /bin/sh, args: ['-c', 'echo {MARKER} >&2; : -p{MARKER}; exit 1']}}"
        ),
        format!("exec: {{apiVersion: {MARKER}, interactiveMode: Never, command: aws}}"),
        format!("exec: {{{EXEC}, command: /bin/sh, env: [{{name: '', value: {MARKER}}}]}}"),
    ];
    let clusters = [
        "server: 'https://127.0.0.1:1'".to_owned(),
        format!("server: 'https://127.0.0.1:1', proxy-url: 'http://u:{MARKER}@127.0.0.1:1'"),
        format!("server: 'https://127.0.0.1:1', proxy-url: 'ftp://u:{MARKER}@127.0.0.1:1'"),
        format!("server: 'https://u:{MARKER}@127.0.0.1:1'"),
        format!("server: 'https://u:{MARKER}@h o/'"),
        format!("server: 'https://u:{MARKER}@'"),
        format!("server: 'ftp://u:{MARKER}@h'"),
    ];
    let path = folder.path().join("config");
    for (cluster, user) in users
        .iter()
        .map(|user| (&clusters[0], user.as_str()))
        .chain(clusters.iter().map(|cluster| (cluster, "token: abcdef")))
    {
        std::fs::write(&path, file(cluster, user)).unwrap();
        let mut shown = match read(std::slice::from_ref(&path), "c") {
            Ok(access) => format!("{access:?} {:?} {:?}", access.login, access.identity),
            Err(error) => format!("{error} {error:?}"),
        };
        match ClusterApi::connect(std::slice::from_ref(&path), "c").await {
            Ok(api) => {
                let asked = call(api.client.apiserver_version()).await;
                write!(shown, " {asked:?}").unwrap();
            }
            Err(error) => write!(shown, " {error} {error:?}").unwrap(),
        }
        assert!(!shown.contains(MARKER), "{cluster} / {user}: {shown}");
    }
}

#[tokio::test]
async fn what_a_plugin_says_is_told_and_what_is_missing_is_named() {
    let folder = folder();
    let path = folder.path().join("config");
    for (exec, expected) in [
        (
            "command: /bin/sh, args: ['-c', 'echo run az login >&2; exit 3']",
            "exit status: 3, and said: run az login",
        ),
        ("command: /bin/false", "exit status: 1, and said nothing"),
        (
            "command: /bin/sh, args: ['-c', 'echo swordfish >&2; : --password swordfish; exit 1']",
            "exit status: 1, and said: (hidden)",
        ),
        ("command: no-such-program, installHint: 'brew install it'", "`no-such-program` is not installed"),
        ("command: no-such-program, installHint: 'brew install it'", "says: brew install it"),
        ("command: /bin/echo", "printed something that is no ExecCredential"),
        (
            "command: 'no-such-program --token x'",
            "`no-such-program …`, with more words, which belong under `args`",
        ),
        (
            r#"command: /bin/echo, args: ['{"apiVersion":"client.authentication.k8s.io/v1","status":{"token":"abc\n"}}']"#,
            "gave a token that holds a line break",
        ),
    ] {
        std::fs::write(&path, file("server: 'https://127.0.0.1:1'", &format!("exec: {{{EXEC}, {exec}}}")))
            .unwrap();
        let error = ClusterApi::connect(std::slice::from_ref(&path), "c").await.err().unwrap().to_string();
        assert!(error.contains("user `u`: the exec plugin") && error.contains(expected), "{exec}: {error}");
    }
}

#[test]
fn every_file_that_a_context_is_read_from_is_looked_at_again() {
    let folder = folder();
    let path = folder.path().join("config");
    let user = "client-certificate: me.crt, client-key: me.key, tokenFile: token";
    std::fs::write(&path, file("server: 'https://h', certificate-authority: ca.crt", user)).unwrap();
    let missing = folder.path().join("not-there-yet");
    let access = read(&[path.clone(), missing.clone()], "c").unwrap();
    for file in ["ca.crt", "me.crt", "me.key", "token"]
        .map(|name| folder.path().join(name))
        .iter()
        .chain([&path, &missing])
    {
        assert!(access.files.contains(file), "{}", file.display());
    }
}
