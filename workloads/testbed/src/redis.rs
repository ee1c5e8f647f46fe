//! Redis servers in the three ways that a cache runs: alone, watched by Sentinels, as a cluster.
//!
//! Nothing is kept on disk (no append-only file, no snapshots): a server that is started again is empty, as a
//! cache may be. Assumes Debian's package `redis-tools` (`tools/setup.sh redis`); a system's own Redis is
//! neither used nor read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::ports::free_port;
use crate::process::{Server, TestbedError, run};
use crate::programs::find;

const PART: &str = "redis";
const START_PATIENCE: Duration = Duration::from_mins(1);
/// Name of the primary that the Sentinels watch.
pub const SENTINEL_SERVICE: &str = "medindex";
/// User that the servers know, with [`RedisOptions::password`].
pub const USER: &str = "medindex";
/// Servers of a cluster: three primaries, each with a replica.
const CLUSTER_SERVERS: usize = 6;

/// How the servers are to be.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    /// Certificates are made and unencrypted connections refused.
    pub tls: bool,
    /// Password of [`USER`]; nobody else may do anything. `None`: anybody may do everything.
    pub password: Option<String>,
}

/// One process.
#[derive(Debug)]
struct Node {
    port: u16,
    configuration: PathBuf,
    log: PathBuf,
    sentinel: bool,
    server: Server,
}

/// Servers, and Sentinels if they watch them; dropping it stops them all.
#[derive(Debug)]
pub struct Redis {
    folder: TempDir,
    options: RedisOptions,
    certificates: Option<Certificates>,
    nodes: Vec<Node>,
    sentinels: Vec<Node>,
}

impl Redis {
    /// One server.
    ///
    /// # Errors
    /// [`TestbedError`]: not set up, or what it said instead of starting.
    pub fn standalone(options: RedisOptions) -> Result<Self, TestbedError> {
        let mut redis = Self::prepare(options)?;
        redis.start_node("")?;
        Ok(redis)
    }

    /// A primary (number 0), two replicas and three Sentinels, which choose another primary about 2 s after
    /// it stops answering.
    ///
    /// # Errors
    /// As [`Redis::standalone`].
    pub fn sentinel(options: RedisOptions) -> Result<Self, TestbedError> {
        let mut redis = Self::prepare(options)?;
        redis.start_node("")?;
        let primary = redis.nodes[0].port;
        for _ in 0..2 {
            redis.start_node(&format!("replicaof 127.0.0.1 {primary}\n"))?;
        }
        redis.wait("the replicas follow the primary", |redis| {
            redis.command(0, &["INFO", "replication"]).is_ok_and(|text| text.contains("connected_slaves:2"))
        })?;
        for _ in 0..3 {
            redis.start_sentinel(primary)?;
        }
        redis.wait("the Sentinels know one another and the replicas", |redis| {
            redis.sentinels.iter().all(|sentinel| {
                let text = redis.command_on(sentinel.port, &["SENTINEL", "MASTER", SENTINEL_SERVICE]);
                text.is_ok_and(|text| {
                    has_field(&text, "num-other-sentinels", "2") && has_field(&text, "num-slaves", "2")
                })
            })
        })?;
        Ok(redis)
    }

    /// A cluster of three primaries with a replica each; a primary that stops answering is replaced after
    /// about 2 s.
    ///
    /// # Errors
    /// As [`Redis::standalone`].
    pub fn cluster(options: RedisOptions) -> Result<Self, TestbedError> {
        let mut redis = Self::prepare(options)?;
        for number in 0..CLUSTER_SERVERS {
            let bus = free_port();
            redis.start_node(&format!(
                "cluster-enabled yes\ncluster-config-file nodes{number}.conf\ncluster-node-timeout 2000\n\
                 cluster-port {bus}\ncluster-replica-validity-factor 0\n"
            ))?;
        }
        let addresses: Vec<String> =
            redis.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let mut create = redis.client(redis.nodes[0].port)?;
        create.args(["--cluster", "create"]).args(&addresses).args([
            "--cluster-replicas",
            "1",
            "--cluster-yes",
        ]);
        run(&mut create)?;
        redis.wait("every server sees the whole cluster", |redis| {
            (0..redis.nodes.len()).all(|number| {
                redis.command(number, &["CLUSTER", "INFO"]).is_ok_and(|text| {
                    text.contains("cluster_state:ok") && text.contains("cluster_known_nodes:6")
                })
            })
        })?;
        Ok(redis)
    }

    fn prepare(options: RedisOptions) -> Result<Self, TestbedError> {
        let prepare =
            |source| TestbedError::Prepare { server: PART.to_owned(), path: std::env::temp_dir(), source };
        let folder = tempfile::Builder::new().prefix(PART).tempdir().map_err(prepare)?;
        let certificates =
            options.tls.then(|| Certificates::new(&folder.path().join("certificates"))).transpose()?;
        Ok(Self { folder, options, certificates, nodes: Vec::new(), sentinels: Vec::new() })
    }

    /// Servers (not Sentinels): their number.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none, which never is so.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Ports of the servers on 127.0.0.1.
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.port).collect()
    }

    /// Ports of the Sentinels on 127.0.0.1.
    pub fn sentinel_ports(&self) -> Vec<u16> {
        self.sentinels.iter().map(|node| node.port).collect()
    }

    /// The certificates, with [`RedisOptions::tls`].
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// Kills a server at once.
    pub fn kill(&mut self, number: usize) {
        self.nodes[number].server.kill();
    }

    /// Halts a server: its connections stay and nothing answers.
    pub fn pause(&mut self, number: usize) {
        self.nodes[number].server.pause();
    }

    /// Lets a halted server go on.
    pub fn resume(&mut self, number: usize) {
        self.nodes[number].server.resume();
    }

    /// Starts a server again, empty, on its port.
    ///
    /// # Errors
    /// As [`Redis::standalone`].
    pub fn restart(&mut self, number: usize) -> Result<(), TestbedError> {
        let node = &mut self.nodes[number];
        node.server.stop();
        node.server = Server::start(PART, &command(&node.configuration, node.sentinel)?, &node.log)?;
        node.server.wait_for_port(node.port, START_PATIENCE)
    }

    /// Runs a command on a server, as its administrator; returns what `redis-cli` prints.
    ///
    /// # Errors
    /// [`TestbedError::Run`]; also for an error that the server answers.
    pub fn command(&self, number: usize, words: &[&str]) -> Result<String, TestbedError> {
        self.command_on(self.nodes[number].port, words)
    }

    /// Number of the server that the Sentinels call the primary.
    ///
    /// # Errors
    /// [`TestbedError::Run`] when no Sentinel answers.
    pub fn primary(&self) -> Result<Option<usize>, TestbedError> {
        let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SENTINEL_SERVICE];
        let text = self.command_on(self.sentinels[0].port, &words)?;
        let port = text.lines().nth(1).and_then(|line| line.trim().parse().ok());
        Ok(self.nodes.iter().position(|node| Some(node.port) == port))
    }

    /// Gives the user another password on every server. Connections that there are stay.
    ///
    /// # Errors
    /// [`TestbedError::Run`].
    pub fn set_password(&mut self, password: &str) -> Result<(), TestbedError> {
        for number in 0..self.nodes.len() {
            let secret = format!(">{password}");
            self.command(number, &["ACL", "SETUSER", USER, "resetpass", &secret])?;
        }
        self.options.password = Some(password.to_owned());
        Ok(())
    }

    /// Gives every server certificates of another authority, and ends the connections of clients.
    ///
    /// # Errors
    /// [`TestbedError::Run`] of a server without TLS too, [`TestbedError::Certify`], [`TestbedError::Prepare`].
    pub fn renew_certificates(&mut self) -> Result<(), TestbedError> {
        let renewed = Certificates::new(&self.folder.path().join("certificates-renewed"))?;
        let [authority, certificate, key] =
            [&renewed.authority, &renewed.server_certificate, &renewed.server_key]
                .map(|file| file.display().to_string());
        let settings = ["tls-ca-cert-file", &authority, "tls-cert-file", &certificate, "tls-key-file", &key];
        let set = [&["CONFIG", "SET"], &settings[..]].concat();
        (0..self.nodes.len()).try_for_each(|number| self.command(number, &set).map(drop))?;
        self.certificates = Some(renewed);
        let kill = ["CLIENT", "KILL", "TYPE", "normal"];
        (0..self.nodes.len()).try_for_each(|number| self.command(number, &kill).map(drop))
    }

    fn command_on(&self, port: u16, words: &[&str]) -> Result<String, TestbedError> {
        run(self.client(port)?.arg("-e").args(words))
    }

    fn client(&self, port: u16) -> Result<Command, TestbedError> {
        // A server that hangs must not keep the test.
        let mut client = Command::new("timeout");
        client.arg("60").arg(find(PART, "redis-cli")?);
        client.args(["-h", "127.0.0.1", "--no-auth-warning", "-p", &port.to_string()]);
        if let Some(password) = &self.options.password {
            client.args(["--user", USER, "--pass", password]);
        }
        if let Some(certificates) = &self.certificates {
            client.arg("--tls").arg("--cacert").arg(&certificates.authority);
        }
        Ok(client)
    }

    fn start_node(&mut self, more: &str) -> Result<(), TestbedError> {
        let (port, number) = (free_port(), self.nodes.len());
        let text = self.settings(port) + more;
        let node = self.start_process(&format!("server{number}"), port, &text, false)?;
        self.nodes.push(node);
        Ok(())
    }

    fn start_sentinel(&mut self, primary: u16) -> Result<(), TestbedError> {
        let (port, number) = (free_port(), self.sentinels.len());
        let mut text = self.settings(port);
        let service = SENTINEL_SERVICE;
        let mut lines = vec![
            format!("sentinel monitor {service} 127.0.0.1 {primary} 2"),
            format!("sentinel down-after-milliseconds {service} 1500"),
            format!("sentinel failover-timeout {service} 3000"),
        ];
        if let Some(password) = &self.options.password {
            lines.push(format!("sentinel auth-user {service} {USER}"));
            lines.push(format!("sentinel auth-pass {service} {password}"));
            lines.push(format!("sentinel sentinel-user {USER}"));
            lines.push(format!("sentinel sentinel-pass {password}"));
        }
        text += &(lines.join("\n") + "\n");
        let node = self.start_process(&format!("sentinel{number}"), port, &text, true)?;
        self.sentinels.push(node);
        Ok(())
    }

    fn start_process(
        &self,
        name: &str,
        port: u16,
        settings: &str,
        sentinel: bool,
    ) -> Result<Node, TestbedError> {
        let configuration = self.folder.path().join(format!("{name}.conf"));
        let log = self.folder.path().join(format!("{name}.log"));
        fs::write(&configuration, settings).map_err(|source| TestbedError::Prepare {
            server: PART.to_owned(),
            path: configuration.clone(),
            source,
        })?;
        let mut server = Server::start(PART, &command(&configuration, sentinel)?, &log)?;
        server.wait_for_port(port, START_PATIENCE)?;
        Ok(Node { port, configuration, log, sentinel, server })
    }

    /// Settings that servers and Sentinels share.
    fn settings(&self, port: u16) -> String {
        let mut lines = vec![
            "bind 127.0.0.1\ndaemonize no".to_owned(),
            format!("dir {}", self.folder.path().display()),
            "save \"\"\nappendonly no\nrepl-diskless-sync-delay 0".to_owned(),
            "maxmemory 128mb\nmaxmemory-policy allkeys-lru".to_owned(),
        ];
        if let Some(password) = &self.options.password {
            lines.push(format!("user default off\nuser {USER} on >{password} ~* &* +@all"));
            lines.push(format!("masteruser {USER}\nmasterauth {password}"));
        }
        if let Some(certificates) = &self.certificates {
            lines.push(format!("port 0\ntls-port {port}\ntls-auth-clients optional"));
            lines.push("tls-replication yes\ntls-cluster yes".to_owned());
            lines.push(format!("tls-ca-cert-file {}", certificates.authority.display()));
            lines.push(format!("tls-cert-file {}", certificates.server_certificate.display()));
            lines.push(format!("tls-key-file {}", certificates.server_key.display()));
        } else {
            lines.push(format!("port {port}"));
        }
        lines.join("\n") + "\n"
    }

    fn wait(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) -> Result<(), TestbedError> {
        let deadline = std::time::Instant::now() + START_PATIENCE;
        while !done(self) {
            if std::time::Instant::now() > deadline {
                let log = self.nodes.iter().chain(&self.sentinels).map(|node| node.server.log_end());
                return Err(TestbedError::Wait {
                    server: PART.to_owned(),
                    waiting: format!("waiting until {what}"),
                    patience: START_PATIENCE,
                    log: log.collect::<Vec<_>>().join("\n"),
                });
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// Whether a field of a reply has a value: `redis-cli` prints name and value on lines of their own.
fn has_field(text: &str, name: &str, value: &str) -> bool {
    let mut lines = text.lines().skip_while(|line| *line != name);
    lines.nth(1) == Some(value)
}

fn command(configuration: &Path, sentinel: bool) -> Result<Command, TestbedError> {
    let mut command = Command::new(find(PART, "redis-server")?);
    command.arg(configuration);
    if sentinel {
        command.arg("--sentinel");
    }
    Ok(command)
}
