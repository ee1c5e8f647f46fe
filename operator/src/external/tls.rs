//! Certificates out of secrets, for connections to HBase. Kafka's client takes them as PEM itself.

use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// What the programs read from files, here out of secrets. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Authorities, as PEM; the system's when `None`.
    pub authorities: Option<String>,
    /// Certificate and key, as PEM.
    pub client: Option<(String, String)>,
}

impl Certificates {
    /// The settings of a client.
    ///
    /// # Errors
    /// When one of them is no PEM of its kind; the message names the field of the resource.
    pub(super) fn client_config(&self) -> io::Result<Arc<ClientConfig>> {
        let client = self.client.as_ref().map(client_identity).transpose()?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(self.roots()?);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let config = builder.with_client_auth_cert(chain, key);
                config.map_err(|error| wrong("clientSecret", &error))?
            }
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> io::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let Some(authorities) = &self.authorities else {
            let found = rustls_native_certs::load_native_certs();
            if roots.add_parsable_certificates(found.certs).0 == 0 {
                return Err(wrong("authorities", &"this system has none, so the resource must name one"));
            }
            return Ok(roots);
        };
        for certificate in certificates("authorities", authorities)? {
            roots.add(certificate).map_err(|error| wrong("authorities", &error))?;
        }
        Ok(roots)
    }
}

/// Certificate and key of a client.
fn client_identity(
    (certificate, key): &(String, String),
) -> io::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
    let key = key.map_err(|error| wrong("clientSecret, tls.key", &error))?;
    Ok((certificates("clientSecret, tls.crt", certificate)?, key))
}

/// The certificates of a PEM, of which there is one at the least.
fn certificates(field: &str, pem: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(field, &"there is no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(field, &error)),
    }
}

fn wrong(field: &str, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("spec.hbase.tls.{field} cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_or_key_is_named_by_its_field() {
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let client = |certificate: &str, key: &str| Some((certificate.to_owned(), key.to_owned()));
        for (certificates, words) in [
            (
                Certificates { authorities: Some("text".to_owned()), client: None },
                "authorities cannot be used: there is no",
            ),
            (Certificates { authorities: Some(pem.to_owned()), client: None }, "authorities cannot be used"),
            (Certificates { authorities: None, client: client(pem, "text") }, "tls.key cannot be used"),
        ] {
            let error = certificates.client_config().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
