//! Gateways, embedders and search shards as processes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use medindex_embedding::{find_model, models_folder};
use medindex_testbed::Server;
use medindex_testbed::hbase::ThriftServers;
use medindex_testbed::ports::free_port;
use tempfile::TempDir;

use crate::client::Client;
use crate::servers::Servers;

/// How long a program may take until it is ready.
const READY_WITHIN: Duration = Duration::from_mins(2);
/// When Kubernetes kills a program that it has asked to end.
const ENDED_WITHIN: Duration = Duration::from_secs(30);

/// How many processes of each kind.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Gateways.
    pub gateways: usize,
    /// Embedders.
    pub embedders: usize,
    /// Search shards.
    pub shards: usize,
    /// Replicas of each shard.
    pub replicas: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { gateways: 1, embedders: 2, shards: 3, replicas: 2 }
    }
}

/// One process of a program, which can be killed and started again on the same ports and folder.
pub struct Process {
    /// Name for messages, such as `search-4`.
    pub name: String,
    program: &'static str,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Port of the service.
    pub port: u16,
    /// Port of probes and metrics.
    pub operation_port: u16,
    log: PathBuf,
    server: Option<Server>,
}

impl Process {
    /// Starts it.
    pub fn start(&mut self) {
        let mut command = Command::new(program(self.program));
        command.args(&self.arguments).envs(self.environment.iter().cloned());
        self.server = Some(Server::start(&self.name, &command, &self.log).unwrap());
    }

    /// Kills it at once (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(server) = &mut self.server {
            server.kill();
        }
    }

    /// Sets arguments (`--flag=value`) for the next start, in place of those of the same flags.
    pub fn set(&mut self, arguments: &[String]) {
        for argument in arguments {
            let flag = argument.split('=').next().unwrap_or_default();
            self.arguments.retain(|other| other.split('=').next() != Some(flag));
            self.arguments.push(argument.clone());
        }
    }

    /// Shifts its wall clock by some seconds from the next start on.
    pub fn shift_clock(&mut self, seconds: i64) {
        let folder = self.log.parent().expect("logs lie in a folder");
        self.environment = medindex_testbed::clock::shifted_by(seconds, folder).unwrap().to_vec();
    }

    /// Asks it to end (SIGTERM), which it has to do by itself, in the time that Kubernetes gives, and with exit status 0; returns how long it took.
    pub fn stop(&mut self) -> Duration {
        let asked = Instant::now();
        let server = self.server.as_mut().expect("it was not started");
        let status = server.end(ENDED_WITHIN);
        let took = asked.elapsed();
        assert!(
            status.is_some_and(|status| status.success()),
            "{}: {} after {took:?}; the end of its log:\n{}",
            self.name,
            status.map_or_else(|| "still running".to_owned(), |status| status.to_string()),
            server.log_end()
        );
        took
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.server.as_mut().is_some_and(Server::is_running)
    }

    /// Whether its probe says that it is ready.
    pub fn is_ready(&self) -> bool {
        ureq::get(format!("http://127.0.0.1:{}/readyz", self.operation_port)).call().is_ok()
    }

    /// What its probe says; `None` while it does not answer.
    pub fn readiness(&self) -> Option<String> {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let address = format!("http://127.0.0.1:{}/readyz", self.operation_port);
        agent.get(address).call().ok()?.body_mut().read_to_string().ok()
    }

    /// Waits until it is ready.
    pub fn wait_until_ready(&mut self) {
        let address = format!("http://127.0.0.1:{}/readyz", self.operation_port);
        let server = self.server.as_mut().expect("it was not started");
        server
            .wait_until("waiting to be ready", READY_WITHIN, |_| ureq::get(&address).call().is_ok())
            .unwrap();
    }

    /// Its whole log.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// What `/metrics` says.
    pub fn metrics(&self) -> String {
        let address = format!("http://127.0.0.1:{}/metrics", self.operation_port);
        ureq::get(&address).call().unwrap().body_mut().read_to_string().unwrap()
    }
}

/// The programs of an index.
pub struct Cluster {
    /// Gateways.
    pub gateways: Vec<Process>,
    /// Embedders.
    pub embedders: Vec<Process>,
    /// Search shards, by ordinal.
    pub shards: Vec<Process>,
    common: Vec<String>,
    folder: TempDir,
}

impl Cluster {
    /// Starts the programs over `servers` and waits until all are ready.
    pub fn start<H: ThriftServers + Send + 'static>(servers: &Servers<H>, shape: Shape) -> Self {
        Self::start_with(servers, shape, Vec::new())
    }

    /// As [`Self::start`], with further arguments for all of them.
    pub fn start_with<H: ThriftServers + Send + 'static>(
        servers: &Servers<H>,
        shape: Shape,
        more: Vec<String>,
    ) -> Self {
        let mut cluster = Self::describe_with(servers, shape, more);
        for process in cluster.processes() {
            process.start();
        }
        for process in cluster.processes() {
            process.wait_until_ready();
        }
        cluster
    }

    /// The programs, none of them started.
    pub fn describe<H: ThriftServers + Send + 'static>(servers: &Servers<H>, shape: Shape) -> Self {
        Self::describe_with(servers, shape, Vec::new())
    }

    /// As [`Self::describe`], with further arguments for all of them.
    pub fn describe_with<H: ThriftServers + Send + 'static>(
        servers: &Servers<H>,
        shape: Shape,
        more: Vec<String>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut common = servers.arguments();
        // Who has which partitions of Kafka is told at debug.
        common.push("--log=info,medindex_backends::kafka=debug".to_owned());
        common.extend(more);
        let (gateways, embedders, shards) = (Vec::new(), Vec::new(), Vec::new());
        let mut cluster = Self { gateways, embedders, shards, common, folder };
        for number in 0..shape.embedders {
            cluster.add_embedder(number);
        }
        for ordinal in 0..shape.shards * shape.replicas {
            cluster.add_shard(ordinal, shape.shards);
        }
        for number in 0..shape.gateways {
            cluster.add_gateway(number);
        }
        cluster
    }

    fn process(&self, kind: &str, number: usize, program: &'static str, more: Vec<String>) -> Process {
        let name = format!("{kind}-{number}");
        let (port, operation_port) = (free_port(), free_port());
        let mut arguments = self.common.clone();
        arguments.push(format!("--listen=127.0.0.1:{port}"));
        arguments.push(format!("--operation-listen=127.0.0.1:{operation_port}"));
        arguments.extend(more);
        let log = self.folder.path().join(format!("{name}.log"));
        let environment = Vec::new();
        Process { name, program, arguments, environment, port, operation_port, log, server: None }
    }

    fn add_embedder(&mut self, number: usize) {
        let more = vec![model_folder(), "--threads=1".to_owned()];
        let process = self.process("embedder", number, "medindex-embedder", more);
        self.embedders.push(process);
    }

    /// Adds a search process; it is not started.
    pub fn add_shard(&mut self, ordinal: usize, shards: usize) {
        let data = self.folder.path().join(format!("search-{ordinal}-of-{shards}"));
        let more = vec![
            format!("--data={}", data.display()),
            format!("--shards={shards}"),
            format!("--ordinal=search-{ordinal}"),
            "--publish-seconds=2".to_owned(),
        ];
        let process = self.process("search", ordinal, "medindex-search", more);
        self.shards.push(process);
    }

    /// Adds a gateway that knows the embedders and shards there are; it is not started.
    pub fn add_gateway(&mut self, number: usize) {
        let addresses = |processes: &[Process]| {
            let addresses = processes.iter().map(|process| format!("127.0.0.1:{}", process.port));
            addresses.collect::<Vec<_>>().join(",")
        };
        let more = vec![
            format!("--search={}", addresses(&self.shards)),
            format!("--embedders={}", addresses(&self.embedders)),
            "--resend-seconds=5".to_owned(),
        ];
        let process = self.process("gateway", number, "medindex-gateway", more);
        self.gateways.push(process);
    }

    /// All processes, in the order to start them.
    pub fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        self.embedders.iter_mut().chain(&mut self.shards).chain(&mut self.gateways)
    }

    /// A client of a gateway.
    pub fn client(&self, gateway: usize) -> Client {
        Client::new(self.gateways[gateway].port)
    }

    /// The importer with `more` arguments, not started, and the port of its probes and metrics.
    pub fn importer(&self, more: &[String]) -> (Command, u16) {
        let port = free_port();
        let mut command = Command::new(program("medindex-importer"));
        command.args(&self.common).arg(format!("--operation-listen=127.0.0.1:{port}"));
        command.args([model_folder(), "--threads=1".to_owned()]).args(more);
        (command, port)
    }

    /// Runs a training to its end; returns the report.
    pub fn train(&self) -> serde_json::Value {
        fs::create_dir_all(self.folder.path().join("sample")).unwrap();
        let mut command = Command::new(program("medindex-trainer"));
        command.args(&self.common).arg(format!("--operation-listen=127.0.0.1:{}", free_port()));
        command.arg(format!("--scratch={}", self.folder.path().join("sample").display()));
        let output = medindex_testbed::process::run(&mut command).unwrap();
        serde_json::from_str(&output).unwrap()
    }
}

/// The argument that names the model's folder.
fn model_folder() -> String {
    let model = find_model(&models_folder().unwrap(), "efficientnet-lite0");
    format!("--model-folder={}", model.expect("no model: run `make setup`").display())
}

/// A program of ours, out of the folder that `MEDINDEX_PROGRAMS` names (`images/test.sh` has the images' there), else where cargo puts it,
/// beside the folder of the tests.
pub fn program(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("MEDINDEX_PROGRAMS").filter(|folder| !folder.is_empty()) {
        let program = PathBuf::from(folder).join(name);
        assert!(program.is_file(), "MEDINDEX_PROGRAMS: {} is not there", program.display());
        return program;
    }
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().find(|folder| folder.join(name).is_file());
    let hint = "build the programs first: `make test` does, or `cargo test --release --workspace --no-run`";
    folder.unwrap_or_else(|| panic!("{name} is not there; {hint}")).join(name)
}
