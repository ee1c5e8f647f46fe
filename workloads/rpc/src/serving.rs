//! Listening and serving gRPC, and stopping without losing a call in flight.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// Why the service ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address} (--listen): {source}; choose another port, or stop the program that has it"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The service failed.
    #[error("the gRPC service ended: {0}")]
    Run(#[source] tonic::transport::Error),
}

/// Serves `routes` on `address` until `stop`; calls in flight are then finished, and after `finish_within` cut off.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    address: SocketAddr,
    routes: Routes,
    stop: CancellationToken,
    finish_within: Duration,
) -> Result<(), ServeError> {
    let listener =
        TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
    let told = stop.clone();
    // On the connections themselves: the builder's own option is for those that it accepts itself. Without it every answer waits 40 ms for the
    // caller's delayed acknowledgement.
    let connections = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .add_routes(routes)
        .serve_with_incoming_shutdown(connections, told.cancelled_owned());
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(finish_within).await;
    };
    tokio::select! {
        outcome = server => outcome.map_err(ServeError::Run),
        () = late => {
            let seconds = finish_within.as_secs();
            tracing::warn!(seconds, "calls in flight took too long and were cut off");
            Ok(())
        }
    }
}
