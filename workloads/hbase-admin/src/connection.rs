//! One connection to a Thrift 2 server.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use thrift::TransportErrorKind;
use thrift::protocol::{TBinaryInputProtocol, TBinaryOutputProtocol};

use crate::error::{HbaseAdminError, Result};
use crate::hbase2::{THBaseServiceSyncClient, TTHBaseServiceSyncClient, TThriftServerType};

/// A client over a connection: buffered, unframed, the binary protocol.
pub(crate) type Client = THBaseServiceSyncClient<
    TBinaryInputProtocol<BufReader<Stream>>,
    TBinaryOutputProtocol<BufWriter<Stream>>,
>;

/// Bytes both ways, in the clear or not.
trait Bytes: Read + Write + Send {}

impl<T: Read + Write + Send> Bytes for T {}

/// One end of a connection. A client writes a request whole before it reads the answer, so both ends share a lock.
#[derive(Clone)]
pub(crate) struct Stream(Arc<Mutex<dyn Bytes>>);

impl Stream {
    fn lock(&self) -> MutexGuard<'_, dyn Bytes + 'static> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lock().read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().flush()
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// Until a connection stands.
    pub connect: Duration,
    /// Until an answer to a request begins to arrive: creating and deleting tables takes seconds.
    pub answer: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), answer: Duration::from_mins(1) }
    }
}

/// Connects, with TLS if `tls` says how, and makes sure that it is the right kind of server.
pub(crate) fn connect(address: &str, limits: TimeLimits, tls: Option<&Arc<ClientConfig>>) -> Result<Client> {
    let refused = |source| HbaseAdminError::Connect { address: address.to_owned(), source };
    let stream = open(address, limits).map_err(refused)?;
    let stream = match tls {
        None => Stream(Arc::new(Mutex::new(stream))),
        Some(tls) => Stream(Arc::new(Mutex::new(encrypt(address, stream, tls).map_err(refused)?))),
    };
    let wrong = |reason: String| HbaseAdminError::CheckServer { address: address.to_owned(), reason };
    let mut client = THBaseServiceSyncClient::new(
        TBinaryInputProtocol::new(BufReader::new(stream.clone()), true),
        TBinaryOutputProtocol::new(BufWriter::new(stream), true),
    );
    match client.get_thrift_server_type() {
        Ok(TThriftServerType::TWO) => Ok(client),
        Ok(_) => Err(wrong("it is the Thrift 1 server".to_owned())),
        // The other side says only now what it thinks of our certificate.
        Err(error @ thrift::Error::Transport(_)) if tls.is_some() => Err(refused(io::Error::other(error))),
        // What hangs takes connections all the same; a read that takes too long has no kind of its own in Thrift.
        Err(thrift::Error::Transport(error))
            if matches!(error.kind, TransportErrorKind::TimedOut | TransportErrorKind::Unknown) =>
        {
            Err(refused(io::Error::new(
                io::ErrorKind::TimedOut,
                "it takes the connection and does not answer",
            )))
        }
        // A framed server reads the first bytes as a length that cannot be, and hangs up.
        Err(error) => Err(wrong(format!("it answers with {error}"))),
    }
}

/// Shakes hands with `host:port`, whose certificate must be the host's.
fn encrypt(
    address: &str,
    mut stream: TcpStream,
    tls: &Arc<ClientConfig>,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

fn open(address: &str, limits: TimeLimits) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limits.connect) {
            Ok(stream) => {
                stream.set_read_timeout(Some(limits.answer))?;
                stream.set_write_timeout(Some(limits.answer))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
