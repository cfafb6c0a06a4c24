//! Servers over TLS, and what is trusted of them: the same as by kubectl.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod, SslStream};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

use super::kubeconfig::{file, folder};
use crate::cluster::{ClusterApi, call};

/// A certificate and its key.
pub(super) struct Signed {
    pub(super) certificate: X509,
    key: PKey<Private>,
}

/// What signs, and what it is good for.
enum By<'a> {
    Itself,
    Another(&'a Signed),
}

impl Signed {
    /// A certificate for 127.0.0.1, signed by itself.
    pub(super) fn server() -> Self {
        Self::new("server", &By::Itself, false, elliptic())
    }

    fn authority(name: &str, by: &By<'_>) -> Self {
        Self::new(name, by, true, elliptic())
    }

    fn new(name: &str, by: &By<'_>, signs: bool, key: PKey<Private>) -> Self {
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        let subject = subject.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        let serial = BigNum::from_u32(u32::try_from(name.len()).unwrap() + 1).unwrap();
        builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
        builder.set_subject_name(&subject).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
        let mut basic = BasicConstraints::new();
        let basic = if signs { basic.critical().ca().build() } else { basic.build() };
        builder.append_extension(basic.unwrap()).unwrap();
        let names = SubjectAlternativeName::new()
            .ip("127.0.0.1")
            .dns("kubernetes.default.svc")
            .build(&builder.x509v3_context(None, None))
            .unwrap();
        builder.append_extension(names).unwrap();
        let (issuer, signer) = match by {
            By::Itself => (subject.as_ref(), &key),
            By::Another(other) => (other.certificate.subject_name(), &other.key),
        };
        builder.set_issuer_name(issuer).unwrap();
        builder.sign(signer, MessageDigest::sha256()).unwrap();
        Self { certificate: builder.build(), key }
    }

    fn pem(&self) -> String {
        String::from_utf8(self.certificate.to_pem().unwrap()).unwrap()
    }
}

fn elliptic() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// A server on this machine that shows a certificate, and more behind it, and hands each connection on.
pub(super) fn serve(
    shown: &Signed,
    chain: &[&Signed],
    with: impl Fn(SslStream<std::net::TcpStream>) + Clone + Send + 'static,
) -> String {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_security_level(0);
    acceptor.set_certificate(&shown.certificate).unwrap();
    acceptor.set_private_key(&shown.key).unwrap();
    for more in chain {
        acceptor.add_extra_chain_cert(more.certificate.clone()).unwrap();
    }
    let acceptor = Arc::new(acceptor.build());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (acceptor, with, stream) = (Arc::clone(&acceptor), with.clone(), stream.unwrap());
            std::thread::spawn(move || {
                if let Ok(stream) = acceptor.accept(stream) {
                    with(stream);
                }
            });
        }
    });
    address
}

/// The answer of an API server to `/version`.
pub(super) const VERSION: &str = r#"{"major":"1","minor":"36","gitVersion":"v1.36.3","gitCommit":"","gitTreeState":"","buildDate":"","goVersion":"","compiler":"","platform":""}"#;

fn answer(mut stream: SslStream<std::net::TcpStream>) {
    let mut line = String::new();
    while BufReader::new(&mut stream).read_line(&mut line).is_ok_and(|read| read > 0) {
        if line.ends_with("\r\n\r\n") || line.contains("HTTP/1.1") {
            break;
        }
    }
    let text = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{VERSION}",
        VERSION.len()
    );
    // A client that trusts nothing has gone.
    drop(stream.write_all(text.as_bytes()));
}

/// What came of a request to the server, with these certificates as its authority.
async fn asked(folder: &Path, address: &str, authority: &[u8], more: &str) -> Result<(), String> {
    std::fs::write(folder.join("authority.crt"), authority).unwrap();
    let path = folder.join("config");
    let cluster = format!("server: '{address}', certificate-authority: authority.crt{more}");
    std::fs::write(&path, file(&cluster, "token: abc")).unwrap();
    let api = ClusterApi::connect(&[path], "c").await.map_err(|error| error.to_string())?;
    call(api.client.apiserver_version()).await.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_certificate_authority_is_trusted_as_it_stands() {
    let folder = folder();
    let root = Signed::authority("a root", &By::Itself);
    let middle = Signed::authority("one in the middle", &By::Another(&root));
    let server = Signed::new("server", &By::Another(&middle), false, elliptic());
    let alone = serve(&server, &[], answer);
    let chained = serve(&server, &[&middle], answer);
    let small = PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap();
    let small = serve(&Signed::new("small", &By::Another(&root), false, small), &[], answer);
    let broken = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
    let other = Signed::authority("another", &By::Itself);
    let (root, middle) = (root.pem(), middle.pem());
    for (what, address, authority, more, taken) in [
        ("the root, with the whole chain", &chained, root.clone(), "", true),
        ("the root, and a server that does not show what is between", &alone, root.clone(), "", false),
        ("one in the middle alone", &alone, middle.clone(), "", true),
        ("one in the middle, with the chain", &chained, middle.clone(), "", true),
        ("the certificate of the server itself", &alone, server.pem(), "", true),
        ("another one", &chained, other.pem(), "", false),
        ("a broken one before the right one", &chained, format!("{broken}{root}"), "", true),
        ("nothing but a broken one", &chained, broken.to_owned(), "", false),
        ("a short key", &small, root.clone(), "", true),
        ("a name that it has", &chained, root.clone(), ", tls-server-name: kubernetes.default.svc.", true),
        ("a name that it has not", &chained, root.clone(), ", tls-server-name: other", false),
    ] {
        let came = asked(folder.path(), address, authority.as_bytes(), more).await;
        assert_eq!(came.is_ok(), taken, "{what}: {came:?}");
    }
    // A comment may be in any encoding.
    let commented = [b"# \xe9tat\n".as_slice(), root.as_bytes()].concat();
    asked(folder.path(), &chained, &commented, "").await.unwrap();
}

#[tokio::test]
async fn no_credentials_go_over_a_line_that_is_not_encrypted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let heard = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>()
    });
    let folder = folder();
    let path = folder.path().join("config");
    std::fs::write(&path, file(&format!("server: '{address}'"), "token: abc, as: somebody")).unwrap();
    let api = ClusterApi::connect(&[path], "c").await.unwrap();
    call(api.client.apiserver_version()).await.unwrap_err();
    let heard = heard.join().unwrap().join("\n").to_lowercase();
    assert!(heard.starts_with("get /version") && !heard.contains("authorization"), "{heard}");
    assert!(!heard.contains("impersonate"), "{heard}");
}
