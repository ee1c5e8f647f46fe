//! TLS to the proxy before a Thrift server.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::credentials::{CredentialFiles, TlsFiles};
use crate::fault::{BoxError, Fault};

/// What TLS connections are made with, from files that are read again when they change.
#[derive(Debug)]
pub struct RenewedTls {
    files: TlsFiles,
    seen: CredentialFiles,
    check_every: Duration,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    tls: Tls,
    /// When the files were looked at last; `None` where that is to be done again.
    checked: Option<Instant>,
}

impl RenewedTls {
    /// Reads the files; later it looks every `check_every` at the most whether they changed.
    ///
    /// # Errors
    /// [`Fault::Inaccessible`] naming the file that cannot be used.
    pub fn read(files: &TlsFiles, check_every: Duration) -> Result<Self, Fault> {
        let seen = CredentialFiles::new(Some(files), None)?;
        let current = Current { tls: Tls::read(files)?, checked: Some(Instant::now()) };
        Ok(Self { files: files.clone(), seen, check_every, current: Mutex::new(current) })
    }

    /// The configuration of now: the same one again until the files change, and also while they cannot be used, which is logged.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.current().0.0
    }

    /// Looks at the files again at the next use, however short a time ago they were looked at.
    pub(crate) fn look_again(&self) {
        self.current.lock().checked = None;
    }

    /// As the files have it now, and whether that is new since the last call.
    pub(crate) fn current(&self) -> (Tls, bool) {
        let mut current = self.current.lock();
        let mut is_new = false;
        if current.checked.is_none_or(|checked| checked.elapsed() >= self.check_every) {
            current.checked = Some(Instant::now());
            match self.reread() {
                Ok(None) => {}
                Ok(Some(tls)) => {
                    current.tls = tls;
                    is_new = true;
                }
                Err(fault) => tracing::warn!(%fault, "the TLS files changed; the former ones stay in use"),
            }
        }
        (current.tls.clone(), is_new)
    }

    fn reread(&self) -> Result<Option<Tls>, Fault> {
        if self.seen.changed()? { Tls::read(&self.files).map(Some) } else { Ok(None) }
    }
}

/// What TLS connections are made with.
#[derive(Debug, Clone)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Fault::Inaccessible`] naming the file that cannot be used.
    pub(crate) fn read(files: &TlsFiles) -> Result<Self, Fault> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(Path::new("TLS"), error))?
            .with_root_certificates(authorities(files.authorities.as_deref())?);
        let config = match (&files.certificate, &files.key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error))?;
                let config = builder.with_client_auth_cert(chain, secret);
                config.map_err(|error| unusable(certificate, error))?
            }
            (None, None) => builder.with_no_client_auth(),
            (Some(alone), None) => return Err(unusable(alone, "a certificate needs a key beside it")),
            (None, Some(alone)) => return Err(unusable(alone, "a key needs a certificate beside it")),
        };
        Ok(Self(Arc::new(config)))
    }

    /// Makes a connection to `host:port` a TLS one; the handshake comes with the first bytes.
    pub(crate) fn wrap(
        &self,
        address: &str,
        stream: TcpStream,
    ) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        Ok(StreamOwned::new(connection, stream))
    }
}

fn authorities(file: Option<&Path>) -> Result<RootCertStore, Fault> {
    let mut store = RootCertStore::empty();
    let Some(file) = file else {
        let system = rustls_native_certs::load_native_certs();
        let (usable, unusable_ones) = store.add_parsable_certificates(system.certs);
        tracing::debug!(usable, unusable_ones, "authorities of the system");
        if usable == 0 {
            let why = system.errors.first().map_or("there are none".to_owned(), ToString::to_string);
            return Err(unusable(Path::new("the system's store of authorities"), why));
        }
        return Ok(store);
    };
    for certificate in certificates(file)? {
        store.add(certificate).map_err(|error| unusable(file, error))?;
    }
    Ok(store)
}

/// The certificates in a PEM file, at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| unusable(file, error))?;
    if found.is_empty() {
        return Err(unusable(file, "it holds no certificate in PEM form"));
    }
    Ok(found)
}

fn unusable(path: &Path, source: impl Into<BoxError>) -> Fault {
    Fault::Inaccessible { place: path.display().to_string(), source: source.into() }
}
