//! Connections: how they are made, how long is waited for them, and which are not used again.

use std::future::Future;
use std::io;
use std::sync::Arc;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Connection, Executor};

use super::faults::Dialect;

/// The pools of a catalog.
#[derive(Clone)]
pub(super) struct Pools {
    pub(super) writers: AnyPool,
    pub(super) readers: AnyPool,
}

#[cfg(feature = "cluster")]
impl Pools {
    /// Connections made from now on are made so.
    pub(super) fn connect_with(&self, connections: &super::Connections) -> Result<(), sqlx::Error> {
        self.writers.set_connect_options(options(&connections.writer)?);
        self.readers.set_connect_options(options(&connections.reader)?);
        Ok(())
    }
}

/// Sets up one connection by itself: a pool would try a set-up that fails again until its time is up, and
/// then tell of the time and not of the failure.
pub(super) async fn probe(options: &AnyConnectOptions, dialect: &Dialect) -> Result<(), sqlx::Error> {
    within(dialect, async {
        let mut connection = AnyConnection::connect_with(options).await?;
        for statement in dialect.writer_setup {
            connection.execute(*statement).await?;
        }
        connection.close().await
    })
    .await
}

/// A pool whose connections are set up.
pub(super) async fn pool(
    connections: u32,
    options: AnyConnectOptions,
    dialect: &Dialect,
    setup: &'static [&'static str],
) -> Result<AnyPool, sqlx::Error> {
    AnyPoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(dialect.connect_patience)
        .max_lifetime(None)
        .idle_timeout(None)
        .test_before_acquire(dialect.connections_may_die)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                for statement in setup {
                    connection.execute(*statement).await?;
                }
                Ok(())
            })
        })
        .connect_with(options)
        .await
}

/// The outcome of an action on a connection, or an error once the dialect's patience is at its end: a server
/// that hangs would keep its callers for ever.
pub(super) async fn within<T>(
    dialect: &Dialect,
    action: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let Some(patience) = dialect.answer_patience else { return action.await };
    tokio::time::timeout(patience, action).await.unwrap_or_else(|_| {
        let text = format!("no answer within {patience:?}");
        Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, text)))
    })
}

/// Gives a connection back to its pool, unless what happened on it says that it is of no further use: then it
/// is cut.
pub(super) fn give_back(connection: PoolConnection<Any>, dialect: &Dialect, failure: Option<&sqlx::Error>) {
    let useless = match failure {
        Some(sqlx::Error::Database(error)) => (dialect.ends_connection)(error.as_ref()),
        Some(sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) => dialect.connections_may_die,
        _ => false,
    };
    if useless {
        drop(connection.detach());
    }
}

/// Ends a connection that may be in a transaction still; its pool makes a new one.
pub(super) async fn throw_away(connection: PoolConnection<Any>, dialect: &Dialect) {
    if dialect.connections_may_die {
        // A server that does not answer would not answer to a farewell either; it rolls back once it is cut.
        drop(connection.detach());
        return;
    }
    // Waits until the file is let go, with its locks, so that the next connection finds it free.
    if let Err(error) = connection.detach().close().await {
        tracing::warn!(%error, place = dialect.place, "a connection of the catalog did not end well");
    }
}

/// Whether the server is out of reach, so that nothing else will succeed just now either.
pub(super) fn is_out_of_reach(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed)
}

/// What a failed write is told when another write of its transaction met the failure.
pub(super) fn same_failure(error: &sqlx::Error) -> sqlx::Error {
    match error {
        sqlx::Error::Io(error) => sqlx::Error::Io(io::Error::new(error.kind(), error.to_string())),
        sqlx::Error::PoolClosed => sqlx::Error::PoolClosed,
        _ => sqlx::Error::PoolTimedOut,
    }
}

/// Options out of a URL, for either kind of database.
pub(super) fn options(url: &str) -> Result<AnyConnectOptions, sqlx::Error> {
    url.parse()
}

/// A task that ends with the last catalog that it serves.
#[derive(Clone)]
pub(super) struct Companion(Arc<AbortOnDrop>);

struct AbortOnDrop(tokio::task::AbortHandle);

impl Companion {
    #[cfg(feature = "cluster")]
    pub(super) fn new(task: &tokio::task::JoinHandle<()>) -> Self {
        Self(Arc::new(AbortOnDrop(task.abort_handle())))
    }

    pub(super) fn stop(&self) {
        self.0.0.abort();
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
