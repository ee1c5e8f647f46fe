//! One connection to a Thrift 2 server.

use std::io::{self, BufReader, BufWriter};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use thrift::protocol::{TBinaryInputProtocol, TBinaryOutputProtocol};
use thrift::transport::{ReadHalf, TIoChannel, TTcpChannel, WriteHalf};

use crate::error::{HbaseAdminError, Result};
use crate::hbase2::{THBaseServiceSyncClient, TTHBaseServiceSyncClient, TThriftServerType};

/// A client over a connection: buffered, unframed, the binary protocol.
pub(crate) type Client = THBaseServiceSyncClient<
    TBinaryInputProtocol<BufReader<ReadHalf<TTcpChannel>>>,
    TBinaryOutputProtocol<BufWriter<WriteHalf<TTcpChannel>>>,
>;

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

/// Connects, and makes sure that it is the right kind of server.
pub(crate) fn connect(address: &str, limits: TimeLimits) -> Result<Client> {
    let refused = |source| HbaseAdminError::Connect { address: address.to_owned(), source };
    let stream = open(address, limits).map_err(refused)?;
    let wrong = |reason: String| HbaseAdminError::CheckServer { address: address.to_owned(), reason };
    let (reader, writer) =
        TTcpChannel::with_stream(stream).split().map_err(|error| wrong(error.to_string()))?;
    let mut client = THBaseServiceSyncClient::new(
        TBinaryInputProtocol::new(BufReader::new(reader), true),
        TBinaryOutputProtocol::new(BufWriter::new(writer), true),
    );
    match client.get_thrift_server_type() {
        Ok(TThriftServerType::TWO) => Ok(client),
        Ok(_) => Err(wrong("it is the Thrift 1 server".to_owned())),
        // A framed server reads the first bytes as a length that cannot be, and hangs up.
        Err(error) => Err(wrong(format!("it answers with {error}"))),
    }
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
