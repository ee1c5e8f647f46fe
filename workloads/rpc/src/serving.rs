//! Listening and serving gRPC, and stopping without losing a call in flight.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

/// How long calls in flight may take after the process was told to stop.
const FINISH_WITHIN: Duration = Duration::from_secs(20);

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

/// Serves `routes` on `address` until `stop`; calls in flight are then finished, and after 20 seconds cut off.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(address: SocketAddr, routes: Routes, stop: CancellationToken) -> Result<(), ServeError> {
    let listener =
        TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
    let told = stop.clone();
    let server = Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .add_routes(routes)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), told.cancelled_owned());
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(FINISH_WITHIN).await;
    };
    tokio::select! {
        outcome = server => outcome.map_err(ServeError::Run),
        () = late => {
            tracing::warn!("calls in flight took too long and were cut off");
            Ok(())
        }
    }
}
