//! A Thrift server behind a proxy that ends TLS, with mutual TLS: the way that docs/hbase-tls.md describes.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use medindex_backends::credentials::TlsFiles;
use medindex_backends::fault::Fault;
use medindex_backends::hbase::{HbaseImageStore, HbaseOptions};
use medindex_backends::{Columns, ImageStore};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use crate::support::{image, row, shared};

/// An authority with a certificate for the server and one for the client, in a folder.
struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.path().join("authority.pem"), authority.pem()).unwrap();
        for name in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            let certificate = parameters.signed_by(&key, &authority).unwrap();
            fs::write(folder.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
            fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn client_files(&self) -> TlsFiles {
        TlsFiles {
            authorities: Some(self.file("authority.pem")),
            certificate: Some(self.file("client.pem")),
            key: Some(self.file("client.key")),
        }
    }

    fn server_config(&self) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.file("authority.pem"))).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::from_pem_file(self.file("server.key")).unwrap();
        let chain = vec![certificate(&self.file("server.pem"))];
        let builder = builder.with_client_cert_verifier(verifier.build().unwrap());
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

/// Ends TLS before `target`, as ghostunnel does; its port. It lives as long as the test process.
fn proxy(config: Arc<ServerConfig>, target: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for incoming in listener.incoming().map_while(Result::ok) {
            let (config, target) = (Arc::clone(&config), target.clone());
            // A connection that breaks is the client's to notice.
            thread::spawn(move || serve(config, incoming, &target).unwrap_or_default());
        }
    });
    port
}

fn serve(config: Arc<ServerConfig>, mut outer: TcpStream, target: &str) -> io::Result<()> {
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut outer)?;
    }
    let inner = TcpStream::connect(target)?;
    let tls = Arc::new(Mutex::new(tls));
    let answers = {
        let (tls, mut inner, mut outer) = (Arc::clone(&tls), inner.try_clone()?, outer.try_clone()?);
        thread::spawn(move || -> io::Result<()> {
            let mut buffer = vec![0; 64 << 10];
            loop {
                let count = inner.read(&mut buffer)?;
                if count == 0 {
                    return outer.shutdown(Shutdown::Both);
                }
                let mut tls = tls.lock();
                tls.writer().write_all(&buffer[..count])?;
                while tls.wants_write() {
                    tls.write_tls(&mut outer)?;
                }
            }
        })
    };
    let mut inner = inner;
    let mut cipher = vec![0; 64 << 10];
    let mut rest = &cipher[..0];
    loop {
        // The end of the handshake may have come with the first request.
        let plain = {
            let mut tls = tls.lock();
            let mut plain = Vec::new();
            loop {
                let state = tls.process_new_packets().map_err(io::Error::other)?;
                let begin = plain.len();
                plain.resize(begin + state.plaintext_bytes_to_read(), 0);
                tls.reader().read_exact(&mut plain[begin..])?;
                if rest.is_empty() {
                    break plain;
                }
                tls.read_tls(&mut rest)?;
            }
        };
        inner.write_all(&plain)?;
        let count = outer.read(&mut cipher)?;
        if count == 0 {
            break;
        }
        rest = &cipher[..count];
    }
    inner.shutdown(Shutdown::Both)?;
    answers.join().map_err(|_| io::Error::other("the thread panicked"))?
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_blobs_travel_over_mutual_tls() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let authority = Authority::new();
    let port = proxy(authority.server_config(), server.thrift1_address());
    let mut options = HbaseOptions::new(vec![format!("localhost:{port}")], server.namespace());
    options.tls = Some(authority.client_files());
    let store = HbaseImageStore::open(&options).await.unwrap();
    let (row, values) = (row(), image(5 << 20, 1));
    store.put(row.clone(), values.clone()).await.unwrap();
    assert!(store.get(&row, Columns::ALL).await.unwrap() == Some(values));

    // Another authority's certificate is not taken, and no certificate is not, and nothing goes in the clear.
    options.patience = Duration::from_millis(300);
    let stranger =
        TlsFiles { authorities: authority.client_files().authorities, ..Authority::new().client_files() };
    let nobody = TlsFiles { certificate: None, key: None, ..authority.client_files() };
    let distrustful = Authority::new().client_files();
    for tls in [Some(stranger), Some(nobody), Some(distrustful), None] {
        options.tls = tls;
        assert!(HbaseImageStore::open(&options).await.is_err(), "{:?}", options.tls);
    }
}

#[tokio::test]
async fn tls_files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let absent = authority.file("absent.pem");
    let alone = TlsFiles { key: None, ..authority.client_files() };
    let text = fs::read(authority.file("authority.pem")).unwrap();
    fs::write(authority.file("cut.pem"), &text[..text.len() / 2]).unwrap();
    for (tls, named) in [
        (TlsFiles { authorities: Some(absent.clone()), ..authority.client_files() }, absent),
        (alone, authority.file("client.pem")),
        (
            TlsFiles { authorities: Some(authority.file("cut.pem")), ..TlsFiles::default() },
            authority.file("cut.pem"),
        ),
    ] {
        let mut options = HbaseOptions::new(vec!["localhost:1".to_owned()], "none");
        options.tls = Some(tls);
        let Err(error) = HbaseImageStore::open(&options).await else { panic!("opened") };
        assert!(matches!(error.fault(), Some(Fault::Inaccessible { .. })), "{error}");
        assert!(error.to_string().contains(&named.display().to_string()), "{error}");
    }
}
