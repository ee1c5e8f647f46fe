//! Listening, serving, and stopping without losing a request in flight.
//!
//! Guarantees: a client that does not finish its request's head within [`HEAD_WITHIN`] is cut off; at shutdown no new
//! connection is taken, requests in flight are finished, and after `shutdown_within` the rest is cut off.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use medindex_pipeline::Pipeline;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::router::router;
use crate::settings::GatewaySettings;

/// Longest time for the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// Pause before the next connection is taken after taking one failed, for example for want of file handles.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Why the gateway cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another port, or stop the program that has it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
}

/// Listens on the address of `settings`; connections wait until [`serve`] takes them.
///
/// # Errors
/// [`ServeError::Listen`] when the address is taken or not this machine's.
pub async fn listen(settings: &GatewaySettings) -> Result<TcpListener, ServeError> {
    let address = settings.listen;
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })
}

/// Serves `pipeline` on `listener` until `stop` is over and the requests in flight are finished.
///
/// The pipeline stays open: shut it down afterwards.
pub async fn serve(
    listener: TcpListener,
    pipeline: Pipeline,
    settings: GatewaySettings,
    stop: impl Future<Output = ()>,
) {
    let shutdown_within = settings.shutdown_within;
    let routes = router(pipeline, settings);
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => serve_connection(stream, routes.clone(), &connections),
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection");
                    sleep(PAUSE_AFTER_FAILURE).await;
                }
            },
        }
    }
    drop(listener);
    let open = connections.count();
    tracing::info!(connections = open, "stopping: requests in flight are finished");
    if timeout(shutdown_within, connections.shutdown()).await.is_err() {
        tracing::warn!(
            seconds = shutdown_within.as_secs(),
            "requests in flight took too long and were cut off"
        );
    }
}

fn serve_connection(stream: TcpStream, routes: Router, connections: &GracefulShutdown) {
    // Answers are small: waiting to fill packets would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot turn off Nagle's algorithm");
    }
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    builder.http2().timer(TokioTimer::new());
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let connection = connections.watch(connection.into_owned());
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
    });
}
