//! The connection below the requests: through a proxy or not, and how the server proves who it is. OpenSSL takes what
//! kubectl takes: it trusts each certificate authority of a kubeconfig, also one that another authority signed.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use hyper::rt::{Read, Write};
use hyper_openssl::client::legacy::HttpsConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt as _;
use kube::{Client, Config};
use openssl::ssl::SslVerifyMode;
use openssl::x509::X509;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509CheckFlags, X509VerifyFlags};
use percent_encoding::percent_decode_str;
use tower::{BoxError, Service, ServiceBuilder};

/// OpenSSL refuses RSA keys below 2,048 bits from level 2 on; kubectl takes 1,024.
const SECURITY_LEVEL: u32 = 1;

/// A client for a configuration. Roots that are no certificates are left out, as kubectl does.
pub(super) fn secured_client(mut config: Config) -> Result<Client, BoxError> {
    if let Some(roots) = &mut config.root_cert {
        roots.retain(|der| X509::from_der(der).is_ok());
        if roots.is_empty() {
            return Err("its certificate-authority holds no certificate that can be read".into());
        }
    }
    let mut direct = HttpConnector::new();
    direct.enforce_http(false);
    direct.set_connect_timeout(config.connect_timeout);
    let Some(proxy) = config.proxy_url.clone() else { return built_on(direct, &config) };
    match proxy.scheme_str() {
        Some("socks5") => built_on(SocksV5::new(proxy, direct), &config),
        Some("https") => {
            let to_proxy = config.openssl_https_connector_with_connector(direct)?;
            built_on(with_login(&proxy, Tunnel::new(proxy.clone(), to_proxy)), &config)
        }
        Some(_) | None => built_on(with_login(&proxy, Tunnel::new(proxy.clone(), direct)), &config),
    }
}

fn built_on<H>(connector: H, config: &Config) -> Result<Client, BoxError>
where
    H: Service<Uri> + Clone + Send + Sync + 'static,
    H::Response: Connection + Read + Write + Send + Unpin + 'static,
    H::Future: Send + 'static,
    H::Error: std::error::Error + Send + Sync + 'static,
{
    let client =
        hyper_util::client::legacy::Builder::new(TokioExecutor::new()).build(secured(connector, config)?);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(Client::new(service, "default"))
}

/// OpenSSL trusts only what ends at a certificate that signed itself, unless it is told that any root will do.
fn secured<H>(connector: H, config: &Config) -> Result<HttpsConnector<H>, BoxError>
where
    H: Service<Uri> + Send,
    H::Response: Connection + Read + Write + Unpin,
    H::Future: Send + 'static,
    H::Error: Into<BoxError>,
{
    let mut ssl = config.openssl_ssl_connector_builder()?;
    if let Some(roots) = &config.root_cert {
        ssl.set_cert_store(only(roots)?);
    }
    ssl.verify_param_mut().set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    ssl.set_security_level(SECURITY_LEVEL);
    let mut https = HttpsConnector::with_connector(connector, ssl)?;
    let (anything, name) = (config.accept_invalid_certs, config.tls_server_name.clone());
    https.set_callback(move |ssl, _| {
        if anything {
            ssl.set_verify(SslVerifyMode::NONE);
        }
        let Some(name) = &name else { return Ok(()) };
        // What the address says is left out, and the name of the kubeconfig is sent and compared instead.
        ssl.set_use_server_name_indication(false);
        ssl.set_verify_hostname(false);
        ssl.param_mut().set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
        if let Ok(address) = name.parse::<IpAddr>() {
            return ssl.param_mut().set_ip(address);
        }
        ssl.set_hostname(name)?;
        ssl.param_mut().set_host(name)
    });
    Ok(https)
}

/// These authorities without those of the system, which OpenSSL loads unasked: kubectl trusts what a kubeconfig names alone, and
/// the system's take a megabyte.
fn only(roots: &[Vec<u8>]) -> Result<X509Store, BoxError> {
    let mut store = X509StoreBuilder::new()?;
    for der in roots {
        store.add_cert(X509::from_der(der)?)?;
    }
    Ok(store.build())
}

/// The name and the password that the address of a proxy holds.
fn with_login<C>(proxy: &Uri, tunnel: Tunnel<C>) -> Tunnel<C> {
    let login = proxy.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
    let Some((login, _)) = login else { return tunnel };
    let login = STANDARD.encode(percent_decode_str(login).collect::<Vec<u8>>());
    match HeaderValue::from_str(&format!("Basic {login}")) {
        Ok(header) => tunnel.with_auth(header),
        Err(_) => tunnel,
    }
}
