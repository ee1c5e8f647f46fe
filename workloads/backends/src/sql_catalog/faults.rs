//! What a database's errors mean.

use std::io;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;

use crate::catalog::CatalogError;
use crate::fault::Fault;

/// Where the catalog lies, and how its database numbers errors.
#[derive(Clone)]
pub struct Dialect {
    /// For messages: file or server.
    pub place: String,
    /// Fault for an error of the database, or `None` to let it be [`Fault::Failed`].
    pub classify: fn(place: &str, error: &dyn DatabaseError) -> Option<Fault>,
    /// How long to wait before a transaction that failed so is tried again, `attempt` tries (0 and up) after
    /// the first; `None`: it is not tried again.
    pub pause_before_retry: fn(error: &dyn DatabaseError, attempt: u32) -> Option<Duration>,
    /// Whether the connection on which this happened is not to be used again.
    pub ends_connection: fn(error: &dyn DatabaseError) -> bool,
    /// Whether a connection may have died since it was used last, so that it is tried before it is used
    /// again.
    pub connections_may_die: bool,
    /// How long a read or write waits for a connection.
    pub connect_patience: Duration,
    /// How long a read or a transaction may take on its connection; `None`: as long as it takes.
    pub answer_patience: Option<Duration>,
    /// Query that takes the lock under which one process at a time migrates, and answers 1; the lock ends
    /// with its connection.
    pub migration_lock: Option<&'static str>,
    /// Run on each connection that writes, when it is made.
    pub writer_setup: &'static [&'static str],
    /// Run on each connection that reads, when it is made.
    pub reader_setup: &'static [&'static str],
}

impl Dialect {
    pub(crate) fn fault(&self, error: sqlx::Error) -> Fault {
        let place = self.place.clone();
        match error {
            sqlx::Error::Database(error) => {
                let known = (self.classify)(&place, error.as_ref());
                known.unwrap_or_else(|| Fault::Failed { place, source: error.into_error() })
            }
            sqlx::Error::Io(error) => io_error(place, error),
            sqlx::Error::PoolTimedOut => Fault::Unavailable {
                place,
                source: format!(
                    "no connection within {:?}; it is down, overloaded, or a transaction hangs",
                    self.connect_patience
                )
                .into(),
            },
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Fault::Closed { place },
            sqlx::Error::Tls(source) => Fault::Inaccessible { place, source: tls_failed(&source).into() },
            // What was written as one type is there as another.
            error @ (sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => {
                Fault::Corrupted { place, source: Box::new(error) }
            }
            other => Fault::Failed { place, source: Box::new(other) },
        }
    }

    pub(super) fn read_error(&self, what: &'static str, error: sqlx::Error) -> CatalogError {
        CatalogError::Read { what, source: self.fault(error) }
    }

    pub(super) fn write_error(&self, what: &'static str, error: sqlx::Error) -> CatalogError {
        CatalogError::Write { what, source: self.fault(error) }
    }

    pub(super) fn migrate_error(&self, error: MigrateError, newest: i64) -> CatalogError {
        let place = self.place.clone();
        CatalogError::Migrate(match error {
            MigrateError::VersionMissing(version) if version > newest => Fault::NewerSchema {
                place,
                found: format!("schema {version}"),
                supported: format!("schema {newest}"),
            },
            MigrateError::Dirty(version) => Fault::Corrupted {
                place,
                source: format!("the change to schema {version} was interrupted half-way").into(),
            },
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => self.fault(error),
            other => Fault::Failed { place, source: Box::new(other) },
        })
    }
}

fn io_error(place: String, error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::StorageFull => Fault::DiskFull { place, source: Box::new(error) },
        // What rustls makes of a certificate that it does not take.
        io::ErrorKind::InvalidData => Fault::Inaccessible { place, source: tls_failed(&error).into() },
        _ => Fault::Unavailable { place, source: Box::new(error) },
    }
}

fn tls_failed(error: &dyn std::fmt::Display) -> String {
    format!(
        "TLS failed ({error}): the server has to offer TLS, its certificate has to name the host, and the file of authorities has to \
         hold who signed it"
    )
}

/// Whether an insert failed because its key is there already.
pub(super) fn is_unique_violation(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.is_unique_violation())
}
