//! `medindex recognise`: what an image looks like to the model and to its neighbours.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use medindex_pipeline::Recognition;

use super::{Context, from_json};
use crate::failure::Failure;
use crate::service::Service;

/// Recognise an image: the model's classes, and the labels of its nearest neighbours. Not for diagnosis.
#[derive(Debug, Args)]
pub(crate) struct RecogniseArguments {
    /// An image file.
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
}

pub(crate) async fn run(context: &Context, asked: &RecogniseArguments) -> Result<(), Failure> {
    let service = Service::open_existing(&context.options).await?;
    let outcome = service.recognise(asked.image.clone()).await;
    let json = service.finish(outcome).await?;
    context.output.result(&json, render)
}

fn render(json: &str) -> Result<String, Failure> {
    let answer: Recognition = from_json(json)?;
    let mut text = format!("model {} (for research and teaching, not for diagnosis)\n", answer.model);
    let parts = [
        ("classes of the model", &answer.classes, "the model has none"),
        ("labels of the nearest images", &answer.vote, "no labelled images are near"),
    ];
    for (heading, scores, none) in parts {
        let _ = writeln!(text, "\n{heading}");
        if scores.is_empty() {
            let _ = writeln!(text, "  {none}");
        }
        for score in scores {
            let _ = writeln!(text, "  {:>5.1} %  {}", score.probability * 100.0, score.label);
        }
    }
    Ok(text)
}
