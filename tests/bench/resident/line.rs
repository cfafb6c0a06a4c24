//! The simulated API server behind TLS, until the input ends.

use std::io::Read as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_openssl::SslStream;
use hyper_util::rt::TokioIo;
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::ssl::{Ssl, SslAcceptor, SslContext, SslMethod};
use openssl::x509::X509;
use openssl::x509::extension::SubjectAlternativeName;
use serde_json::json;
use tokio::net::TcpStream;
use tower::ServiceExt as _;
use windlass::clock::Clock;
use windlass::sim;

use crate::crowd;
use crate::world::CLUSTER;

/// Builds the cluster, serves it, and says at the end how many evictions it has accepted.
pub fn serve(folder: &Path, nodes: usize, kubelets: &str) {
    let cluster = crowd::cluster(nodes, kubelets);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (now, sleep_until) = Clock::machine().functions();
    let server = sim::Server::new(cluster, now, sleep_until);
    runtime.block_on(async {
        let driven = server.clone();
        tokio::spawn(async move { driven.drive().await });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (context, certificate) = identity();
        let serving = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(connection(stream, context.clone(), serving.router()));
            }
        });
        // The file appears whole.
        let file = folder.join("kubeconfig");
        let new = file.with_extension("new");
        std::fs::write(&new, kubeconfig(&format!("https://{address}"), &certificate)).unwrap();
        std::fs::rename(new, file).unwrap();
        let mut rest = Vec::new();
        tokio::task::spawn_blocking(move || std::io::stdin().read_to_end(&mut rest)).await.unwrap().unwrap();
    });
    let evictions = server.with(|cluster, _| {
        let accepted = cluster.audit().evictions().filter(|(_, eviction)| eviction.accepted);
        accepted.count()
    });
    println!("{evictions}");
}

async fn connection(stream: TcpStream, context: Arc<SslContext>, router: axum::Router) -> Option<()> {
    let ssl = Ssl::new(&context).ok()?;
    let mut stream = Box::pin(SslStream::new(ssl, TokioIo::new(stream)).ok()?);
    Pin::as_mut(&mut stream).accept().await.ok()?;
    let service = service_fn(move |request| router.clone().oneshot(request));
    http1::Builder::new().serve_connection(stream, service).await.ok()
}

/// A certificate for this machine that is its own authority, in PEM.
fn identity() -> (Arc<SslContext>, Vec<u8>) {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
    let names =
        SubjectAlternativeName::new().ip("127.0.0.1").build(&certificate.x509v3_context(None, None)).unwrap();
    certificate.append_extension(names).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate = certificate.build();
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_certificate(&certificate).unwrap();
    acceptor.set_private_key(&key).unwrap();
    (Arc::new(acceptor.build().into_context()), certificate.to_pem().unwrap())
}

fn kubeconfig(server: &str, certificate: &[u8]) -> String {
    let cluster = json!({"server": server, "certificate-authority-data": STANDARD.encode(certificate)});
    json!({"apiVersion": "v1", "kind": "Config", "current-context": CLUSTER,
        "clusters": [{"name": CLUSTER, "cluster": cluster}], "users": [{"name": CLUSTER, "user": {}}],
        "contexts": [{"name": CLUSTER, "context": {"cluster": CLUSTER, "user": CLUSTER}}]})
    .to_string()
}
