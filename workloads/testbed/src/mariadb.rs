//! `MariaDB` servers, each with a data folder of its own.
//!
//! Guarantees: what a server acknowledged is there after [`MariaDb::kill`] and [`MariaDb::restart`] (it syncs
//! at every commit). Several servers run beside one another; a system's own `MariaDB` is neither used nor
//! read (`--no-defaults`). Assumes Debian's package `mariadb-server-core` (`tools/setup.sh mariadb`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::ports::free_port;
use crate::process::{Server, TestbedError, run};
use crate::programs::find;

const PART: &str = "mariadb";
/// How long a server may take to start, with recovery after a kill.
const START_PATIENCE: Duration = Duration::from_mins(2);

/// How a server is to be.
#[derive(Debug, Clone, Default)]
pub struct MariaDbOptions {
    /// Certificates are made and unencrypted connections refused.
    pub tls: bool,
    /// Further arguments of `mariadbd`.
    pub arguments: Vec<String>,
}

/// A server; dropping it stops it and removes its data.
#[derive(Debug)]
pub struct MariaDb {
    folder: TempDir,
    port: u16,
    number: u16,
    options: MariaDbOptions,
    certificates: Option<Certificates>,
    server: Server,
}

impl MariaDb {
    /// Makes a data folder and starts a server on it.
    ///
    /// # Errors
    /// [`TestbedError`]: not set up, or what it said instead of starting.
    pub fn start(options: MariaDbOptions) -> Result<Self, TestbedError> {
        let prepare =
            |source| TestbedError::Prepare { server: PART.to_owned(), path: std::env::temp_dir(), source };
        let folder = tempfile::Builder::new().prefix("mariadb").tempdir().map_err(prepare)?;
        run(Command::new(find(PART, "mariadb-install-db")?)
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg(format!("--datadir={}", folder.path().join("data").display()))
            .args(run_as_root())
            // Several at a time would take each other's temporary tables.
            .env("TMPDIR", folder.path()))?;
        let certificates =
            options.tls.then(|| Certificates::new(&folder.path().join("certificates"))).transpose()?;
        let port = free_port();
        // Ids of replication have to differ; ports do.
        let command = command(folder.path(), port, port, &options, certificates.as_ref())?;
        let server = Server::start(PART, &command, &log(folder.path()))?;
        let mut started = Self { folder, port, number: port, options, certificates, server };
        started.wait_until_it_answers()?;
        Ok(started)
    }

    /// Starts a server that follows this one: it holds all that was written here, a little later.
    ///
    /// # Errors
    /// As [`MariaDb::start`].
    pub fn start_replica(&self) -> Result<Self, TestbedError> {
        let mut options = self.options.clone();
        options.arguments.push("--read-only".to_owned());
        let replica = Self::start(options)?;
        self.admin("GRANT REPLICATION SLAVE ON *.* TO 'replica'@'%' IDENTIFIED BY 'replica'")?;
        let tls = if self.options.tls { ", MASTER_SSL = 1, MASTER_SSL_VERIFY_SERVER_CERT = 0" } else { "" };
        replica.admin(&format!(
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'replica', \
             MASTER_PASSWORD = 'replica', MASTER_USE_GTID = slave_pos{tls}; START SLAVE",
            self.port
        ))?;
        Ok(replica)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificates, with [`MariaDbOptions::tls`].
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// Makes an empty database with a collation.
    ///
    /// # Errors
    /// [`TestbedError::Run`].
    pub fn create_database(&self, name: &str, collation: &str) -> Result<(), TestbedError> {
        self.admin(&format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE {collation}")).map(drop)
    }

    /// Makes a user who may do everything in databases whose names begin with `medindex`, or gives the user
    /// another password.
    ///
    /// # Errors
    /// [`TestbedError::Run`].
    pub fn set_user(&self, user: &str, password: &str) -> Result<(), TestbedError> {
        self.admin(&format!(
            "CREATE USER IF NOT EXISTS '{user}'@'%'; SET PASSWORD FOR '{user}'@'%' = PASSWORD('{password}'); \
             GRANT ALL ON `medindex%`.* TO '{user}'@'%'"
        ))
        .map(drop)
    }

    /// Gives it certificates of another authority, in the files that there are, and ends the connections of `user`.
    ///
    /// # Errors
    /// [`TestbedError::Run`], [`TestbedError::Certify`], [`TestbedError::Prepare`].
    pub fn renew_certificates(&self, user: &str) -> Result<(), TestbedError> {
        if let Some(certificates) = &self.certificates {
            certificates
                .take_server(&Certificates::new(&self.folder.path().join("certificates-renewed"))?)?;
            self.admin("FLUSH SSL")?;
        }
        self.admin(&format!("KILL USER '{user}'@'%'")).map(drop)
    }

    /// Runs statements as the administrator; returns the rows, columns parted by tabs.
    ///
    /// # Errors
    /// [`TestbedError::Run`] with the server's message.
    pub fn admin(&self, statements: &str) -> Result<String, TestbedError> {
        admin(self.folder.path(), statements)
    }

    /// Kills it at once, as a machine that loses power does (but for what its disk holds).
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Ends it in order.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Starts it again on its data and port.
    ///
    /// # Errors
    /// As [`MariaDb::start`].
    pub fn restart(&mut self) -> Result<(), TestbedError> {
        self.server.stop();
        let folder = self.folder.path();
        let command = command(folder, self.port, self.number, &self.options, self.certificates.as_ref())?;
        self.server = Server::start(PART, &command, &log(folder))?;
        self.wait_until_it_answers()
    }

    /// Halts it: its connections stay and nothing answers.
    pub fn pause(&mut self) {
        self.server.pause();
    }

    /// Lets it go on.
    pub fn resume(&mut self) {
        self.server.resume();
    }

    fn wait_until_it_answers(&mut self) -> Result<(), TestbedError> {
        let folder = self.folder.path();
        self.server.wait_until("waiting for an answer", START_PATIENCE, |_| admin(folder, "SELECT 1").is_ok())
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("log")
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("socket")
}

fn admin(folder: &Path, statements: &str) -> Result<String, TestbedError> {
    run(Command::new(find(PART, "mariadb")?)
        .args(["--no-defaults", "--batch", "--skip-column-names", "--user=root"])
        .arg(format!("--socket={}", socket(folder).display()))
        .args(["--execute", statements]))
}

/// The server refuses to run as root unless it is told to.
fn run_as_root() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("--user=root")
}

fn command(
    folder: &Path,
    port: u16,
    number: u16,
    options: &MariaDbOptions,
    certificates: Option<&Certificates>,
) -> Result<Command, TestbedError> {
    let mut command = Command::new(find(PART, "mariadbd")?);
    command
        .args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve"])
        .args(run_as_root())
        .arg(format!("--datadir={}", folder.join("data").display()))
        .arg(format!("--socket={}", socket(folder).display()))
        .arg(format!("--pid-file={}", folder.join("pid").display()))
        .arg(format!("--port={port}"))
        .args(["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M", "--key-buffer-size=1M"])
        .args(["--performance-schema=OFF", "--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1"])
        .args(["--log-bin=binlog", "--binlog-format=ROW"])
        .arg(format!("--server-id={number}"));
    if let Some(certificates) = certificates {
        command
            .arg("--require-secure-transport=ON")
            .arg(format!("--ssl-ca={}", certificates.authority.display()))
            .arg(format!("--ssl-cert={}", certificates.server_certificate.display()))
            .arg(format!("--ssl-key={}", certificates.server_key.display()));
    }
    command.args(&options.arguments);
    Ok(command)
}
