//! `medindex import`: makes files searchable.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use medindex_pipeline::{ImportProgress, SearchableFrames};
use medindex_sources::{Items, LabelTable, Labels, LesionWindow, Refusal, Remainder, Source, expand};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Context, to_json};
use crate::failure::{Code, Failure};
use crate::import::remote;
use crate::import::summary::Summary;
use crate::local::Local;
use crate::output::note;
use crate::progress::Progress;
use crate::service::remote::Remote;
use crate::signals::stop_token;
use crate::window::parse_window;

/// Import files, folders, globs, DICOM directories (DICOMDIR), zip archives and the DeepLesion data set. Start it again to go on after an interruption.
#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// What to import; folders with all below them, hidden files left out.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
    /// CSV file with the columns file,label; paths relative to it, or base names.
    #[arg(long, value_name = "FILE.csv", conflicts_with = "label_from_folder")]
    labels: Option<PathBuf>,
    /// Label each image with the name of its folder.
    #[arg(long)]
    label_from_folder: bool,
    /// Frames of multi-frame images to make searchable; the data folder remembers it.
    #[arg(long, value_name = "WHICH", value_parser = ["middle", "all"])]
    frames: Option<String>,
    /// Grey window of DeepLesion's slices: table (as their rows say), lung, mediastinum, bone, brain, `soft_tissue`, liver, full, or CENTER,WIDTH.
    #[arg(long, value_name = "WINDOW", default_value = "table", allow_hyphen_values = true, value_parser = parse_window::<LesionWindow>)]
    lesion_window: LesionWindow,
    /// Exit with code 4 when any file failed; without it, only when every one did.
    #[arg(long)]
    strict: bool,
}

pub(crate) async fn run(context: &Context, asked: &ImportArguments) -> Result<ExitCode, Failure> {
    let limits = context.options.limits();
    let labels = asked.read_labels()?;
    let candidates = expand(&asked.paths, &limits)?;
    let total = candidates.len() as u64;
    let has_slices = candidates.iter().any(|candidate| matches!(candidate.source, Source::Slice(_)));
    let stop = stop_token("stopping after the images at work (press Ctrl-C again to end at once)")?;
    let (items, remainder) = Items::new(candidates, labels, limits, asked.lesion_window, stop.clone());
    let summary = match &context.options.server {
        Some(url) => {
            if asked.frames.is_some() {
                return Err(Failure::usage(
                    "--frames is a setting of the server's data folder; leave it out with --server",
                ));
            }
            if has_slices {
                return Err(Failure::usage(
                    "an upload cannot carry DeepLesion's windows and regions: leave out --server, or use medindex-importer on a cluster",
                ));
            }
            let server = Remote::new(url, limits)?;
            let (show, last) = show_progress(total, &remainder);
            let imported = remote::import(server, items, show, stop).await;
            let counted = imported.map_err(|failure| with_progress(failure, &last))?;
            complete(counted, &remainder)
        }
        None => import_here(context, asked.frames(), items, total, &remainder, stop).await?,
    };
    report(context, asked, &summary)
}

impl ImportArguments {
    fn read_labels(&self) -> Result<Labels, Failure> {
        match &self.labels {
            Some(path) => Ok(Labels::Table(LabelTable::read(path)?)),
            None if self.label_from_folder => Ok(Labels::FolderName),
            None => Ok(Labels::None),
        }
    }

    fn frames(&self) -> Option<SearchableFrames> {
        self.frames.as_deref().map(|which| match which {
            "all" => SearchableFrames::All,
            _ => SearchableFrames::Middle,
        })
    }
}

async fn import_here(
    context: &Context,
    frames: Option<SearchableFrames>,
    items: Items,
    total: u64,
    remainder: &Arc<Mutex<Remainder>>,
    stop: CancellationToken,
) -> Result<Summary, Failure> {
    let local = Local::open_or_create(&context.options, frames).await?;
    let (show, last) = show_progress(total, remainder);
    let outcome = local.pipeline.import(items, show, stop).await.map_err(|error| Failure::flow(&error));
    let closed = local.close(outcome).await;
    let summary = closed.map_err(|failure| with_progress(failure, &last))?;
    let failed = summary.failed.into_iter();
    let counted = Summary {
        stored: summary.stored,
        duplicates: summary.duplicates,
        labels_set: summary.labels_set,
        labels_kept: summary.labels_kept,
        failed: failed.map(|failure| Refusal { name: failure.name, reason: failure.reason }).collect(),
        waiting: summary.waiting,
        interrupted: summary.interrupted,
        seconds: summary.seconds,
        ..Summary::default()
    };
    Ok(complete(counted, remainder))
}

/// Adds what the stream of items left behind.
fn complete(counted: Summary, remainder: &Mutex<Remainder>) -> Summary {
    let Remainder { skipped, unused_labels, stopped } = std::mem::take(&mut *remainder.lock());
    Summary { skipped, unused_labels, interrupted: stopped || counted.interrupted, ..counted }
}

/// The failure of an import as a whole, with how far it came: there is no summary then.
fn with_progress(failure: Failure, last: &Mutex<ImportProgress>) -> Failure {
    let ImportProgress { seen, stored, duplicates, failed, .. } = *last.lock();
    if seen == 0 {
        return failure;
    }
    let message = format!(
        "{}; before that {stored} files were stored, {duplicates} were there already and {failed} failed: import again to go on",
        failure.message
    );
    Failure { message, ..failure }
}

type ShowProgress = Arc<dyn Fn(&ImportProgress) + Send + Sync>;

/// What shows the progress, and where the latest is kept.
fn show_progress(
    total: u64,
    remainder: &Arc<Mutex<Remainder>>,
) -> (ShowProgress, Arc<Mutex<ImportProgress>>) {
    let progress = Progress::new(total, "files");
    let remainder = Arc::clone(remainder);
    let last = Arc::new(Mutex::new(ImportProgress::default()));
    let kept = Arc::clone(&last);
    let show = Arc::new(move |counts: &ImportProgress| {
        *kept.lock() = *counts;
        let skipped = remainder.lock().skipped.len() as u64;
        let done = counts.stored + counts.duplicates + counts.failed + skipped;
        progress.show(done, || {
            let parts = [(counts.duplicates, "duplicates"), (counts.failed, "failed"), (skipped, "skipped")];
            let shown = parts.iter().filter(|(count, _)| *count > 0);
            shown.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
        });
    });
    (show, last)
}

fn report(context: &Context, asked: &ImportArguments, summary: &Summary) -> Result<ExitCode, Failure> {
    let json = to_json(summary)?;
    context.output.result(&json, |_| Ok(summary.render()))?;
    if summary.interrupted {
        return Ok(Code::Interrupted.into());
    }
    let failed = summary.failed.len();
    let nothing_good = summary.stored + summary.duplicates == 0;
    if failed > 0 && (asked.strict || nothing_good) {
        // Said on standard error too: the summary goes wherever standard output goes.
        match summary.failed.first() {
            Some(only) if failed == 1 => note(&format!("medindex: {}: {}", only.name, only.reason)),
            _ => note(&format!(
                "medindex: {failed} files failed; the summary has the reasons, --json the names"
            )),
        }
        return Ok(Code::Refused.into());
    }
    Ok(ExitCode::SUCCESS)
}
