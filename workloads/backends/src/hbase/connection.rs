//! One connection to a Thrift 1 server.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hbase_thrift::hbase::HbaseSyncClient;
use parking_lot::Mutex;
use rustls::{ClientConnection, StreamOwned};
use thrift::protocol::{TBinaryInputProtocol, TBinaryOutputProtocol};

use super::tls::Tls;

/// Bytes gathered before they are sent, and read at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// A client: buffered, unframed, the binary protocol.
pub(crate) type Client =
    HbaseSyncClient<TBinaryInputProtocol<BufReader<Stream>>, TBinaryOutputProtocol<BufWriter<Stream>>>;

/// One end of a connection. A client writes a request whole before it reads the answer, so both ends may share a lock.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Arc<Mutex<StreamOwned<ClientConnection, TcpStream>>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.lock().read(buffer).map_err(marked),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.lock().write(bytes).map_err(marked),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.lock().flush().map_err(marked),
        }
    }
}

/// What the text of an error begins with that TLS gave; of an error, Thrift keeps the text alone.
pub(crate) const TLS_FAILED: &str = "TLS failed";

/// Marks errors of TLS itself: certificates that are not taken, a side that does not speak it.
fn marked(error: io::Error) -> io::Error {
    if error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some() {
        return io::Error::new(error.kind(), format!("{TLS_FAILED} ({error})"));
    }
    error
}

/// A connection that stands.
pub(crate) struct Connection {
    /// Its client.
    pub(crate) client: Client,
    /// Number of the server in the options.
    pub(crate) server: usize,
    /// When it was given back last.
    pub(crate) idle_since: Instant,
}

/// Time limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) answer: Duration,
}

/// Connects to server number `server`, at `address`.
pub(crate) fn connect(
    server: usize,
    address: &str,
    limits: Limits,
    tls: Option<&Tls>,
) -> io::Result<Connection> {
    let plain = open(address, limits)?;
    let (reader, writer) = match tls {
        None => (Stream::Plain(plain.try_clone()?), Stream::Plain(plain)),
        Some(tls) => {
            let stream = Arc::new(Mutex::new(tls.wrap(address, plain)?));
            (Stream::Tls(Arc::clone(&stream)), Stream::Tls(stream))
        }
    };
    let reader = TBinaryInputProtocol::new(BufReader::with_capacity(BUFFER_BYTES, reader), true);
    let writer = TBinaryOutputProtocol::new(BufWriter::with_capacity(BUFFER_BYTES, writer), true);
    Ok(Connection { client: HbaseSyncClient::new(reader, writer), server, idle_since: Instant::now() })
}

fn open(address: &str, limits: Limits) -> io::Result<TcpStream> {
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
