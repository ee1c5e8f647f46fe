//! `medindex status`: how the data folder or the server stands.

use std::fmt::Write as _;

use clap::Args;
use serde::Deserialize;

use super::{Context, from_json};
use crate::failure::Failure;
use crate::service::Service;

/// Show images, index, model and alarms.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {}

#[derive(Deserialize)]
struct View {
    model: String,
    images: Counts,
    modalities: Vec<Named>,
    labels: Vec<Named>,
    upload_lag: u64,
    index_lag: u64,
    partitions: u32,
    index: Index,
    alarms: Vec<Alarm>,
    intended_use: String,
}

#[derive(Deserialize)]
struct Counts {
    received: u64,
    indexed: u64,
    failed: u64,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    count: u64,
}

#[derive(Deserialize)]
struct Index {
    entries: u64,
    generation: u64,
    lists: u64,
    segments: u64,
    tail_rows: u64,
    memory_bytes: u64,
    mapped_bytes: u64,
}

#[derive(Deserialize)]
struct Alarm {
    kind: String,
    subject: String,
    detail: String,
}

pub(crate) async fn run(context: &Context, _asked: &StatusArguments) -> Result<(), Failure> {
    let service = Service::open_existing(&context.options).await?;
    let outcome = service.status().await;
    let json = service.finish(outcome).await?;
    context.output.result(&json, render)
}

fn render(json: &str) -> Result<String, Failure> {
    let view: View = from_json(json)?;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12} {value}");
    };
    let counts = &view.images;
    line("model", view.model.clone());
    line(
        "images",
        format!("{} indexed, {} waiting, {} failed", counts.indexed, counts.received, counts.failed),
    );
    line("modalities", list(&view.modalities));
    line("labels", list(&view.labels));
    line("waiting", format!("{} uploads, {} changes", view.upload_lag, view.index_lag));
    line("partitions", view.partitions.to_string());
    line("index", describe_index(&view.index));
    for alarm in &view.alarms {
        let kind_and_subject = format!("{} {}", alarm.kind, alarm.subject);
        line("alarm", format!("{}: {}", kind_and_subject.trim_end(), alarm.detail));
    }
    let _ = writeln!(text, "{}", view.intended_use);
    Ok(text)
}

fn describe_index(index: &Index) -> String {
    let how = if index.generation == 0 {
        "exact search, not trained yet".to_owned()
    } else {
        format!("generation {}, {} lists", index.generation, index.lists)
    };
    format!(
        "{} vectors ({how}), {} segments and {} in the tail, {} MiB in memory, {} MiB mapped",
        index.entries,
        index.segments,
        index.tail_rows,
        index.memory_bytes >> 20,
        index.mapped_bytes >> 20
    )
}

fn list(named: &[Named]) -> String {
    const SHOWN: usize = 8;
    let shown = |named: &Named| {
        let name = if named.name.is_empty() { "none" } else { named.name.as_str() };
        format!("{name} {}", named.count)
    };
    let mut text = named.iter().take(SHOWN).map(shown).collect::<Vec<_>>().join(", ");
    if named.len() > SHOWN {
        let _ = write!(text, ", and {} more", named.len() - SHOWN);
    }
    if text.is_empty() { "none".to_owned() } else { text }
}
