//! What a database's errors mean.

use std::io;

use sqlx::migrate::MigrateError;

use crate::catalog::CatalogError;
use crate::fault::Fault;

/// Where the catalog lies, and how its database numbers errors.
#[derive(Clone)]
pub struct Dialect {
    /// For messages: file or server.
    pub place: String,
    /// Fault for an error code of the database, or `None` to let it be [`Fault::Failed`]; the text is the message.
    pub classify: fn(place: &str, code: &str, message: String) -> Option<Fault>,
    /// Whether a connection may have died since it was used last, so that it is tried before it is used again.
    pub connections_may_die: bool,
    /// Run on each connection that writes, when it is made.
    pub writer_setup: &'static [&'static str],
    /// Run on each connection that reads, when it is made.
    pub reader_setup: &'static [&'static str],
}

impl Dialect {
    pub(super) fn fault(&self, error: sqlx::Error) -> Fault {
        let place = self.place.clone();
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default().into_owned();
                let known = (self.classify)(&place, &code, error.to_string());
                known.unwrap_or_else(|| Fault::Failed { place, source: error.into_error() })
            }
            sqlx::Error::Io(error) => io_error(place, error),
            sqlx::Error::PoolTimedOut => Fault::Unavailable {
                place,
                source: "all its connections are busy; it is overloaded or a transaction hangs".into(),
            },
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => Fault::Closed { place },
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
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => self.fault(error),
            other => Fault::Failed { place, source: Box::new(other) },
        })
    }
}

fn io_error(place: String, error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::StorageFull => Fault::DiskFull { place, source: Box::new(error) },
        _ => Fault::Unavailable { place, source: Box::new(error) },
    }
}

/// Whether an insert failed because its key is there already.
pub(super) fn is_unique_violation(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.is_unique_violation())
}
