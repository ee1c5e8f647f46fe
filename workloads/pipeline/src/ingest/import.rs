//! Bulk import: many files through the same path as single uploads.
//!
//! Files are read on a thread of their own, accepted in batches, and held back while too many wait to be embedded. Guarantee: when
//! it returns, every file is searchable, was there already, or is listed with the reason why not. Told to stop, it returns at once:
//! what was accepted is durable and is embedded when the folder is open again. Resumable: what is stored is recognised by its
//! content, so starting again after an interruption repeats no work but reading.
//!
//! The same flow serves a bulk import on a cluster, where this process embeds by itself ([`super::direct`]): told to stop, it first finishes what
//! is at work, for up to [`FINISH`], and a backend that does not answer is waited for instead of ending an import of hours.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use medindex_backends::catalog::ImageStatus;
use medindex_proto::identity::ImageId;
use medindex_proto::names::{TOPIC_IMAGE_INDEXED, TOPIC_IMAGE_UPLOAD};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backend_error::{BackendError, from_backend};
use crate::context::Context;
use crate::error::{Classified, ErrorKind};
use crate::ingest::IngestError;
use crate::ingest::accept::{LOOK, Recording, Upload, accept_many};
use crate::ingest::embed::GROUP;
use crate::operations::{Action, Event, outcome, stamp};
use crate::report::{Accepted, ImageStatus as ShownStatus, LabelOutcome};
use crate::retry::Backoff;
use crate::sidecar::Sidecar;

/// Files accepted at once.
pub(crate) const BATCH: usize = 16;
/// Bytes of files accepted at once, so that a batch of large files does not fill the memory.
const BATCH_BYTES: usize = 64 << 20;
/// How long an import that embeds by itself goes on with what is at work after it was told to stop; Kubernetes gives 30 seconds in all, the last
/// writes and the report included.
const FINISH: Duration = Duration::from_secs(12);

/// How often what became of images is looked at while others are accepted.
const WATCH: Duration = Duration::from_secs(1);

/// Why a file could not be read, in words for the summary.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct ReadItemError(pub String);

/// One file to import; it is read when its turn comes.
pub struct ImportItem {
    /// Name in the catalog and in the summary.
    pub name: String,
    /// Label for it.
    pub label: Option<String>,
    /// What is known of it beside the file.
    pub sidecar: Option<Sidecar>,
    /// Reads the file.
    pub read: Box<dyn FnOnce() -> Result<Bytes, ReadItemError> + Send>,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ImportProgress {
    /// Files read so far.
    pub seen: u64,
    /// New images that are searchable.
    pub stored: u64,
    /// Files that were there already.
    pub duplicates: u64,
    /// Images that were there already without a label and have one now.
    pub labels_set: u64,
    /// Images that were there already with another label and keep that.
    pub labels_kept: u64,
    /// Files that were refused.
    pub failed: u64,
    /// New images that wait to be embedded.
    pub waiting: u64,
}

/// A file that is not searchable, and why.
#[derive(Debug, Clone, Serialize)]
pub struct ImportFailure {
    /// Name of the file.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// What an import did.
#[derive(Debug, Clone, Serialize)]
pub struct ImportSummary {
    /// New images that are searchable now.
    pub stored: u64,
    /// Files that were there already.
    pub duplicates: u64,
    /// Images that were there already without a label and have one now.
    pub labels_set: u64,
    /// Images that were there already with another label and keep that.
    pub labels_kept: u64,
    /// Files that were refused, in the order met.
    pub failed: Vec<ImportFailure>,
    /// New images that are durable and not searchable yet: 0 unless it was told to stop.
    pub waiting: u64,
    /// It was told to stop before everything was done.
    pub interrupted: bool,
    /// Seconds it took.
    pub seconds: f64,
}

/// Why an import stopped before its end. What was accepted until then is kept, and importing again goes on.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A backend failed.
    #[error(transparent)]
    Backend(BackendError),
    /// The embedder of this process does not get on.
    #[error("images were stored and cannot be made searchable ({0}); mend that and start the import again")]
    Embed(#[source] Arc<BackendError>),
    /// The process is being stopped.
    #[error("the import was stopped; start it again to go on")]
    Stopped,
}

from_backend!(ImportError);

impl Classified for ImportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Backend(error) => error.kind(),
            Self::Embed(error) => error.kind(),
            Self::Stopped => ErrorKind::Unavailable,
        }
    }
}

/// Called with every step of an import.
pub type ProgressCallback = Arc<dyn Fn(&ImportProgress) + Send + Sync>;

struct ReadFile {
    name: String,
    label: Option<String>,
    sidecar: Option<Sidecar>,
    content: Result<Bytes, ReadItemError>,
}

/// Imports `items` and records what became of them; see the module.
pub(crate) async fn import(
    context: &Arc<Context>,
    items: impl Iterator<Item = ImportItem> + Send + 'static,
    progress: ProgressCallback,
    stop: CancellationToken,
) -> Result<ImportSummary, ImportError> {
    let outcome = import_all(context, items, progress, stop).await;
    let event = match &outcome {
        Ok(summary) => {
            let ended = if summary.interrupted { outcome::PARTIAL } else { outcome::DONE };
            let ImportSummary { stored, duplicates, failed, waiting, seconds, .. } = summary;
            Event::new(context, Action::Import, "", ended).detail(format!(
                "{stored} stored, {duplicates} there already, {} refused, {waiting} waiting, {seconds:.1} s",
                failed.len()
            ))
        }
        Err(error) => Event::new(context, Action::Import, "", outcome::FAILED).detail(error.to_string()),
    };
    stamp(context, event).await;
    outcome
}

async fn import_all(
    context: &Arc<Context>,
    items: impl Iterator<Item = ImportItem> + Send + 'static,
    progress: ProgressCallback,
    stop: CancellationToken,
) -> Result<ImportSummary, ImportError> {
    let started = Instant::now();
    let (sender, mut files) = mpsc::channel(BATCH);
    let reader = tokio::task::spawn_blocking(move || read_all(items, &sender));
    let mut import = Import {
        context,
        progress,
        stop: &stop,
        finish_by: OnceLock::new(),
        counts: ImportProgress::default(),
        waiting: HashMap::new(),
        just_done: HashSet::new(),
        failed: Vec::new(),
    };
    let complete = loop {
        let batch = tokio::select! {
            biased;
            () = stop.cancelled() => break false,
            batch = next_batch(&mut files) => batch,
        };
        let Some(batch) = batch else { break true };
        import.take(batch).await?;
        import.settle(context.settings.backlog).await?;
    };
    // A reader that still has a file to give learns that nobody wants it.
    drop(files);
    reader.await?;
    import.settle(0).await?;
    if complete && !stop.is_cancelled() {
        pass_over_what_is_done(context, &stop).await?;
    }
    if context.direct.is_none() {
        let ends = context.ports.queue.end_offsets(TOPIC_IMAGE_INDEXED).await?;
        context.searcher.catch_up(&ends).await?;
    }
    let Import { counts, failed, waiting, .. } = import;
    Ok(ImportSummary {
        stored: counts.stored,
        duplicates: counts.duplicates,
        labels_set: counts.labels_set,
        labels_kept: counts.labels_kept,
        failed,
        waiting: waiting.len() as u64,
        interrupted: !complete || !waiting.is_empty(),
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Waits until the embedder is past every message that was there when the images were done. An import that was cut off leaves
/// messages of images that are searchable by now, and sends those of others twice; a process that ended before they were passed
/// over would leave them to the next one. Other processes' messages are not waited for.
async fn pass_over_what_is_done(context: &Arc<Context>, stop: &CancellationToken) -> Result<(), ImportError> {
    if context.shard.is_none() {
        return Ok(());
    }
    let queue = &context.ports.queue;
    let ends = queue.end_offsets(TOPIC_IMAGE_UPLOAD).await?;
    let mut changed = context.changed.subscribe();
    loop {
        let done = queue.committed(TOPIC_IMAGE_UPLOAD, GROUP).await?;
        if ends.iter().all(|(partition, end)| done.get(partition).copied().unwrap_or(0) >= *end) {
            return Ok(());
        }
        check_embedder(context)?;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = context.stop.cancelled() => return Err(ImportError::Stopped),
            outcome = changed.changed() => if outcome.is_err() { return Err(ImportError::Stopped) },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// A folder of this machine whose embedder fails is not waited for: its disk is full, or it is damaged.
fn check_embedder(context: &Context) -> Result<(), ImportError> {
    match context.embedding_failure() {
        Some(failure) if context.shard.is_some() => Err(ImportError::Embed(failure)),
        _ => Ok(()),
    }
}

/// Reads files until there are no more, or nobody wants them any more.
fn read_all(items: impl Iterator<Item = ImportItem>, sender: &mpsc::Sender<ReadFile>) {
    for ImportItem { name, label, sidecar, read } in items {
        let content = read();
        if sender.blocking_send(ReadFile { name, label, sidecar, content }).is_err() {
            return;
        }
    }
}

async fn next_batch(files: &mut mpsc::Receiver<ReadFile>) -> Option<Vec<ReadFile>> {
    let first = files.recv().await?;
    let size = |file: &ReadFile| file.content.as_ref().map_or(0, Bytes::len);
    let (mut bytes, mut batch) = (size(&first), vec![first]);
    while batch.len() < BATCH && bytes < BATCH_BYTES {
        let Ok(file) = files.try_recv() else { break };
        bytes += size(&file);
        batch.push(file);
    }
    Some(batch)
}

struct Import<'a> {
    context: &'a Arc<Context>,
    progress: ProgressCallback,
    stop: &'a CancellationToken,
    /// When it gives up what is at work, once it was told to stop.
    finish_by: OnceLock<Instant>,
    counts: ImportProgress,
    /// New images that are not searchable yet, with their names.
    waiting: HashMap<ImageId, String>,
    /// Those that were done while the present batch was accepted.
    just_done: HashSet<ImageId>,
    failed: Vec<ImportFailure>,
}

impl Import<'_> {
    async fn take(&mut self, batch: Vec<ReadFile>) -> Result<(), ImportError> {
        let (mut names, mut uploads) = (Vec::new(), Vec::new());
        for ReadFile { name, label, sidecar, content } in batch {
            self.counts.seen += 1;
            match content {
                Ok(bytes) => {
                    names.push(name.clone());
                    uploads.push(Upload { name, bytes, label, sidecar });
                }
                Err(error) => self.fail(name, error.to_string()),
            }
        }
        self.just_done.clear();
        let answers = self.accept(uploads).await?;
        for (name, answer) in names.into_iter().zip(answers) {
            match answer.as_ref().ok().and_then(|accepted| accepted.label) {
                Some(LabelOutcome::Set) => self.counts.labels_set += 1,
                Some(LabelOutcome::Kept) => self.counts.labels_kept += 1,
                None => {}
            }
            match answer {
                Ok(accepted) if accepted.duplicate && accepted.status != ShownStatus::Received => {
                    self.counts.duplicates += 1;
                }
                // The same file twice in one import, or one that an earlier import left behind.
                Ok(accepted)
                    if self.waiting.contains_key(&accepted.id) || self.just_done.contains(&accepted.id) =>
                {
                    self.counts.duplicates += 1;
                }
                Ok(accepted) => {
                    self.waiting.insert(accepted.id, name);
                }
                // What the catalog refuses of one file (a text that is too long) is that file's failure.
                Err(IngestError::Backend(error)) if error.kind() != ErrorKind::BadRequest => {
                    return Err(ImportError::Backend(error));
                }
                // Whoever imports many files chooses the limits, unlike one who uploads.
                Err(error) => self.fail(name, format!("{error}{}", error.limit_advice())),
            }
        }
        if self.context.direct.is_some() {
            return self.look_and_report().await;
        }
        self.report();
        Ok(())
    }

    /// Accepts uploads; where this process embeds, that takes as long as embedding does, and a backend that does not answer is waited for.
    async fn accept(
        &mut self,
        uploads: Vec<Upload>,
    ) -> Result<Vec<Result<Accepted, IngestError>>, ImportError> {
        let context = self.context;
        let mut backoff = Backoff::default();
        loop {
            match self.watch(accept_many(context, uploads.clone(), Recording::Whole)).await? {
                Ok(answers) => return Ok(answers),
                Err(error) => self.check_worth_waiting(error)?,
            }
            tokio::select! {
                () = self.give_up() => return Err(ImportError::Stopped),
                () = context.stop.cancelled() => return Err(ImportError::Stopped),
                () = backoff.wait() => {}
            }
        }
    }

    /// Waits for something long, and tells meanwhile what becomes of the images before.
    async fn watch<T>(&mut self, work: impl Future<Output = T>) -> Result<T, ImportError> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = self.give_up(), if self.context.direct.is_some() => return Err(ImportError::Stopped),
                () = tokio::time::sleep(WATCH) => self.look_and_report().await?,
            }
        }
    }

    async fn look_and_report(&mut self) -> Result<(), ImportError> {
        if let Err(error) = self.look().await {
            self.check_worth_waiting(error)?;
        }
        self.report();
        Ok(())
    }

    /// A folder of this machine that fails is not waited for: its disk is full, or it is damaged.
    fn check_worth_waiting(&self, error: BackendError) -> Result<(), ImportError> {
        if self.context.direct.is_none() || error.kind() != ErrorKind::Unavailable {
            return Err(ImportError::Backend(error));
        }
        tracing::warn!(%error, "the import waits for a backend");
        Ok(())
    }

    /// Returns when what is at work is not waited for any longer.
    async fn give_up(&self) {
        self.stop.cancelled().await;
        if self.context.direct.is_some() {
            let finish_by = self.finish_by.get_or_init(|| Instant::now() + FINISH);
            tokio::time::sleep_until(*finish_by).await;
        }
    }

    fn fail(&mut self, name: String, reason: String) {
        self.counts.failed += 1;
        self.failed.push(ImportFailure { name, reason });
    }

    fn report(&mut self) {
        self.counts.waiting = self.waiting.len() as u64;
        (self.progress)(&self.counts);
    }

    /// Waits until at most `most` images wait to be embedded, or it is told to stop.
    async fn settle(&mut self, most: usize) -> Result<(), ImportError> {
        let mut changed = self.context.changed.subscribe();
        while self.waiting.len() > most {
            self.look_and_report().await?;
            if self.waiting.len() <= most {
                break;
            }
            check_embedder(self.context)?;
            tokio::select! {
                () = self.give_up() => break,
                () = self.context.stop.cancelled() => return Err(ImportError::Stopped),
                outcome = changed.changed() => if outcome.is_err() { return Err(ImportError::Stopped) },
                // On a cluster nobody tells this process.
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        Ok(())
    }

    /// Looks which of the waiting images are done.
    async fn look(&mut self) -> Result<(), BackendError> {
        let ids: Vec<ImageId> = self.waiting.keys().copied().collect();
        let records = self.context.ports.catalog.images(&ids).await?;
        for (id, record) in ids.into_iter().zip(records) {
            let outcome = match record {
                Some(record) if record.status == ImageStatus::Received => continue,
                Some(record) if record.status == ImageStatus::Indexed => None,
                Some(record) => Some(record.reason.unwrap_or_else(|| "it was deleted".to_owned())),
                None => Some("it was deleted".to_owned()),
            };
            let Some(name) = self.waiting.remove(&id) else { continue };
            self.just_done.insert(id);
            match outcome {
                None => self.counts.stored += 1,
                Some(reason) => self.fail(name, reason),
            }
        }
        Ok(())
    }
}
