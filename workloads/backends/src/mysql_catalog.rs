//! The catalog on `MySQL` or `MariaDB`: the [`SqlCatalog`] of every profile, with a server's connections and
//! a server's errors.
//!
//! Guarantees, beside those of [`crate::catalog`]: any number of processes write at the same time; of several
//! that offer the same bytes at once, one is told that they are new. Processes that open an empty database at
//! once do not disturb one another: one makes the tables under a lock of the server, the others wait. A
//! transaction that loses a deadlock or waits too long for a lock is tried again, a few times and with a
//! random pause. Files with a renewed login or certificate are taken up without a restart: connections made
//! from then on use them, and those that there are stay until they end.
//!
//! Assumptions: the database exists and its collation tells all texts apart ([`COLLATIONS`]); the tables are
//! `InnoDB`'s; the login may create tables and indexes and read and write rows; all processes write to the
//! same server (of a Galera cluster, one).
//!
//! Failure modes: a server that is away, restarts or hangs is [`Fault::Unavailable`] after at most
//! [`MySqlOptions::connect_patience`] and, for what it was doing just then,
//! [`MySqlOptions::answer_patience`]; the first use after it is back succeeds. A write whose answer was lost
//! may have happened; offering it again gives the same answer. What a login or a setting forbids is
//! [`Fault::Inaccessible`] and says what to do.

mod faults;

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, Connection, Row};

use self::faults::{classify, ends_connection, pause_before_retry};
use crate::catalog::{CatalogError, Result};
use crate::credentials::{CHECK_EVERY, CredentialFiles, LoginFiles, TlsFiles};
use crate::fault::Fault;
use crate::sql_catalog::{Connections, Dialect, SqlCatalog};

/// Collations that tell all texts apart, as `SQLite` does: of `MariaDB`, of `MySQL`. Others, also
/// `utf8mb4_bin`, take texts as equal that differ in spaces at their end, or in more: two organisations would
/// be one.
pub const COLLATIONS: [&str; 2] = ["utf8mb4_nopad_bin", "utf8mb4_0900_bin"];

/// Waits for the right to change tables. sqlx's own lock waits for a negative time, which `MySQL` takes as
/// for ever and `MariaDB` not at all.
const MIGRATION_LOCK: &str = "SELECT GET_LOCK(CONCAT('medindex.', MD5(DATABASE())), 60)";

/// READ COMMITTED, so that a writer sees what another process has just inserted; strict, so that no text is
/// cut.
const WRITER_SETUP: &[&str] = &[
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',STRICT_ALL_TABLES')",
    "SET SESSION innodb_lock_wait_timeout = 5",
];

const READER_SETUP: &[&str] =
    &["SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "SET SESSION TRANSACTION READ ONLY"];

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MySqlServer {
    /// Name or IPv4 address. TLS checks that the certificate holds for it.
    pub host: String,
    /// Port, usually 3306.
    pub port: u16,
}

/// Where the catalog lies and how it is used.
#[derive(Debug, Clone)]
pub struct MySqlOptions {
    /// The server that is written to.
    pub server: MySqlServer,
    /// A replica that is read instead. Reads are then as old as the replica is behind: an image just accepted
    /// may not be listed yet, and one just deleted may still be. `None`: the server itself is read, and every
    /// read sees every write that returned.
    pub read_replica: Option<MySqlServer>,
    /// Name of the database. It must exist.
    pub database: String,
    /// Files with the user and the password.
    pub login: LoginFiles,
    /// Files for TLS; `None`: unencrypted.
    pub tls: Option<TlsFiles>,
    /// Most connections for reading, at least 1. One more writes; the server has to allow them for every
    /// process.
    pub readers: u32,
    /// How long to wait for a connection.
    pub connect_patience: Duration,
    /// How long to wait for an answer.
    pub answer_patience: Duration,
    /// How often to look whether the files were renewed.
    pub check_files_every: Duration,
}

impl MySqlOptions {
    /// The usual settings: 8 connections for reading, 5 s for a connection, 30 s for an answer, unencrypted,
    /// no replica.
    pub fn new(server: MySqlServer, database: impl Into<String>, login: LoginFiles) -> Self {
        Self {
            server,
            read_replica: None,
            database: database.into(),
            login,
            tls: None,
            readers: 8,
            connect_patience: Duration::from_secs(5),
            answer_patience: Duration::from_secs(30),
            check_files_every: CHECK_EVERY,
        }
    }

    fn place(&self) -> String {
        format!("the catalog {} on {}:{}", self.database, self.server.host, self.server.port)
    }

    fn dialect(&self) -> Dialect {
        Dialect {
            place: self.place(),
            classify,
            pause_before_retry,
            ends_connection,
            connections_may_die: true,
            connect_patience: self.connect_patience,
            answer_patience: Some(self.answer_patience),
            migration_lock: Some(MIGRATION_LOCK),
            writer_setup: WRITER_SETUP,
            reader_setup: READER_SETUP,
        }
    }

    /// URLs with the login as the files hold it now.
    fn connections(&self) -> Result<Connections, Fault> {
        let writer = self.url(&self.server)?;
        let reader = self.read_replica.as_ref().map(|replica| self.url(replica)).transpose()?;
        Ok(Connections {
            reader: reader.unwrap_or_else(|| writer.clone()),
            writer,
            readers: self.readers.max(1),
        })
    }

    fn url(&self, server: &MySqlServer) -> Result<String, Fault> {
        if server.host.is_empty() || server.host.contains([':', '/', '@', '?', '#']) {
            let text = format!("{:?} is neither a host name nor an IPv4 address", server.host);
            return Err(Fault::Inaccessible { place: self.place(), source: text.into() });
        }
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let user = self.login.read_user()?.map_or_else(String::new, |user| encoded(user.reveal()));
        let password = encoded(self.login.read_password()?.reveal());
        let base =
            format!("mysql://{user}:{password}@{}:{}/{}", server.host, server.port, encoded(&self.database));
        let Some(tls) = &self.tls else { return Ok(format!("{base}?charset=utf8mb4&ssl-mode=DISABLED")) };
        let files = [("ssl-ca", &tls.authorities), ("ssl-cert", &tls.certificate), ("ssl-key", &tls.key)];
        let files = files.into_iter().filter_map(|(name, file)| {
            file.as_ref().map(|file| format!("&{name}={}", encoded(&file.to_string_lossy())))
        });
        Ok(format!("{base}?charset=utf8mb4&ssl-mode=VERIFY_IDENTITY{}", files.collect::<String>()))
    }
}

/// Opens the catalog, and brings its tables to this release's schema.
///
/// # Errors
/// [`CatalogError::Open`]: the server does not answer ([`Fault::Unavailable`]), or the login, the database,
/// its collation or TLS are not as they have to be ([`Fault::Inaccessible`], saying what to do).
/// [`CatalogError::Migrate`]; with [`Fault::NewerSchema`] if a later release wrote it.
pub async fn open_mysql_catalog(options: MySqlOptions) -> Result<SqlCatalog> {
    install_default_drivers();
    let files =
        CredentialFiles::new(options.tls.as_ref(), Some(&options.login)).map_err(CatalogError::Open)?;
    let connections = options.connections().map_err(CatalogError::Open)?;
    check_collation(&options, &connections.writer).await.map_err(CatalogError::Open)?;
    let catalog = SqlCatalog::connect(&connections, options.dialect()).await?;
    Ok(catalog.follow(options.check_files_every, move || renewed(&options, &files)))
}

/// How to connect from now on, if the files changed.
fn renewed(options: &MySqlOptions, files: &CredentialFiles) -> Option<Connections> {
    let connections = match files.changed() {
        Ok(false) => return None,
        Ok(true) => options.connections(),
        Err(fault) => Err(fault),
    };
    connections
        .inspect_err(
            |fault| tracing::warn!(%fault, "the login of the catalog cannot be read; the one before is kept"),
        )
        .ok()
}

async fn check_collation(options: &MySqlOptions, url: &str) -> Result<(), Fault> {
    let dialect = options.dialect();
    let ask = async {
        let mut connection = AnyConnection::connect(url).await?;
        let row = sqlx::query("SELECT @@collation_database").fetch_one(&mut connection).await?;
        connection.close().await?;
        row.try_get::<String, _>(0)
    };
    let answer = tokio::time::timeout(options.connect_patience, ask).await;
    let answer = answer.map_err(|_| Fault::Unavailable {
        place: options.place(),
        source: format!("no answer within {:?}", options.connect_patience).into(),
    })?;
    let collation = answer.map_err(|error| dialect.fault(error))?;
    if COLLATIONS.contains(&collation.as_str()) {
        return Ok(());
    }
    let database = &options.database;
    let [mariadb, mysql] = COLLATIONS;
    let text = format!(
        "its collation {collation} takes different texts as equal; while it is empty, run \
         `ALTER DATABASE {database} CHARACTER SET utf8mb4 COLLATE {mariadb}` (MariaDB; {mysql} on MySQL)"
    );
    Err(Fault::Inaccessible { place: options.place(), source: text.into() })
}
