//! Kubeconfigs as kubectl reads them: several files are merged, a path is relative to the file that names it, and what
//! contradicts itself is refused. It makes no connection and starts no program, and no message holds a credential.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};

use super::ConnectError;
use super::file::{ClusterEntry, Exec, KubeconfigFile, UserEntry};
use super::secret::Secret;

/// What one context of a kubeconfig says about the way to a cluster. All files have been read.
pub(super) struct Access {
    pub(super) server: Uri,
    pub(super) trust: Trust,
    pub(super) server_name: Option<String>,
    pub(super) proxy: Option<Uri>,
    pub(super) user: String,
    pub(super) login: Login,
    pub(super) identity: Option<ClientCertificate>,
    pub(super) impersonate: Option<Impersonate>,
    /// Every file that this was read from.
    pub(super) files: Vec<PathBuf>,
    /// What a plugin is told about the cluster, if it asks for that.
    pub(super) cluster: serde_json::Value,
}

impl fmt::Debug for Access {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Addresses may hold passwords too.
        write!(out, "Access({}, {:?}, {:?})", self.user, self.login, self.files)
    }
}

/// How the server proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Any certificate is taken: `insecure-skip-tls-verify`.
    Anything,
    /// These certificates, in DER.
    Roots(Vec<Vec<u8>>),
    /// Those of the operating system.
    System,
}

/// How we prove who we are, apart from a client certificate.
#[derive(Debug)]
pub(super) enum Login {
    Anonymous,
    Token(Secret),
    Password(String, Secret),
    /// A program prints the credentials.
    Exec(Box<Exec>),
}

/// A client certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub(super) struct ClientCertificate {
    pub(super) certificate: Secret,
    pub(super) key: Secret,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Impersonate {
    pub(super) user: String,
    pub(super) uid: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

/// The files that are there, for messages.
pub(super) fn shown(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(":")
}

/// Reads a context. Of several files, a missing one is passed over, and of two entries with one name the first counts.
pub(super) fn read(paths: &[PathBuf], context: &str) -> Result<Access, ConnectError> {
    let mut files = Vec::new();
    for path in paths {
        match std::fs::read_to_string(path) {
            Ok(text) => files.push((path.as_path(), KubeconfigFile::parse(path, &text)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && paths.len() > 1 => {}
            Err(error) => {
                let path = path.display().to_string();
                return Err(ConnectError::Read { path, why: error.to_string() });
            }
        }
    }
    let all = shown(paths);
    let Some(found) = files.iter().find_map(|(_, file)| file.context(context)) else {
        let mut there: Vec<&str> = files.iter().flat_map(|(_, file)| file.context_names()).collect();
        there.dedup();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        return Err(ConnectError::NoContext { path: all, context: context.to_owned(), there });
    };
    let wrong = |object: String, why: String| ConnectError::Entry { path: all.clone(), object, why };
    let cluster = files.iter().find_map(|(path, file)| Some((*path, file.cluster(&found.cluster)?)));
    let Some((path, cluster)) = cluster else {
        let text = "no `clusters` entry has this name".to_owned();
        return Err(wrong(format!("cluster `{}`", found.cluster), text));
    };
    // kubectl goes on without credentials where the user is missing.
    let user = files.iter().find_map(|(path, file)| Some((*path, file.user(&found.user)?)));
    let mut reader =
        Reader { folder: path.parent(), files: files.iter().map(|(path, _)| path.to_path_buf()).collect() };
    // A file that is not there yet may appear.
    reader
        .files
        .extend(paths.iter().filter(|path| !reader.files.contains(path)).cloned().collect::<Vec<_>>());
    let of_cluster = |why| wrong(format!("cluster `{}`", found.cluster), why);
    let (server, trust) = reader.server(cluster, user.as_ref().map(|(_, user)| *user)).map_err(of_cluster)?;
    let proxy = proxy(cluster.proxy_url.as_deref()).map_err(of_cluster)?;
    let told = cluster_info(cluster, &trust);
    // The dot that ends a full name is not part of the name in a certificate.
    let server_name = cluster.tls_server_name.as_deref().map(|name| name.trim_end_matches('.').to_owned());
    let server_name = server_name.filter(|name| !name.is_empty());
    let mut access = Access {
        server,
        trust,
        server_name,
        proxy,
        user: found.user.clone(),
        login: Login::Anonymous,
        identity: None,
        impersonate: None,
        files: Vec::new(),
        cluster: told,
    };
    if let Some((path, user)) = user {
        reader.folder = path.parent();
        let of_user = |why| wrong(format!("user `{}`", found.user), why);
        access.identity = reader.identity(user).map_err(of_user)?;
        access.login = reader.login(user).map_err(of_user)?;
        access.impersonate = impersonate(user).map_err(of_user)?;
    }
    access.files = reader.files;
    Ok(access)
}

/// Reads the files that one entry names.
struct Reader<'a> {
    /// The folder of the file that has the entry.
    folder: Option<&'a Path>,
    files: Vec<PathBuf>,
}

type Read<T> = Result<T, String>;

impl Reader<'_> {
    fn file(&mut self, key: &str, path: &str) -> Read<String> {
        let path = self.folder.map_or_else(|| PathBuf::from(path), |folder| folder.join(path));
        self.files.push(path.clone());
        // A comment in PEM may be in any encoding.
        std::fs::read(&path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(|error| format!("{key} {} cannot be read: {error}", path.display()))
    }

    /// The content of a key that may be given as data or as a file. kubectl refuses both together.
    fn either(&mut self, key: &str, data: Option<&Secret>, path: Option<&str>) -> Read<Option<Secret>> {
        let data = data.filter(|data| !data.is_empty());
        match (data, path.filter(|path| !path.is_empty())) {
            (None, None) => Ok(None),
            (Some(data), None) => decoded(key, data).map(Some),
            (None, Some(path)) => self.file(key, path).map(|text| Some(Secret::new(text))),
            (Some(_), Some(_)) => Err(format!("it has both {key} and {key}-data: remove one of them")),
        }
    }

    fn server(&mut self, cluster: &ClusterEntry, user: Option<&UserEntry>) -> Read<(Uri, Trust)> {
        let authority = cluster.certificate_authority.as_deref();
        let roots =
            self.either("certificate-authority", cluster.certificate_authority_data.as_ref(), authority)?;
        let trust = match (cluster.insecure_skip_tls_verify.unwrap_or_default(), roots) {
            (true, None) => Trust::Anything,
            (true, Some(_)) => {
                return Err(
                    "it has insecure-skip-tls-verify and a certificate-authority: remove one of them".into(),
                );
            }
            (false, None) => Trust::System,
            (false, Some(pem)) => Trust::Roots(certificates(&pem)?),
        };
        let secure = trust != Trust::System || user.is_some_and(UserEntry::has_certificate);
        let text = cluster.server.as_deref().unwrap_or_default().trim();
        if text.is_empty() {
            return Err("it has no `server`".into());
        }
        // kubectl takes an address without a scheme.
        let scheme = if secure { "https" } else { "http" };
        let text = if text.contains("://") { text.to_owned() } else { format!("{scheme}://{text}") };
        let shown = without_login(&text);
        let uri: Uri = text.parse().map_err(|_| format!("its server `{shown}` is not a URL"))?;
        match uri.scheme_str() {
            Some("http" | "https") if uri.authority().is_some_and(|at| at.as_str().contains('@')) => {
                Err(format!("its server `{shown}` holds a login: write the login under its user"))
            }
            Some("http" | "https") => Ok((uri, trust)),
            Some(_) | None => Err(format!("its server `{shown}` is neither http nor https")),
        }
    }

    fn identity(&mut self, user: &UserEntry) -> Read<Option<ClientCertificate>> {
        let file = user.client_certificate.as_deref();
        let Some(certificate) =
            self.either("client-certificate", user.client_certificate_data.as_ref(), file)?
        else {
            return Ok(None);
        };
        let key = self.either("client-key", user.client_key_data.as_ref(), user.client_key.as_deref())?;
        let Some(key) = key else {
            return Err("it has a client-certificate and no client-key".into());
        };
        if !key.reveal().contains("PRIVATE KEY-----") {
            return Err("its client-key is not a private key in PEM".into());
        }
        if key.reveal().contains("ENCRYPTED") {
            return Err(
                "its client-key is encrypted, and nobody is there to give the password: decrypt it".into()
            );
        }
        if certificates(&certificate).is_err() {
            return Err("its client-certificate is not a certificate in PEM".into());
        }
        Ok(Some(ClientCertificate { certificate, key }))
    }

    /// A token file comes before a token, and both before a program, as for kubectl.
    fn login(&mut self, user: &UserEntry) -> Read<Login> {
        let token = user.token.as_ref().filter(|token| !token.is_empty());
        let named = user.username.as_deref().is_some_and(|name| !name.is_empty());
        if token.is_some() && named {
            return Err("it has a token and a username: remove one of them".into());
        }
        let from_file = user.token_file.as_deref().filter(|path| !path.is_empty());
        let from_file = from_file.map(|path| self.file("tokenFile", path)).transpose();
        let from_file = from_file.map(|text| text.map(|text| Secret::new(text.trim())));
        match (from_file, token) {
            (Ok(Some(read)), _) if !read.is_empty() => return header(&read).map(|()| Login::Token(read)),
            (_, Some(token)) => return header(token).map(|()| Login::Token(token.clone())),
            (Ok(Some(_)), None) => return Err("its tokenFile is empty".into()),
            (Err(why), None) => return Err(why),
            (Ok(None), None) => {}
        }
        if named {
            let name = user.username.clone().unwrap_or_default();
            return Ok(Login::Password(name, user.password.clone().unwrap_or_default()));
        }
        match (&user.exec, &user.auth_provider) {
            (Some(_), Some(_)) => Err("it has `exec` and an `auth-provider`: remove one of them".into()),
            (Some(exec), None) => exec.checked(self.folder).map(|exec| Login::Exec(Box::new(exec))),
            (None, Some(provider)) => Err(format!(
                "its auth-provider `{}` is not supported: use an exec plugin, as kubectl does since v1.26",
                provider.name.as_deref().unwrap_or_default()
            )),
            (None, None) => Ok(Login::Anonymous),
        }
    }
}

/// An address for a message, without the name and the password that it may hold.
fn without_login(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    match rest.rsplit_once('@') {
        Some((_, rest)) => format!("{scheme}://…@{rest}"),
        None => text.to_owned(),
    }
}

fn impersonate(user: &UserEntry) -> Read<Option<Impersonate>> {
    let groups = user.impersonate_groups.clone().unwrap_or_default();
    let extra = user.impersonate_extra.clone().unwrap_or_default();
    let uid = user.impersonate_uid.clone().filter(|uid| !uid.is_empty());
    let values = user.impersonate.iter().chain(&uid).chain(&groups).chain(extra.values().flatten());
    if values.into_iter().any(|value| !fits_header(&Secret::new(value.as_str()))) {
        return Err(
            "its as, as-uid, as-groups or as-user-extra holds a line break: write it on one line".into()
        );
    }
    match user.impersonate.clone().filter(|name| !name.is_empty()) {
        Some(user) => Ok(Some(Impersonate { user, uid, groups, extra })),
        None if groups.is_empty() && extra.is_empty() && uid.is_none() => Ok(None),
        None => Err("it has as-uid, as-groups or as-user-extra without `as`".into()),
    }
}

/// A token goes into a header, and a header holds no line breaks.
fn header(token: &Secret) -> Read<()> {
    let text = "its token holds a line break, or another sign that no token has: write it on one line";
    if fits_header(token) { Ok(()) } else { Err(text.into()) }
}

/// True if a text can be sent as the value of a header.
pub(super) fn fits_header(text: &Secret) -> bool {
    HeaderValue::from_str(text.reveal()).is_ok()
}

/// Its text may hold a password, so no message shows it.
fn proxy(url: Option<&str>) -> Read<Option<Uri>> {
    let Some(url) = url.filter(|url| !url.is_empty()) else { return Ok(None) };
    let uri: Uri = url.parse().map_err(|_| "its proxy-url is not a URL".to_owned())?;
    match uri.scheme_str() {
        Some("http" | "https" | "socks5") if uri.host().is_some() => Ok(Some(uri)),
        Some(_) | None => Err("its proxy-url is not one of http://, https:// or socks5://".into()),
    }
}

fn decoded(key: &str, data: &Secret) -> Read<Secret> {
    let text: String = data.reveal().split_whitespace().collect();
    let bytes = STANDARD.decode(text).map_err(|_| format!("its {key}-data is not base64"))?;
    String::from_utf8(bytes).map(Secret::new).map_err(|_| format!("its {key}-data is not PEM"))
}

/// The certificates in a text, in DER. What stands between them is left out, as kubectl does.
fn certificates(pem: &Secret) -> Read<Vec<Vec<u8>>> {
    let blocks = pem.reveal().split("-----BEGIN CERTIFICATE-----").skip(1);
    let block = |text: &str| {
        let body: String = text.split("-----END CERTIFICATE-----").next()?.split_whitespace().collect();
        STANDARD.decode(body).ok()
    };
    let found: Vec<_> = blocks.filter_map(block).collect();
    if found.is_empty() {
        Err("its certificate-authority holds no certificate in PEM".into())
    } else {
        Ok(found)
    }
}

/// `spec.cluster` of an `ExecCredential`.
fn cluster_info(cluster: &ClusterEntry, trust: &Trust) -> serde_json::Value {
    let roots = match trust {
        Trust::Anything | Trust::System => None,
        Trust::Roots(roots) => Some(roots.iter().map(|der| armoured(der)).collect::<String>()),
    };
    serde_json::json!({
        "server": cluster.server,
        "tls-server-name": cluster.tls_server_name,
        "insecure-skip-tls-verify": cluster.insecure_skip_tls_verify.unwrap_or_default(),
        "certificate-authority-data": roots.map(|pem| STANDARD.encode(pem)),
        "proxy-url": cluster.proxy_url,
    })
}

fn armoured(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines = body.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
}
