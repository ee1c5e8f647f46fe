//! An authority of its own for a test, and what it signs: a certificate for the server and one for the client, as PEM files.
//!
//! They are made anew for each test and hold for `localhost` and 127.0.0.1.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::process::TestbedError;

/// PEM files of one authority and what it signed.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The server's certificate.
    pub server_certificate: PathBuf,
    /// The server's key.
    pub server_key: PathBuf,
    /// The client's certificate.
    pub client_certificate: PathBuf,
    /// The client's key.
    pub client_key: PathBuf,
}

impl Certificates {
    /// Makes an authority and what it signs, in `folder`.
    ///
    /// # Errors
    /// [`TestbedError::Certify`], [`TestbedError::Prepare`].
    pub fn new(folder: &Path) -> Result<Self, TestbedError> {
        let prepare = |source| TestbedError::Prepare {
            server: "certificates".to_owned(),
            path: folder.to_owned(),
            source,
        };
        fs::create_dir_all(folder).map_err(prepare)?;
        let authority = CertifiedIssuer::self_signed(authority()?, KeyPair::generate()?)?;
        let files = Self {
            authority: folder.join("authority.pem"),
            server_certificate: folder.join("server.pem"),
            server_key: folder.join("server.key"),
            client_certificate: folder.join("client.pem"),
            client_key: folder.join("client.key"),
        };
        fs::write(&files.authority, authority.pem()).map_err(prepare)?;
        let signed = [
            (&files.server_certificate, &files.server_key, ExtendedKeyUsagePurpose::ServerAuth),
            (&files.client_certificate, &files.client_key, ExtendedKeyUsagePurpose::ClientAuth),
        ];
        for (certificate_file, key_file, usage) in signed {
            let key = KeyPair::generate()?;
            // A server is a client of its peers as well: replication, cluster.
            let usages = vec![usage, ExtendedKeyUsagePurpose::ClientAuth];
            let certificate = end_entity(usages)?.signed_by(&key, &authority)?;
            fs::write(certificate_file, certificate.pem()).map_err(prepare)?;
            fs::write(key_file, key.serialize_pem()).map_err(prepare)?;
        }
        Ok(files)
    }

    /// Puts the authority and the client's certificate and key of `other` into the client's files, one after the other, as who renews them does.
    ///
    /// # Errors
    /// [`TestbedError::Prepare`].
    pub fn take_client(&self, other: &Self) -> Result<(), TestbedError> {
        copy(&other.authority, &self.authority)?;
        copy(&other.client_certificate, &self.client_certificate)?;
        copy(&other.client_key, &self.client_key)
    }

    /// The same with the authority and the server's certificate and key.
    ///
    /// # Errors
    /// [`TestbedError::Prepare`].
    pub fn take_server(&self, other: &Self) -> Result<(), TestbedError> {
        copy(&other.authority, &self.authority)?;
        copy(&other.server_certificate, &self.server_certificate)?;
        copy(&other.server_key, &self.server_key)
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), TestbedError> {
    let prepare =
        |source| TestbedError::Prepare { server: "certificates".to_owned(), path: to.to_owned(), source };
    fs::copy(from, to).map(drop).map_err(prepare)
}

fn authority() -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.distinguished_name.push(DnType::CommonName, "MedIndex test authority");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(parameters)
}

fn end_entity(mut usages: Vec<ExtendedKeyUsagePurpose>) -> Result<CertificateParams, rcgen::Error> {
    usages.dedup();
    let mut parameters = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    parameters.distinguished_name.push(DnType::CommonName, "localhost");
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    parameters.extended_key_usages = usages;
    Ok(parameters)
}
