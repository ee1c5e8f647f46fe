//! What the errors of `MySQL` and `MariaDB` mean (mariadb.com/docs/server/reference/error-codes; both number
//! these alike).

use std::time::Duration;

use rand::RngExt;
use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

use crate::fault::Fault;

/// How often a transaction that lost against another one is tried again.
const RETRIES: u32 = 6;
/// Longest pause before the first retry; doubled for each further one.
const FIRST_PAUSE_MS: u64 = 10;

const LOCK_WAIT_TIMEOUT: u16 = 1205;
const DEADLOCK: u16 = 1213;
/// `MariaDB`: a row was changed since the transaction's snapshot.
const CHECK_READ: u16 = 1020;
const OPTION_PREVENTS: u16 = 1290;
const READ_ONLY_MODE: u16 = 1836;

fn number(error: &dyn DatabaseError) -> u16 {
    error.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number)
}

/// Meaning of an error number, with what to do about it.
pub(super) fn classify(place: &str, error: &dyn DatabaseError) -> Option<Fault> {
    let number = number(error);
    let (place, said) = (place.to_owned(), error.to_string());
    let unavailable = |text: String| Some(Fault::Unavailable { place: place.clone(), source: text.into() });
    let inaccessible = |text: String| Some(Fault::Inaccessible { place: place.clone(), source: text.into() });
    match number {
        // Too many connections: of the server, of the user, of the user in an hour.
        1040 | 1203 | 1226 => unavailable(format!(
            "{said}; raise max_connections of the server (or of the user), or lower the number of readers of each process"
        )),
        LOCK_WAIT_TIMEOUT | DEADLOCK | CHECK_READ => {
            unavailable(format!("{said}; other transactions stood in the way {RETRIES} times"))
        }
        // Shutting down, killed.
        1053 | 1077 | 1317 | 1927 => unavailable(said),
        OPTION_PREVENTS | READ_ONLY_MODE => unavailable(format!(
            "{said}; the server does not take writes: it is a replica, or read_only is set; name the primary as the server"
        )),
        // Table full, disk full, what the storage engine got from the system (28: ENOSPC).
        1021 | 1114 => Some(Fault::DiskFull { place, source: said.into() }),
        1026 | 1030 if said.contains("28") => Some(Fault::DiskFull { place, source: said.into() }),
        1044 | 1142 | 1227 | 1370 => inaccessible(format!(
            "{said}; grant the user CREATE, ALTER, INDEX, SELECT, INSERT, UPDATE and DELETE on the database"
        )),
        1045 | 1698 => inaccessible(format!(
            "{said}; check the files with the user and the password, and whether the server takes this user only with TLS"
        )),
        1049 => inaccessible(format!(
            "{said}; make it with CREATE DATABASE … CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin (MariaDB; utf8mb4_0900_bin on MySQL)"
        )),
        3159 => inaccessible(format!("{said}; give the files for TLS")),
        1129 | 1130 => inaccessible(format!(
            "{said}; the server refuses this host: see the hosts that its users may come from"
        )),
        // Index or table damaged.
        1034 | 1035 | 1194 | 1195 | 1712 => Some(Fault::Corrupted { place, source: said.into() }),
        _ => None,
    }
}

/// A transaction that lost a deadlock, or waited too long for a lock, is tried again after a random pause, so
/// that those that met do not meet again.
pub(super) fn pause_before_retry(error: &dyn DatabaseError, attempt: u32) -> Option<Duration> {
    let lost = matches!(number(error), LOCK_WAIT_TIMEOUT | DEADLOCK | CHECK_READ);
    (lost && attempt < RETRIES)
        .then(|| Duration::from_millis(rand::rng().random_range(1..=FIRST_PAUSE_MS << attempt)))
}

/// A server that became read-only is no longer the primary; another connection may lead to the one that is.
pub(super) fn ends_connection(error: &dyn DatabaseError) -> bool {
    matches!(number(error), OPTION_PREVENTS | READ_ONLY_MODE | 1053 | 1077 | 1927)
}
