//! Thrift servers behind a proxy that ends TLS, with mutual TLS: the way that docs/hbase-tls.md describes.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use medindex_backends::credentials::TlsFiles;
use medindex_backends::fault::Fault;
use medindex_backends::hbase::{HbaseImageStore, HbaseOptions, RenewedTls};
use medindex_backends::{Columns, ImageStore};
use medindex_hbase_admin::tables::image_table;
use medindex_hbase_admin::{Compression, HbaseAdmin, HbaseAdminError, TimeLimits, differences};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use crate::support::{PARTITIONS, image, row, shared};

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

    /// Files with which a server of this authority lets nobody in: certificates of another authority, none, and trust in another authority.
    fn refused(&self, other: &Self) -> [TlsFiles; 3] {
        let own = self.client_files();
        let stranger = TlsFiles { authorities: own.authorities.clone(), ..other.client_files() };
        let nobody = TlsFiles { certificate: None, key: None, ..own };
        [stranger, nobody, other.client_files()]
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

/// Ends TLS before a target, as ghostunnel does. It lives as long as the test process.
struct Proxy {
    port: u16,
    config: Mutex<Arc<ServerConfig>>,
    /// Connections whose handshake is done.
    accepted: AtomicUsize,
}

impl Proxy {
    fn start(config: Arc<ServerConfig>, target: String) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = Arc::new(Self { port, config: Mutex::new(config), accepted: AtomicUsize::new(0) });
        let serving = Arc::clone(&proxy);
        thread::spawn(move || {
            for incoming in listener.incoming().map_while(Result::ok) {
                let (proxy, target) = (Arc::clone(&serving), target.clone());
                // A connection that breaks is the client's to notice.
                thread::spawn(move || serve(&proxy, incoming, &target).unwrap_or_default());
            }
        });
        proxy
    }

    fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

fn serve(proxy: &Proxy, mut outer: TcpStream, target: &str) -> io::Result<()> {
    let config = Arc::clone(&proxy.config.lock());
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        tls.complete_io(&mut outer)?;
    }
    proxy.accepted.fetch_add(1, Ordering::Relaxed);
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
    let proxy = Proxy::start(authority.server_config(), server.thrift1_address());
    let mut options = HbaseOptions::new(vec![proxy.address()], server.namespace());
    options.tls = Some(authority.client_files());
    let store = HbaseImageStore::open(&options).await.unwrap();
    let (row, values) = (row(), image(5 << 20, 1));
    store.put(row.clone(), values.clone()).await.unwrap();
    assert!(store.get(&row, Columns::ALL).await.unwrap() == Some(values));

    // Another authority's certificate is not taken, and no certificate is not, and nothing goes in the clear.
    options.patience = Duration::from_millis(300);
    let other = Authority::new();
    for tls in authority.refused(&other).into_iter().map(Some).chain([None]) {
        options.tls = tls;
        assert!(HbaseImageStore::open(&options).await.is_err(), "{:?}", options.tls);
    }
}

/// An administrator at a proxy; files are looked at again at every call.
fn admin(proxy: &Proxy, files: &TlsFiles) -> HbaseAdmin {
    let limits = TimeLimits { connect: Duration::from_secs(5), ..TimeLimits::default() };
    let tls = RenewedTls::read(files, Duration::ZERO).unwrap();
    HbaseAdmin::new(proxy.address(), limits).with_tls(move || Ok(tls.config()))
}

#[test]
fn tables_are_made_over_mutual_tls_and_renewed_certificates_are_taken_up() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let authority = Authority::new();
    let proxy = Proxy::start(authority.server_config(), server.thrift2_address());
    let mut secured = admin(&proxy, &authority.client_files());
    assert!(secured.ensure_namespace("secured").unwrap());
    let table = image_table("secured", PARTITIONS, Compression::Snappy);
    let made = secured.create_table(&table).unwrap();
    assert_eq!(differences(&table, &made), []);
    assert_eq!(proxy.accepted(), 1, "one connection for all calls");

    // What is refused says so, naming where; nothing goes in the clear.
    let renewed = Authority::new();
    for files in authority.refused(&renewed) {
        let error = admin(&proxy, &files).namespaces().unwrap_err();
        assert!(matches!(error, HbaseAdminError::Connect { .. }), "{files:?}: {error:?}");
        assert!(
            error.to_string().contains(&proxy.address()) && error.to_string().contains("certificate"),
            "{error}"
        );
    }
    let plain = HbaseAdmin::new(proxy.address(), TimeLimits::default()).namespaces();
    assert!(matches!(plain, Err(HbaseAdminError::CheckServer { .. })), "{plain:?}");

    // Both sides get certificates of another authority, in the files that there are.
    *proxy.config.lock() = renewed.server_config();
    let before = proxy.accepted();
    for file in ["authority.pem", "client.pem", "client.key"] {
        fs::copy(renewed.file(file), authority.file(file)).unwrap();
    }
    assert_eq!(secured.table(&table.name).unwrap(), Some(made));
    assert_eq!(proxy.accepted(), before + 1, "the renewed certificates are not used");
    // Files that cannot be used leave the former ones in use.
    fs::write(authority.file("client.pem"), "no certificate").unwrap();
    assert!(secured.delete_table(&table.name).unwrap());
    assert!(secured.delete_namespace("secured").unwrap());
    assert_eq!(proxy.accepted(), before + 1);
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
