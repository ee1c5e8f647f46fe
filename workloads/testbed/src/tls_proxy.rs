//! A proxy that ends TLS before a server which cannot speak it, and wants a certificate of its clients: what docs/hbase-tls.md has ghostunnel do.
//!
//! Guarantees: nobody without a certificate of its authority reaches the server. Dropping it closes the port and every connection.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::certificates::Certificates;
use crate::process::TestbedError;

const NAME: &str = "the proxy of TLS";

/// A running proxy.
#[derive(Debug)]
pub struct TlsProxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: String,
    config: Mutex<Arc<ServerConfig>>,
    /// Connections whose handshake is done.
    accepted: AtomicUsize,
    /// Told when the connections that there are shall close.
    close: watch::Sender<()>,
    /// Told when the proxy shall end.
    end: watch::Sender<()>,
}

impl TlsProxy {
    /// Starts one before the server at `target`, `host:port`.
    ///
    /// # Errors
    /// [`TestbedError::Secure`] with certificates that cannot be used, [`TestbedError::Start`].
    pub fn start(certificates: &Certificates, target: String) -> Result<Self, TestbedError> {
        let failed = |source| TestbedError::Start { server: NAME.to_owned(), source };
        let config = Mutex::new(server_config(certificates)?);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
        let (accepted, close, end) = (AtomicUsize::new(0), watch::Sender::new(()), watch::Sender::new(()));
        let shared = Arc::new(Shared { target, config, accepted, close, end });
        let (serving, end) = (Arc::clone(&shared), shared.end.subscribe());
        thread::spawn(move || runtime.block_on(serve(listener, serving, end)));
        Ok(Self { port, shared })
    }

    /// Where it listens; its certificate holds for this name.
    pub fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// How many connections were let in.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Lets the next connections in by other certificates; those that there are stay.
    ///
    /// # Errors
    /// [`TestbedError::Secure`].
    pub fn renew(&self, certificates: &Certificates) -> Result<(), TestbedError> {
        *self.shared.config.lock() = server_config(certificates)?;
        Ok(())
    }

    /// Closes the connections that there are.
    pub fn close_connections(&self) {
        self.shared.close.send_replace(());
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        self.shared.end.send_replace(());
    }
}

async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut end: watch::Receiver<()>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = end.changed() => return Ok(()),
            incoming = listener.accept() => {
                let (outer, _) = incoming?;
                connections.spawn(connect(outer, Arc::clone(&shared)));
            }
            // A connection that breaks is its ends' to notice.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(outer: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let mut close = shared.close.subscribe();
    let acceptor = TlsAcceptor::from(Arc::clone(&shared.config.lock()));
    let mut outer = acceptor.accept(outer).await?;
    shared.accepted.fetch_add(1, Ordering::Relaxed);
    let mut inner = TcpStream::connect(&shared.target).await?;
    inner.set_nodelay(true)?;
    tokio::select! {
        copied = copy_bidirectional(&mut outer, &mut inner) => copied.map(drop),
        _ = close.changed() => Ok(()),
    }
}

/// Shows the server's certificate and wants one of the same authority.
fn server_config(certificates: &Certificates) -> Result<Arc<ServerConfig>, TestbedError> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificates.authority).map_err(secure)?).map_err(secure)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = verifier.build().map_err(secure)?;
    let chain = vec![CertificateDer::from_pem_file(&certificates.server_certificate).map_err(secure)?];
    let key = PrivateKeyDer::from_pem_file(&certificates.server_key).map_err(secure)?;
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(secure)?.with_client_cert_verifier(verifier);
    Ok(Arc::new(builder.with_single_cert(chain, key).map_err(secure)?))
}

fn secure(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TestbedError {
    TestbedError::Secure { server: NAME.to_owned(), source: source.into() }
}
