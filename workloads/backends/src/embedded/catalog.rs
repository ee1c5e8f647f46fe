//! The catalog of the one-process profile: `SQLite` in the data folder.
//!
//! Write-ahead log with a sync on every commit: what was answered survives a kill and a power cut. One connection
//! writes, several read beside it and never wait for it.

use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sqlx::error::DatabaseError;
use sqlx::{AnyConnection, Connection};

use super::aside::{set_aside, with_suffix};
use super::database::{io_fault, sync_folder};
use crate::catalog::{CatalogError, Result};
use crate::fault::Fault;
use crate::sql_catalog::{Dialect, SqlCatalog};

/// Name of the catalog's file in the data folder.
pub const CATALOG_FILE: &str = "catalog.sqlite";

/// Connections that read.
const READERS: u32 = 4;

/// How long a read waits for a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(30);

const WRITER_SETUP: &[&str] = &[
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA cache_size = -32768",
];

const READER_SETUP: &[&str] = &[
    "PRAGMA busy_timeout = 5000",
    "PRAGMA query_only = ON",
    "PRAGMA cache_size = -16384",
    "PRAGMA mmap_size = 268435456",
];

/// Opens the catalog in a folder, making both if they are missing.
///
/// # Errors
/// [`CatalogError::Open`] and [`CatalogError::Migrate`] with the fault.
pub async fn open_catalog(folder: impl AsRef<Path>) -> Result<SqlCatalog> {
    let folder = folder.as_ref();
    let inaccessible = |error| CatalogError::Open(io_fault(folder.display().to_string(), error));
    std::fs::create_dir_all(folder).map_err(inaccessible)?;
    let path = absolute(folder.join(CATALOG_FILE)).map_err(inaccessible)?;
    let length = match std::fs::metadata(&path) {
        Ok(file) => Some(file.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(inaccessible(error)),
    };
    match length {
        None => create(&path).await?,
        // SQLite would quietly begin a new catalog.
        Some(0) => return Err(damaged(&path, "the file is empty")),
        Some(_) => {}
    }
    SqlCatalog::open(&url(&path), READERS, dialect(&path)).await
}

/// Makes a catalog under another name first, so that a file with the right name always has its tables.
async fn create(path: &Path) -> Result<()> {
    let unfinished = path.with_extension("new");
    let failed = |error| CatalogError::Open(io_fault(unfinished.display().to_string(), error));
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::remove_file(with_suffix(&unfinished, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    // Closing moves the write-ahead log into the file.
    SqlCatalog::open(&url(&unfinished), 1, dialect(&unfinished)).await?.close().await;
    std::fs::rename(&unfinished, path).map_err(failed)?;
    sync_folder(path).map_err(failed)
}

/// Renames a damaged catalog, so that a new one can be made; says under which name it is kept. A catalog that is whole or
/// not there is left alone. Nothing else may have the folder open.
///
/// # Errors
/// [`CatalogError::Open`] and [`CatalogError::Migrate`] when it is not damaged and cannot be opened all the same, or cannot
/// be renamed.
pub async fn set_damaged_catalog_aside(folder: impl AsRef<Path>) -> Result<Option<PathBuf>> {
    let folder = folder.as_ref();
    let failed = |error| CatalogError::Open(io_fault(folder.display().to_string(), error));
    let path = absolute(folder.join(CATALOG_FILE)).map_err(failed)?;
    if !path.try_exists().map_err(failed)? {
        return Ok(None);
    }
    let Some(damage) = find_damage(&path).await? else { return Ok(None) };
    let kept = set_aside(&path, &["-wal", "-shm"]).map_err(failed)?;
    tracing::warn!(damage, kept = %kept.display(), "the damaged catalog is set aside");
    Ok(Some(kept))
}

/// What is damaged in a catalog's file; `None` when it is whole.
async fn find_damage(path: &Path) -> Result<Option<String>> {
    let inaccessible = |error| CatalogError::Open(io_fault(path.display().to_string(), error));
    if std::fs::metadata(path).map_err(inaccessible)?.len() == 0 {
        return Ok(Some("the file is empty".to_owned()));
    }
    match SqlCatalog::open(&url(path), 1, dialect(path)).await {
        Ok(catalog) => catalog.close().await,
        Err(error) if error.fault().is_some_and(is_damage) => return Ok(Some(error.to_string())),
        Err(error) => return Err(error),
    }
    let checked = async {
        let mut connection = AnyConnection::connect(&url(path)).await?;
        let found: String =
            sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(found)
    };
    match checked.await {
        Ok(found) if found == "ok" => Ok(None),
        Ok(found) => Ok(Some(found)),
        Err(error) => match dialect(path).fault(error) {
            fault if is_damage(&fault) => Ok(Some(fault.to_string())),
            fault => Err(CatalogError::Open(fault)),
        },
    }
}

/// Damage takes many forms; what has a name of its own (in use, no permission, a later release) is none.
fn is_damage(fault: &Fault) -> bool {
    matches!(fault, Fault::Corrupted { .. } | Fault::Failed { .. })
}

fn damaged(path: &Path, reason: &'static str) -> CatalogError {
    CatalogError::Open(Fault::Corrupted { place: path.display().to_string(), source: reason.into() })
}

fn dialect(path: &Path) -> Dialect {
    Dialect {
        place: format!("the catalog {}", path.display()),
        classify: classify_sqlite,
        // This process alone writes, on one connection.
        pause_before_retry: |_, _| None,
        ends_connection: |_| false,
        // A trial would cost every read a trip to the connection's thread and back.
        connections_may_die: false,
        connect_patience: CONNECT_PATIENCE,
        answer_patience: None,
        // sqlx's own transaction is enough.
        migration_lock: None,
        writer_setup: WRITER_SETUP,
        reader_setup: READER_SETUP,
    }
}

/// Every byte of a path that could mean something else in a URL.
const NOT_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'_').remove(b'-');

/// The file as a URL.
fn url(path: &Path) -> String {
    format!("sqlite://{}?mode=rwc", percent_encode(path.as_os_str().as_encoded_bytes(), NOT_IN_PATH))
}

/// Meaning of `SQLite`'s result codes (sqlite.org/rescode.html); the low byte is the primary code.
fn classify_sqlite(place: &str, error: &dyn DatabaseError) -> Option<Fault> {
    let code: u32 = error.code()?.parse().ok()?;
    let (place, source) = (place.to_owned(), error.to_string().into());
    match code & 0xff {
        // BUSY, LOCKED
        5 | 6 => Some(Fault::Unavailable { place, source }),
        // FULL, and IOERR_WRITE and IOERR_SHMSIZE: SQLite reports a file-size limit and a full disk so
        13 => Some(Fault::DiskFull { place, source }),
        10 if matches!(code, 778 | 4874) => Some(Fault::DiskFull { place, source }),
        // IOERR_SHORT_READ, IOERR_DATA, IOERR_CORRUPTFS
        10 if matches!(code, 522 | 8202 | 8458) => Some(Fault::Corrupted { place, source }),
        // CORRUPT, NOTADB
        11 | 26 => Some(Fault::Corrupted { place, source }),
        // PERM, READONLY, CANTOPEN, AUTH; and IOERR: what else the disk does not do is no damage of the file
        3 | 8 | 10 | 14 | 23 => Some(Fault::Inaccessible { place, source }),
        _ => None,
    }
}
