//! `medindex train`: learns a new generation of the index from what is stored.

use clap::Args;
use medindex_pipeline::TrainingReport;

use super::{Context, from_json};
use crate::failure::Failure;
use crate::service::Service;

/// Train a new generation of the index now; it also trains itself as images come.
#[derive(Debug, Args)]
pub(crate) struct TrainArguments {}

pub(crate) async fn run(context: &Context, _asked: &TrainArguments) -> Result<(), Failure> {
    let service = Service::open_existing(&context.options).await?;
    let outcome = service.train().await;
    let json = service.finish(outcome).await?;
    context.output.result(&json, render)
}

fn render(json: &str) -> Result<String, Failure> {
    let report: TrainingReport = from_json(json)?;
    let verdict =
        if report.accepted { "it answers searches now" } else { "refused, the generation before stays" };
    Ok(format!(
        "generation {}: {verdict}\nrecall@10 {:.3} on held-out queries (at least {:.3} wanted)\n{} vectors in {} lists, codes of {} bytes, learned from {} in {:.1} s\n",
        report.generation,
        report.recall_at_10,
        report.recall_gate,
        report.vectors,
        report.lists,
        report.code_bytes,
        report.sample,
        report.seconds,
    ))
}
