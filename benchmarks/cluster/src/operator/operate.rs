//! The operator over backends in memory: the process that `operator` measures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use medindex_operator::external::ExternalError;
use medindex_operator::external::simulated::SimulatedBackends;
use medindex_operator::external::told::{Observer, Told};
use medindex_operator::program::arguments::{Arguments, Command};
use medindex_operator::program::run;

use crate::error::BenchError;

/// Arguments of `operate`.
#[derive(Debug, clap::Args)]
pub(crate) struct OperateArguments {
    /// How long a call to a backend takes, milliseconds.
    #[arg(long)]
    backend_ms: u64,
    /// Address of the operator's metrics.
    #[arg(long)]
    operation_listen: SocketAddr,
}

/// Every call takes some time, as one over a network does.
struct Slowed(Duration);

impl Observer for Slowed {
    async fn around<T: Send>(
        &self,
        _call: &'static str,
        work: impl Future<Output = Result<T, ExternalError>> + Send,
    ) -> Result<T, ExternalError> {
        tokio::time::sleep(self.0).await;
        work.await
    }
}

/// Runs the operator with its own defaults until it is stopped.
pub(crate) async fn operate(arguments: OperateArguments) -> Result<(), BenchError> {
    let listen = format!("--operation-listen={}", arguments.operation_listen);
    let settings = ["medindex-operator", "run", &listen, "--identity=bench", "--log=warn"];
    let parsed = Arguments::try_parse_from(settings).map_err(|error| BenchError::Check(error.to_string()))?;
    let Command::Run(settings) = parsed.command else {
        return Err(BenchError::Check("the operator was not told to run".to_owned()));
    };
    let log = medindex_logging::start(settings.log_options())?;
    let observer = Slowed(Duration::from_millis(arguments.backend_ms));
    let backends = Arc::new(Told { backends: Arc::new(SimulatedBackends::default()), observer });
    Ok(run(settings, log.level(), backends).await?)
}
