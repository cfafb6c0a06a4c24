//! The client, its kubeconfigs, and how credentials are renewed.

mod https;
mod kubeconfig;
mod renewal;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use super::*;

/// A kubeconfig with two contexts, the first of them behind a proxy.
fn kubeconfig(proxy: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters:
  - {{name: far, cluster: {{server: 'http://cluster.invalid:6443', proxy-url: '{proxy}'}}}}
  - {{name: near, cluster: {{server: 'http://cluster.invalid:6443'}}}}
contexts:
  - {{name: far, context: {{cluster: far, user: nobody}}}}
  - {{name: near, context: {{cluster: near, user: nobody}}}}
users: []
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_through_the_proxy_that_the_kubeconfig_names() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").unwrap();
        line
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kube");
    std::fs::write(&path, kubeconfig(&format!("http://{address}"))).unwrap();
    let cluster = ClusterApi::connect(&[path], "far").await.unwrap();
    cluster.client.apiserver_version().await.unwrap_err();
    assert_eq!(asked.join().unwrap(), "CONNECT cluster.invalid:6443 HTTP/1.1\r\n");
}
