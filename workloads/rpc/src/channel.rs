//! Connections to other processes of the cluster.

use std::net::SocketAddr;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How often a connection is tried, in use or not: a peer that vanished without a word is noticed by the next question.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long that may take.
const KEEP_ALIVE_PATIENCE: Duration = Duration::from_secs(3);

/// A channel that connects at its first use and again whenever it must; `None`, with the reason in the log, where the address is none.
pub(crate) fn open(address: SocketAddr) -> Option<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .inspect_err(|error| tracing::error!(%address, %error, "the address cannot be used"))
        .ok()?;
    let endpoint = endpoint
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_PATIENCE)
        .keep_alive_while_idle(true);
    Some(endpoint.connect_lazy())
}
