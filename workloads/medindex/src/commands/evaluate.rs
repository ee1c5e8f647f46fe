//! `medindex evaluate`: how good retrieval is on the stored, labelled images.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use medindex_pipeline::Pipeline;

use super::{Context, to_json};
use crate::evaluate::code_order::CodeOrder;
use crate::evaluate::corpus::Corpus;
use crate::evaluate::metrics::Quality;
use crate::evaluate::report::{Ranking, Report, published};
use crate::evaluate::through_index::Depth;
use crate::evaluate::{Vectors, exact, normalise, pixels, plot, sample, through_index};
use crate::failure::{Code, Failure};
use crate::local::Local;
use crate::progress::Progress;

/// Measure retrieval quality, leave one out: P@1, P@10 and mAP of raw pixels, exact vectors and the index.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArguments {
    /// Search with this many images, about equally many of each label; with all when left out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
    /// Seed of the choice of queries.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Leave the raw pixels out, which need every file decoded.
    #[arg(long)]
    no_pixels: bool,
    /// Also write the result as JSON to a file.
    #[arg(long, value_name = "FILE.json")]
    save: Option<PathBuf>,
    /// Also write the result as Markdown to a file.
    #[arg(long, value_name = "FILE.md")]
    markdown: Option<PathBuf>,
    /// Also draw the result into a file.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

pub(crate) async fn run(context: &Context, asked: &EvaluateArguments) -> Result<(), Failure> {
    if context.options.server.is_some() {
        return Err(Failure::usage(
            "evaluate needs the data folder itself: stop the server and leave --server (MEDINDEX_SERVER) out",
        ));
    }
    let local = Local::open_existing(&context.options).await?;
    let outcome = evaluate(&local.pipeline, asked).await;
    let report = local.close(outcome).await?;
    let json = to_json(&report)?;
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text).map_err(|error| Failure::file("write", path, &error))
    };
    if let Some(path) = &asked.save {
        write(path, &format!("{json}\n"))?;
    }
    if let Some(path) = &asked.markdown {
        write(path, &report.markdown())?;
    }
    if let Some(path) = &asked.plot {
        plot::write(&report, path)?;
    }
    context.output.result(&json, |_| Ok(report.render()))
}

async fn evaluate(pipeline: &Pipeline, asked: &EvaluateArguments) -> Result<Report, Failure> {
    let started = Instant::now();
    let stored = pipeline.stored_vectors().await.map_err(|error| Failure::flow(&error))?;
    let mut corpus = Corpus::new(stored)?;
    let dimension = corpus.vectors.dimension;
    corpus.vectors.data.chunks_mut(dimension).for_each(normalise);
    let possible = corpus.queries();
    if possible.is_empty() {
        return Err(Failure::new(
            Code::Refused,
            "no label has two images, so there is nothing to find: import more images of the same labels",
        ));
    }
    let wanted = asked.sample.map_or(possible.len(), |sample| sample as usize);
    let queries = sample::balanced(&possible, &corpus.labels, corpus.label_names.len(), wanted, asked.seed);
    let pixels = if asked.no_pixels { None } else { Some(read_pixels(pipeline, &corpus).await?) };

    let status = pipeline.status().await.map_err(|error| Failure::flow(&error))?;
    let index = pipeline.index().map(Arc::clone).ok_or_else(|| {
        Failure::usage("evaluate reads the data folder itself: leave --server (MEDINDEX_SERVER) out")
    })?;
    let queries_left_out = corpus.len() - possible.len();
    let measure = move || -> Result<(Corpus, Vec<usize>, Vec<Ranking>), Failure> {
        let rankings = measure(&index, &corpus, pixels.as_ref(), &queries)?;
        Ok((corpus, queries, rankings))
    };
    let (corpus, queries, rankings) = tokio::task::spawn_blocking(measure)
        .await
        .map_err(|error| Failure::caused_by(Code::Other, "the evaluation stopped", &error))??;
    let (baselines, baselines_source) = published(&corpus);
    Ok(Report {
        model: status.model,
        generation: status.index.generation,
        lists: status.index.lists,
        images: corpus.len(),
        unlabelled: corpus.unlabelled,
        queries: queries.len(),
        queries_left_out,
        seed: asked.seed,
        rankings,
        baselines,
        baselines_source,
        seconds: started.elapsed().as_secs_f64(),
    })
}

async fn read_pixels(pipeline: &Pipeline, corpus: &Corpus) -> Result<Vectors, Failure> {
    let progress = Progress::new(corpus.len() as u64, "images read");
    let done = Arc::new(move |count: usize| progress.show(count as u64, String::new));
    pixels::read_all(pipeline, &corpus.ids, done).await
}

/// Every ranking, one after the other.
fn measure(
    index: &medindex_index::Index,
    corpus: &Corpus,
    pixels: Option<&Vectors>,
    queries: &[usize],
) -> Result<Vec<Ranking>, Failure> {
    let mut rankings = Vec::new();
    // Every query has something to find, so every ranking has figures.
    let mut add = |name: &str, qualities: &[Option<Quality>]| {
        rankings.extend(Ranking::new(name, corpus, queries, qualities));
    };
    if let Some(pixels) = pixels {
        let forms: [(&str, Vectors); 2] = [
            ("raw 16x16 pixels, mean removed", pixels::without_mean(pixels)),
            ("raw 16x16 pixels, as they are", pixels::plain(pixels)),
        ];
        for (name, vectors) in forms {
            let by_pixels =
                ranked(queries, "queries by pixels", |show| exact::rank_all(corpus, &vectors, queries, show));
            add(name, &by_pixels);
        }
    }
    let by_exact = ranked(queries, "queries by exact vectors", |show| {
        exact::rank_all(corpus, &corpus.vectors, queries, show)
    });
    add("exact vectors", &by_exact);
    let pages = ranked(queries, "queries by the index", |show| {
        through_index::search(index, corpus, queries, Depth::Page, show)
    })?;
    let Some(quantizer) = index.quantizer() else {
        // Not trained: the index compares exactly, and so its whole ranking is the exact one.
        add("index (exact: not trained)", &through_index::with_average_precision(&pages, &by_exact));
        return Ok(rankings);
    };
    let whole = ranked(queries, "queries for all images", |show| {
        through_index::search(index, corpus, queries, Depth::All, show)
    })?;
    add("index", &through_index::with_average_precision(&pages, &whole.qualities));
    let order = CodeOrder::new(&quantizer, corpus)?;
    let by_index = ranked(queries, "queries by codes, re-ranked", |show| {
        order.rank(corpus, queries, pages.reranked, show)
    });
    let name = format!("codes, first {} re-ranked", pages.reranked);
    add(&name, &through_index::with_average_precision(&pages, &by_index));
    let by_codes = ranked(queries, "queries by codes", |show| order.rank(corpus, queries, 0, show));
    add("codes alone", &by_codes);
    Ok(rankings)
}

/// Runs `rank` with progress over the queries.
fn ranked<T>(queries: &[usize], unit: &'static str, rank: impl FnOnce(&(dyn Fn(usize) + Sync)) -> T) -> T {
    let progress = Progress::new(queries.len() as u64, unit);
    rank(&|done| progress.show(done as u64, String::new))
}
