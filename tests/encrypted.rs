//! An encrypted line to a server on this machine that speaks plainly.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;

/// How long a look at one side of a connection takes at most.
const LOOK: Duration = Duration::from_millis(2);

/// The address of a line to the server at `server` (`127.0.0.1:…`), with a self-signed certificate.
pub fn encrypted(server: &str) -> String {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut certificate = X509::builder().unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor.set_certificate(&certificate.build()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    let acceptor = Arc::new(acceptor.build());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let server = server.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (acceptor, server) = (Arc::clone(&acceptor), server.clone());
            std::thread::spawn(move || {
                let stream = stream.ok()?;
                let (mut near, mut far) = (acceptor.accept(stream).ok()?, TcpStream::connect(server).ok()?);
                near.get_ref().set_read_timeout(Some(LOOK)).ok()?;
                far.set_read_timeout(Some(LOOK)).ok()?;
                while passed_on(&mut near, &mut far)? && passed_on(&mut far, &mut near)? {}
                Some(())
            });
        }
    });
    address
}

/// Passes on what has come. False at the end.
fn passed_on(from: &mut impl Read, to: &mut impl Write) -> Option<bool> {
    let mut bytes = [0; 16384];
    match from.read(&mut bytes) {
        Ok(0) => Some(false),
        Ok(count) => to.write_all(&bytes[..count]).ok().map(|()| true),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Some(true),
        Err(_) => None,
    }
}
