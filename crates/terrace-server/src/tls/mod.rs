//! TLS: the certificate of the server, whom it believes, and how both are renewed while it runs.
//!
//! New connections get what was loaded last; those that are open keep what they began with. Files that have changed
//! are loaded by the next look at them. What cannot be loaded changes nothing but the log.

mod stream;
mod suites;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mio::net::TcpStream;
use parking_lot::{Mutex, RwLock};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use crate::parameters::Configuration;

use suites::Offer;

pub(crate) use stream::TlsStream;
pub(crate) use suites::{ciphers as check_ciphers, protocols as check_protocols};

/// Whether clients show certificates of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Clients {
    Must,
    May,
    NeedNot,
}

/// Where certificates and keys are, by the parameters `tls-…`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Files {
    certificate: PathBuf,
    key: PathBuf,
    /// Whose signatures on clients' certificates count.
    authorities: PathBuf,
    clients: Clients,
    offer: Offer,
}

/// When a file was last changed, as far as can be told without reading it.
type Stamp = Option<(i64, i64, u64, u64)>;

impl Files {
    /// What the configuration says.
    pub(crate) fn of(configuration: &Configuration) -> Self {
        let path = |name: &str| PathBuf::from(configuration.get(name));
        Self {
            certificate: path("tls-cert-file"),
            key: path("tls-key-file"),
            authorities: path("tls-ca-cert-file"),
            clients: match configuration.get("tls-auth-clients") {
                "no" => Clients::NeedNot,
                "optional" => Clients::May,
                _ => Clients::Must,
            },
            offer: Offer::of(configuration),
        }
    }

    fn stamps(&self) -> [Stamp; 3] {
        [&self.certificate, &self.key, &self.authorities].map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.mtime(), found.mtime_nsec(), found.size(), found.ino()))
        })
    }

    /// Reads all files and checks that they fit together; the error says which one does not and why.
    fn load(&self) -> Result<ServerConfig, String> {
        let certificates = certificates(&self.certificate, "tls-cert-file")?;
        let key = PrivateKeyDer::from_pem_file(named(&self.key, "tls-key-file")?)
            .map_err(|error| within(&self.key, &error.to_string()))?;
        let provider = self.offer.provider()?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.offer.versions())
            .map_err(|error| error.to_string())?;
        let builder = if self.clients == Clients::NeedNot {
            builder.with_no_client_auth()
        } else {
            let mut roots = RootCertStore::empty();
            for certificate in certificates_of_authorities(&self.authorities)? {
                roots.add(certificate).map_err(|error| within(&self.authorities, &error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier =
                if self.clients == Clients::May { verifier.allow_unauthenticated() } else { verifier };
            let verifier = verifier.build().map_err(|error| within(&self.authorities, &error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        };
        builder
            .with_single_cert(certificates, key)
            .map_err(|error| within(&self.certificate, &error.to_string()))
    }
}

fn certificates_of_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    if path.as_os_str().is_empty() {
        return Err("tls-ca-cert-file is needed to check the certificates of clients; without it, set \
                    tls-auth-clients to no"
            .into());
    }
    certificates(path, "tls-ca-cert-file")
}

fn certificates(path: &Path, parameter: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = || {
        CertificateDer::pem_file_iter(named(path, parameter).ok()?).ok()?.collect::<Result<Vec<_>, _>>().ok()
    };
    named(path, parameter)?;
    if let Err(error) = std::fs::metadata(path) {
        return Err(within(path, &error.to_string()));
    }
    read()
        .filter(|found| !found.is_empty())
        .ok_or_else(|| within(path, "it holds no certificate in PEM form"))
}

fn named<'a>(path: &'a Path, parameter: &str) -> Result<&'a Path, String> {
    if path.as_os_str().is_empty() { Err(format!("tls-port needs {parameter}")) } else { Ok(path) }
}

fn within(path: &Path, reason: &str) -> String {
    format!("{}: {reason}", path.display())
}

/// What new connections get.
#[derive(Debug)]
pub(crate) struct Tls {
    current: RwLock<Arc<ServerConfig>>,
    /// The files, and their stamps when they were last loaded or tried.
    files: Mutex<(Files, [Stamp; 3])>,
}

impl Tls {
    /// Loads the files.
    pub(crate) fn new(files: Files) -> Result<Self, String> {
        let stamps = files.stamps();
        let current = RwLock::new(Arc::new(files.load()?));
        Ok(Self { current, files: Mutex::new((files, stamps)) })
    }

    /// Uses these files from now on, if they can be loaded.
    pub(crate) fn change(&self, files: Files) -> Result<(), String> {
        let mut place = self.files.lock();
        let stamps = files.stamps();
        *self.current.write() = Arc::new(files.load()?);
        *place = (files, stamps);
        Ok(())
    }

    /// Loads the files again if they have changed since they were last tried, or if `forced`.
    pub(crate) fn look(&self, forced: bool) {
        let mut place = self.files.lock();
        let stamps = place.0.stamps();
        if stamps == place.1 && !forced {
            return;
        }
        place.1 = stamps;
        match place.0.load() {
            Ok(loaded) => {
                *self.current.write() = Arc::new(loaded);
                tracing::info!(certificate = %place.0.certificate.display(), "TLS certificate loaded");
            }
            Err(error) => tracing::error!(error, "cannot load the TLS certificate; the old one stays in use"),
        }
    }

    /// Begins a connection over a socket that has just been accepted.
    pub(crate) fn accept(&self, socket: TcpStream) -> io::Result<TlsStream> {
        let connection = ServerConnection::new(Arc::clone(&self.current.read())).map_err(io::Error::other)?;
        Ok(TlsStream::new(socket, connection))
    }
}
