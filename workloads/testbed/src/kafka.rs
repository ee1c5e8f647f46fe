//! Kafka: one broker or three, in `KRaft` mode, each broker a controller too.
//!
//! Three brokers keep every topic three times and want two in sync, so that one of them may be killed. A broker keeps its ports and its
//! data over [`Kafka::kill`] and [`Kafka::restart`]. Beside the plain listener there may be one with TLS and SCRAM-SHA-512, and one with
//! mutual TLS.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::java::{jars, java};
use crate::ports::free_port;
use crate::process::{Server, TestbedError, run};

const PATIENCE: Duration = Duration::from_mins(3);
/// Enough for the tests' messages; a broker's memory is mostly outside of the heap.
const HEAP_MIB: u32 = 320;
/// Names the cluster: the same for its brokers, 16 bytes in base64.
const CLUSTER: &str = "bWVkaW5kZXgtdGVzdGJlZA";

/// What the names of the clusters' folders begin with; the id of the process that started them follows.
const FOLDER: &str = "medindex-kafka-";

const LOGGING: &str = "status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %m (%c)%n%throwable
rootLogger.level = INFO
rootLogger.appenderRef.out.ref = out
";

const MOVE_LEADERS: &str = include_str!("../java/MoveLeaders.java");

/// What a cluster is started with.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// Brokers: 1 or 3.
    pub brokers: usize,
    /// Whether there are listeners with TLS and SCRAM, and with mutual TLS.
    pub secured: bool,
}

/// How a client reaches the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// Without any protection.
    Plain,
    /// TLS, and a user with a password (`SASL_SSL`, SCRAM-SHA-512), which is asked for again every three seconds.
    Scram,
    /// TLS with a certificate of the client's.
    MutualTls,
}

impl Listener {
    const ALL: [Self; 3] = [Self::Plain, Self::Scram, Self::MutualTls];

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram => "SCRAM",
            Self::MutualTls => "MUTUAL",
        }
    }

    fn protocol(self) -> &'static str {
        match self {
            Self::Plain => "PLAINTEXT",
            Self::Scram => "SASL_SSL",
            Self::MutualTls => "SSL",
        }
    }
}

#[derive(Debug)]
struct Broker {
    folder: PathBuf,
    controller: u16,
    ports: Vec<(Listener, u16)>,
    server: Option<Server>,
}

/// A running cluster; dropping it kills the brokers and removes their data.
#[derive(Debug)]
pub struct Kafka {
    brokers: Vec<Broker>,
    class_path: String,
    certificates: Option<Certificates>,
    folder: TempDir,
}

impl Kafka {
    /// Starts one broker or three, without protection.
    ///
    /// # Errors
    /// [`TestbedError`] when the jars are missing or a broker does not come up.
    pub fn start(brokers: usize) -> Result<Self, TestbedError> {
        Self::start_with(&KafkaOptions { brokers, secured: false })
    }

    /// Starts a cluster.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn start_with(options: &KafkaOptions) -> Result<Self, TestbedError> {
        let class_path = jars("kafka")?.join("*").display().to_string();
        let prepare = |path: &Path| {
            let path = path.to_owned();
            move |source| TestbedError::Prepare { server: "kafka".to_owned(), path, source }
        };
        sweep();
        let folder = tempfile::Builder::new().prefix(&format!("{FOLDER}{}-", std::process::id())).tempdir();
        let folder = folder.map_err(prepare(&std::env::temp_dir()))?;
        let path = folder.path().join("log4j2.properties");
        fs::write(&path, LOGGING).map_err(prepare(&path))?;
        let certificates =
            options.secured.then(|| Certificates::new(&folder.path().join("certificates"))).transpose()?;
        if let Some(certificates) = &certificates {
            write_keystore(certificates).map_err(prepare(folder.path()))?;
        }
        let listeners = if options.secured { &Listener::ALL[..] } else { &Listener::ALL[..1] };
        let brokers = (1..=options.brokers)
            .map(|number| Broker {
                folder: folder.path().join(format!("broker{number}")),
                controller: free_port(),
                ports: listeners.iter().map(|listener| (*listener, free_port())).collect(),
                server: None,
            })
            .collect();
        let mut kafka = Self { brokers, class_path, certificates, folder };
        for number in 1..=options.brokers {
            let (text, broker) = (kafka.settings(number), &kafka.brokers[number - 1]);
            let data = broker.folder.join("data");
            fs::create_dir_all(&data).map_err(prepare(&data))?;
            let path = broker.folder.join("server.properties");
            fs::write(&path, text).map_err(prepare(&path))?;
            let path = data.join("meta.properties");
            fs::write(&path, identity(number)).map_err(prepare(&path))?;
        }
        kafka.launch_all()?;
        Ok(kafka)
    }

    /// Addresses of the brokers, joined by commas.
    ///
    /// # Panics
    /// When the cluster was started without that listener.
    #[allow(clippy::expect_used)]
    pub fn bootstrap(&self, listener: Listener) -> String {
        let port = |broker: &Broker| {
            let found = broker.ports.iter().find(|(kind, _)| *kind == listener);
            found.expect("the cluster was started without this listener").1
        };
        let addresses: Vec<_> =
            self.brokers.iter().map(|broker| format!("127.0.0.1:{}", port(broker))).collect();
        addresses.join(",")
    }

    /// Certificates of a secured cluster.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// Gives a user of the listener with SCRAM a password, a new user too.
    ///
    /// # Errors
    /// [`TestbedError::Run`] with what Kafka's tool printed.
    pub fn set_password(&self, user: &str, password: &str) -> Result<(), TestbedError> {
        let mut command = java(&self.class_path, 128);
        command.arg(format!("-Dlog4j2.configurationFile={}", self.logging().display()));
        command.args(["kafka.admin.ConfigCommand", "--bootstrap-server", &self.bootstrap(Listener::Plain)]);
        command.args(["--alter", "--entity-type", "users", "--entity-name", user]);
        command.args(["--add-config", &format!("SCRAM-SHA-512=[password={password}]")]);
        run(&mut command).map(drop)
    }

    /// Puts certificates of another authority into the files of a secured cluster; a broker takes them up when it starts again.
    ///
    /// # Errors
    /// [`TestbedError::Certify`], [`TestbedError::Prepare`].
    pub fn renew_certificates(&self) -> Result<(), TestbedError> {
        let Some(certificates) = &self.certificates else { return Ok(()) };
        let folder = self.folder.path().join("certificates-renewed");
        certificates.take_server(&Certificates::new(&folder)?)?;
        write_keystore(certificates).map_err(|source| TestbedError::Prepare {
            server: "kafka".to_owned(),
            path: keystore(certificates),
            source,
        })
    }

    /// Gives every partition another leader, as an administrator does: reassigned to the same brokers in another order, the first of which is
    /// then elected. Returns how many leaders moved.
    ///
    /// # Errors
    /// [`TestbedError::Prepare`], or [`TestbedError::Run`] with what the tool printed.
    pub fn move_leaders(&self) -> Result<usize, TestbedError> {
        let source = self.folder.path().join("MoveLeaders.java");
        fs::write(&source, MOVE_LEADERS).map_err(|error| TestbedError::Prepare {
            server: "kafka".to_owned(),
            path: source.clone(),
            source: error,
        })?;
        let mut command = java(&self.class_path, 128);
        command.arg(format!("-Dlog4j2.configurationFile={}", self.logging().display()));
        // Java compiles a program of one file itself. What the client logs goes to standard output too.
        command.arg(&source).args([&self.bootstrap(Listener::Plain), &PATIENCE.as_secs().to_string()]);
        let text = run(&mut command)?;
        let moved = text.lines().find_map(|line| line.strip_prefix("moved ")?.parse().ok());
        moved.ok_or_else(|| TestbedError::Run {
            command: "moving the leaders of Kafka's partitions".to_owned(),
            status: "it did not say how many moved".to_owned(),
            output: text,
        })
    }

    /// Kills a broker, counted from 1, at once.
    pub fn kill(&mut self, number: usize) {
        if let Some(server) = &mut self.brokers[number - 1].server {
            server.kill();
        }
    }

    /// Starts a broker again, on its ports and with its data.
    ///
    /// # Errors
    /// [`TestbedError`] when it does not come up.
    pub fn restart(&mut self, number: usize) -> Result<(), TestbedError> {
        self.launch(number)?;
        self.await_start(number)
    }

    /// Starts all brokers again, as [`Kafka::restart`] does one: when none is left, one alone finds no majority.
    ///
    /// # Errors
    /// [`TestbedError`] when one does not come up.
    pub fn restart_all(&mut self) -> Result<(), TestbedError> {
        self.launch_all()
    }

    /// Halts a broker: it keeps its connections and answers nothing.
    pub fn pause(&mut self, number: usize) {
        if let Some(server) = &mut self.brokers[number - 1].server {
            server.pause();
        }
    }

    /// Lets a halted broker go on.
    pub fn resume(&mut self, number: usize) {
        if let Some(server) = &mut self.brokers[number - 1].server {
            server.resume();
        }
    }

    fn launch_all(&mut self) -> Result<(), TestbedError> {
        (1..=self.brokers.len()).try_for_each(|number| self.launch(number))?;
        (1..=self.brokers.len()).try_for_each(|number| self.await_start(number))
    }

    fn launch(&mut self, number: usize) -> Result<(), TestbedError> {
        let broker = &self.brokers[number - 1];
        let log = broker.folder.join("server.log");
        if log.exists() {
            // What the last run said must not be taken for what this one says.
            let source = fs::rename(&log, broker.folder.join("server.log.before"));
            source.map_err(|source| TestbedError::Prepare {
                server: "kafka".to_owned(),
                path: log.clone(),
                source,
            })?;
        }
        let command = self.command(&broker.folder);
        let server = Server::start(&format!("kafka broker {number}"), &command, &log)?;
        self.brokers[number - 1].server = Some(server);
        Ok(())
    }

    fn await_start(&mut self, number: usize) -> Result<(), TestbedError> {
        match &mut self.brokers[number - 1].server {
            Some(server) => server.wait_for_log("Kafka Server started", PATIENCE),
            None => Ok(()),
        }
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = java(&self.class_path, HEAP_MIB);
        command.arg(format!("-Dlog4j2.configurationFile={}", self.logging().display()));
        command.arg("kafka.Kafka").arg(folder.join("server.properties"));
        command
    }

    fn logging(&self) -> PathBuf {
        self.folder.path().join("log4j2.properties")
    }

    /// A broker's settings file.
    fn settings(&self, number: usize) -> String {
        let broker = &self.brokers[number - 1];
        let joined = |parts: Vec<String>| parts.join(",");
        let voters =
            (1..).zip(&self.brokers).map(|(id, other)| format!("{id}@127.0.0.1:{}", other.controller));
        let addresses: Vec<_> =
            broker.ports.iter().map(|(kind, port)| format!("{}://127.0.0.1:{port}", kind.name())).collect();
        let protocols = broker.ports.iter().map(|(kind, _)| format!("{}:{}", kind.name(), kind.protocol()));
        let (copies, in_sync) = if self.brokers.len() < 3 { (1, 1) } else { (3, 2) };
        let mut text = format!(
            "process.roles=broker,controller
node.id={number}
controller.quorum.voters={}
listeners={},CONTROLLER://127.0.0.1:{}
advertised.listeners={}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
listener.security.protocol.map=CONTROLLER:PLAINTEXT,{}
log.dirs={}
default.replication.factor={copies}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={copies}
",
            joined(voters.collect()),
            joined(addresses.clone()),
            broker.controller,
            joined(addresses),
            joined(protocols.collect()),
            broker.folder.join("data").display(),
        );
        text.push_str(COMMON);
        if let Some(certificates) = &self.certificates {
            let keystore = keystore(certificates);
            // Writing into a text cannot fail.
            let _ = write!(
                text,
                "ssl.keystore.type=PEM
ssl.keystore.location={}
ssl.truststore.type=PEM
ssl.truststore.location={}
listener.name.mutual.ssl.client.auth=required
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.scram.scram-sha-512.connections.max.reauth.ms=3000
",
                keystore.display(),
                certificates.authority.display(),
            );
        }
        text
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // Nothing of theirs is kept, so they need not end in order, which takes seconds.
        for broker in &mut self.brokers {
            if let Some(server) = &mut broker.server {
                server.kill();
            }
        }
    }
}

/// Settings that all brokers share: small, and quick to notice that one is gone. Topics are never made by asking for them.
const COMMON: &str = "auto.create.topics.enable=false
offsets.topic.num.partitions=3
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
replica.lag.time.max.ms=3000
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=2
log.retention.check.interval.ms=600000
";

/// Removes the folders of processes that ended without dropping their clusters: what a `static` holds is never dropped.
fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some((process, _)) = name.to_str().and_then(|name| name.strip_prefix(FOLDER)?.split_once('-'))
        else {
            continue;
        };
        let is_over = process.parse::<u32>().is_ok() && !Path::new("/proc").join(process).exists();
        if is_over && let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(%error, folder = %entry.path().display(), "a folder left over cannot be removed");
        }
    }
}

/// What makes a folder of data that of a broker; `StorageTool format` writes the same, with a Java process for each.
fn identity(number: usize) -> String {
    // 16 bytes in base64 that no two brokers share.
    format!("version=1\ncluster.id={CLUSTER}\nnode.id={number}\ndirectory.id=bWVkaW5kZXgtYnJva2Vy{number}Q\n")
}

fn keystore(certificates: &Certificates) -> PathBuf {
    certificates.server_key.with_file_name("keystore.pem")
}

/// Kafka wants key and certificate in one file.
fn write_keystore(certificates: &Certificates) -> std::io::Result<()> {
    let key = fs::read_to_string(&certificates.server_key)?;
    let certificate = fs::read_to_string(&certificates.server_certificate)?;
    fs::write(keystore(certificates), format!("{key}{certificate}"))
}
