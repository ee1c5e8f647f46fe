//! `medindex rollback`: goes back to the generation of the index before the present one.

use clap::Args;
use serde::Deserialize;

use super::{Context, from_json};
use crate::failure::Failure;
use crate::service::Service;

/// Go one generation of the index back.
#[derive(Debug, Args)]
pub(crate) struct RollbackArguments {}

#[derive(Deserialize)]
struct View {
    generation: u64,
}

pub(crate) async fn run(context: &Context, _asked: &RollbackArguments) -> Result<(), Failure> {
    let service = Service::open_existing(&context.options).await?;
    let outcome = service.rollback().await;
    let json = service.finish(outcome).await?;
    context.output.result(&json, |json| {
        let view: View = from_json(json)?;
        Ok(format!("generation {} answers searches now\n", view.generation))
    })
}
