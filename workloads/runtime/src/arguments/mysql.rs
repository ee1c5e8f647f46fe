//! Where MySQL or MariaDB is.

use std::path::PathBuf;

use clap::Args;
use medindex_backends::credentials::LoginFiles;
use medindex_backends::mysql_catalog::{MySqlOptions, MySqlServer};

use super::{ArgumentError, parse_address, tls};

/// The database of the catalog.
#[derive(Debug, Clone, Args)]
pub struct MySqlArguments {
    /// MySQL or MariaDB server, host:port.
    #[arg(long, env = "MEDINDEX_MYSQL_SERVER", value_name = "HOST:PORT")]
    pub mysql_server: String,
    /// Database; it must exist, with the collation `utf8mb4_nopad_bin` (MariaDB) or `utf8mb4_0900_bin` (MySQL). The index's name when left out, with hyphens as underscores.
    #[arg(long, env = "MEDINDEX_MYSQL_DATABASE", value_name = "NAME")]
    pub mysql_database: Option<String>,
    /// File with the user.
    #[arg(long, env = "MEDINDEX_MYSQL_USER_FILE", value_name = "FILE")]
    pub mysql_user_file: PathBuf,
    /// File with the password.
    #[arg(long, env = "MEDINDEX_MYSQL_PASSWORD_FILE", value_name = "FILE")]
    pub mysql_password_file: PathBuf,
    /// Speak TLS to the database.
    #[arg(long, env = "MEDINDEX_MYSQL_TLS")]
    pub mysql_tls: bool,
    /// PEM file of the authorities that its certificate is checked against; the system's when left out. Implies TLS.
    #[arg(long, env = "MEDINDEX_MYSQL_AUTHORITIES", value_name = "FILE")]
    pub mysql_authorities: Option<PathBuf>,
    /// PEM file of this program's certificate, for mutual TLS.
    #[arg(long, env = "MEDINDEX_MYSQL_CERTIFICATE", value_name = "FILE")]
    pub mysql_certificate: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(long, env = "MEDINDEX_MYSQL_KEY", value_name = "FILE")]
    pub mysql_key: Option<PathBuf>,
    /// Most connections for reading; one more writes.
    #[arg(long, env = "MEDINDEX_MYSQL_READERS", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub mysql_readers: u32,
}

impl MySqlArguments {
    /// The adapter's options for an index.
    ///
    /// # Errors
    /// [`ArgumentError`].
    pub fn options(&self, index: &str) -> Result<MySqlOptions, ArgumentError> {
        let (host, port) = parse_address("--mysql-server", &self.mysql_server)?;
        let database = self.mysql_database.clone().unwrap_or_else(|| index.replace('-', "_"));
        let login = LoginFiles::new(self.mysql_user_file.clone(), self.mysql_password_file.clone());
        Ok(MySqlOptions {
            tls: tls(
                "--mysql",
                self.mysql_tls,
                self.mysql_authorities.as_ref(),
                self.mysql_certificate.as_ref(),
                self.mysql_key.as_ref(),
            )?,
            readers: self.mysql_readers,
            ..MySqlOptions::new(MySqlServer { host, port }, database, login)
        })
    }
}
