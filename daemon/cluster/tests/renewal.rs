//! Credentials that are renewed while a client is in use.

use super::https::{Signed, VERSION, serve};
use super::kubeconfig::{EXEC, file, folder};
use crate::cluster::{ClusterApi, call};

/// A server that answers `/version` to one token and 401 to all others; and the tokens that it was shown.
struct Guarded {
    address: String,
    wanted: std::sync::Arc<std::sync::Mutex<String>>,
    shown: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

impl Guarded {
    fn new() -> Self {
        use std::io::{BufRead as _, BufReader, Write as _};
        let mut server = Self {
            address: String::new(),
            wanted: std::sync::Arc::default(),
            shown: std::sync::Arc::default(),
        };
        let (wanted, shown) = (server.wanted.clone(), server.shown.clone());
        server.address = serve(&Signed::server(), &[], move |stream| {
            let mut stream = BufReader::new(stream);
            let (mut token, mut line) = (String::new(), String::new());
            while stream.read_line(&mut line).is_ok_and(|read| read > 0) {
                let line = std::mem::take(&mut line);
                let line = line.trim_end();
                if let Some((_, value)) = line.split_once("uthorization: Bearer ") {
                    value.clone_into(&mut token);
                }
                if !line.is_empty() {
                    continue;
                }
                let known = token == *wanted.lock().unwrap();
                shown.lock().unwrap().push(std::mem::take(&mut token));
                let status = if known { "200 OK" } else { "401 Unauthorized" };
                let body = if known {
                    VERSION
                } else {
                    r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"no","reason":"Unauthorized","code":401}"#
                };
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        });
        server
    }

    async fn takes(&self, api: &ClusterApi, token: &str) {
        token.clone_into(&mut self.wanted.lock().unwrap());
        let asked = call(api.client.apiserver_version()).await;
        assert!(asked.is_ok(), "{token}: {asked:?}, shown {:?}", self.shown.lock().unwrap());
    }
}

#[tokio::test]
async fn renewed_credentials_are_used_from_the_next_request_on() {
    let server = Guarded::new();
    let folder = folder();
    let path = folder.path().join("config");
    let cluster = format!("server: '{}', insecure-skip-tls-verify: true", server.address);
    let user = |text: &str| std::fs::write(&path, file(&cluster, text)).unwrap();
    user("token: first");
    let api = ClusterApi::connect(std::slice::from_ref(&path), "c").await.unwrap();
    server.takes(&api, "first").await;
    user("token: second-one");
    server.takes(&api, "second-one").await;
    // A token file, and what is written over it, and a link that is swapped as a projected volume does.
    std::fs::write(folder.path().join("t1"), "from-a-file\n").unwrap();
    std::fs::write(folder.path().join("t2"), "from-a-swapped-link\n").unwrap();
    user("tokenFile: t1");
    server.takes(&api, "from-a-file").await;
    std::fs::write(folder.path().join("t1"), "written-over-it\n").unwrap();
    server.takes(&api, "written-over-it").await;
    std::fs::remove_file(folder.path().join("t1")).unwrap();
    std::os::unix::fs::symlink("t2", folder.path().join("t1")).unwrap();
    server.takes(&api, "from-a-swapped-link").await;
    // In the middle of being written: the old credentials go on, and the whole file is read when it is there.
    std::fs::write(&path, "users: [{name: u, user: {token: ").unwrap();
    server.takes(&api, "from-a-swapped-link").await;
    user("token: after-the-cut");
    server.takes(&api, "after-the-cut").await;
    // A plugin that is asked again near the end of what it granted.
    std::fs::write(folder.path().join("granted"), "granted-first").unwrap();
    let print = "echo '{\\\"apiVersion\\\":\\\"client.authentication.k8s.io/v1\\\",\\\"kind\\\":\\\"ExecCredential\\\",\\\"status\\\":{\\\"token\\\":\\\"'$(cat $F)'\\\"}}'";
    user(&format!(
        "exec: {{{EXEC}, command: /bin/sh, args: ['-c', \"{print}\"], env: [{{name: F, value: '{}'}}]}}",
        folder.path().join("granted").display()
    ));
    server.takes(&api, "granted-first").await;
    let asked = server.shown.lock().unwrap().len();
    server.takes(&api, "granted-first").await;
    assert_eq!(server.shown.lock().unwrap().len(), asked + 1, "nothing is asked twice");
}
