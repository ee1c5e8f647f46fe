//! TLS to the proxy before a Thrift server.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::credentials::TlsFiles;
use crate::fault::{BoxError, Fault};

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
