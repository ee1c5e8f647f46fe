//! The operator over many resources: how long a reconcile takes, what memory it needs, what it asks of the API server.
//!
//! The API server and etcd are real; Kafka, HBase and the gateways are in memory and answer after a fixed time ([`operate`]); pods get ready because
//! this program says so ([`kubelet`]). The operator is the program that runs in a cluster, in a process of its own: its figures are those of its
//! `/metrics` and of `/proc`.

mod figures;
mod fleet;
mod kubelet;
mod operate;
mod report;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use kube::Client;
use medindex_testbed::Server;
use medindex_testbed::ports::free_port;
use serde::Serialize;

use self::figures::{Reading, Span};
use self::fleet::Fleet;
pub(crate) use self::operate::{OperateArguments, operate};
use crate::error::BenchError;
use crate::machine::Machine;

/// Everything is looked at again within this: the operator's period and its jitter.
const ROUND: Duration = Duration::from_secs(48);
const STARTED_WITHIN: Duration = Duration::from_mins(1);

/// Arguments of `operator`. Which API server is asked, KUBECONFIG says.
#[derive(Debug, clap::Args)]
pub(crate) struct OperatorArguments {
    /// Resources.
    #[arg(long, default_value_t = 1_000)]
    resources: usize,
    /// Namespaces that they are in.
    #[arg(long, default_value_t = 20)]
    namespaces: usize,
    /// Rounds without a change that are measured.
    #[arg(long, default_value_t = 4)]
    rounds: u32,
    /// How long a call to a backend takes, milliseconds.
    #[arg(long, default_value_t = 5)]
    backend_ms: u64,
    /// Folder for the operator's log.
    #[arg(long)]
    scratch: PathBuf,
    /// Folder for the results.
    #[arg(long)]
    out: PathBuf,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Figures {
    machine: Machine,
    resources: usize,
    objects: usize,
    backend_ms: u64,
    phases: Vec<Phase>,
}

/// The figures of a part of the run.
#[derive(Debug, Serialize)]
struct Phase {
    name: &'static str,
    /// Seconds that it took.
    seconds: f64,
    #[serde(flatten)]
    span: Span,
}

/// Measures and writes the results.
pub(crate) async fn run(arguments: OperatorArguments) -> Result<(), BenchError> {
    let machine = Machine::describe();
    let client = Client::try_default().await?;
    let fleet = Fleet::new(client.clone(), arguments.resources, arguments.namespaces);
    fleet.prepare().await?;
    let port = free_port();
    let operator = start_operator(&arguments, port)?;
    let mut reading = first_reading(&operator, port).await?;
    tokio::spawn(kubelet::run(client));
    let mut phases = Vec::new();
    let mut end_phase = async |name, since: Instant| {
        let seconds = since.elapsed().as_secs_f64();
        let now = Reading::take(port, operator.pid())?;
        let span = Span::between(&reading, &now);
        eprintln!("{name}: {seconds:.1} s, {} reconciles, p99 {:.0} ms", span.reconciles, span.p99_ms);
        reading = now;
        phases.push(Phase { name, seconds, span });
        Ok::<_, BenchError>(())
    };

    let since = Instant::now();
    fleet.create().await?;
    fleet.wait_until_ready(1).await?;
    end_phase("all made", since).await?;
    // What the last ones still bring about is no part of the quiet rounds.
    let since = Instant::now();
    tokio::time::sleep(ROUND).await;
    end_phase("settling", since).await?;
    let since = Instant::now();
    tokio::time::sleep(ROUND * arguments.rounds).await;
    end_phase("nothing changes", since).await?;
    let since = Instant::now();
    fleet.scale_gateways(3).await?;
    fleet.wait_until_ready(2).await?;
    end_phase("all changed", since).await?;
    let objects = fleet.count_objects().await?;
    drop(operator);
    let figures = Figures {
        machine,
        resources: arguments.resources,
        objects,
        backend_ms: arguments.backend_ms,
        phases,
    };
    report::write(&figures, &arguments.out)
}

fn start_operator(arguments: &OperatorArguments, port: u16) -> Result<Server, BenchError> {
    let program = std::env::current_exe().map_err(BenchError::file("find", "this program"))?;
    let mut command = Command::new(&program);
    command.arg("operate").arg(format!("--backend-ms={}", arguments.backend_ms));
    command.arg(format!("--operation-listen=127.0.0.1:{port}"));
    Ok(Server::start("operator", &command, &arguments.scratch.join("operator.log"))?)
}

async fn first_reading(operator: &Server, port: u16) -> Result<Reading, BenchError> {
    let deadline = Instant::now() + STARTED_WITHIN;
    loop {
        match Reading::take(port, operator.pid()) {
            Ok(reading) => return Ok(reading),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
