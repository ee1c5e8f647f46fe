//! [`Pipeline`]: one handle to all flows.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use medindex_embedding::Embedder;
use medindex_imaging::ImageInfo;
use medindex_index::Index;
use medindex_proto::identity::ImageId;
use tokio_util::sync::CancellationToken;

use crate::alarms::{MissingShardCheck, RaisedAlarm, UploadLagCheck};
use crate::backend_error::BackendError;
use crate::context::Context;
use crate::core::Core;
use crate::delete::{self, DeleteError};
use crate::embedding::Embedding;
use crate::flight::SingleFlight;
use crate::hot_results::{CacheCounts, Caches};
use crate::ingest::direct::{Direct, Elsewhere};
use crate::ingest::import::ProgressCallback;
use crate::ingest::sweep::Uploaders;
use crate::ingest::{
    self, DirectOptions, EmbedWorker, ImportError, ImportItem, ImportSummary, IngestError, Upload,
};
use crate::open::{self, OpenError};
use crate::operations::{OperationLogCounts, OperationPage, OperationRequest};
use crate::read::{self, ImagePage, ListRequest, PreviewRequest, ReadError, StoredVector};
use crate::recognise::{self, RecogniseError};
use crate::repair::RepairReport;
use crate::report::{
    Accepted, Alarm, Deleted, ImageDetails, ImageStatus, Recognition, Status, TrainingReport,
};
use crate::search::{self, SearchError, SearchRequest, SearchResponse};
use crate::searcher::Searcher;
use crate::settings::Settings;
use crate::train::{self, TrainError, TrainingStage};
use crate::{follow, generations, maintain, operations, previews, status};

/// All flows over one set of backends. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Pipeline {
    context: Arc<Context>,
}

impl Pipeline {
    /// Opens or makes a data folder (the embedded profile) and starts the background tasks.
    ///
    /// # Errors
    /// [`OpenError`]: the folder is in use, damaged, of another model, or cannot be written.
    pub async fn open(folder: &Path, embedder: Embedder, settings: Settings) -> Result<Self, OpenError> {
        Ok(Self { context: open::open_embedded(folder, embedder, settings).await? })
    }

    /// The flows of a gateway: accepts uploads, asks embedders and search shards, sends again what got stuck. The others run elsewhere.
    pub fn connect(core: Arc<Core>, embedding: Arc<dyn Embedding>, searcher: Arc<dyn Searcher>) -> Self {
        core.tasks.spawn(ingest::sweep::run(Arc::clone(&core), Uploaders::Anywhere));
        core.tasks.spawn(operations::consume(Arc::clone(&core)));
        core.add_check(UploadLagCheck::new(&core.settings));
        core.add_check(MissingShardCheck::new(Arc::clone(&searcher)));
        core.begin();
        let (recognitions, caches) = (SingleFlight::new(), Caches::default());
        let (direct, shard, was_complete) = (None, None, AtomicBool::new(false));
        let context =
            Context { core, embedding, searcher, recognitions, direct, caches, shard, was_complete };
        Self { context: Arc::new(context) }
    }

    /// The flows of a bulk import on a cluster: what is accepted is embedded and stored by this process, without the queue. From `stop` on
    /// nothing is held back by the rate. Searching is not among its flows.
    pub fn connect_importer(worker: EmbedWorker, options: DirectOptions, stop: CancellationToken) -> Self {
        let (core, embedding) = (Arc::clone(&worker.core), Arc::clone(&worker.embedding));
        let direct = Some(Direct::start(worker, options, stop));
        let searcher = Arc::new(Elsewhere);
        let (recognitions, caches) = (SingleFlight::new(), Caches::default());
        let (shard, was_complete) = (None, AtomicBool::new(false));
        let context =
            Context { core, embedding, searcher, recognitions, direct, caches, shard, was_complete };
        Self { context: Arc::new(context) }
    }

    /// Repairs a data folder that lost its image store or its catalog, or got an older one back: saves what the rest holds, and
    /// makes the index anew. It changes nothing else, and nothing at all where nothing is wrong.
    ///
    /// # Errors
    /// [`OpenError`]: the folder is in use, of another model, or a part of it is damaged.
    pub async fn repair(
        folder: &Path,
        embedder: Embedder,
        settings: Settings,
    ) -> Result<RepairReport, OpenError> {
        open::repair_embedded(folder, &embedder, settings).await
    }

    /// Stops the background tasks, makes the index durable and closes the folder. Call it once, before the process ends; what was acknowledged is safe
    /// without it.
    ///
    /// # Errors
    /// [`BackendError`] when the last snapshot cannot be written.
    pub async fn shutdown(&self) -> Result<(), BackendError> {
        self.context.core.end().await;
        match &self.context.shard {
            Some(shard) => {
                operations::drain(&self.context).await?;
                let snapshot = maintain::snapshot(shard).await;
                // The catalog's journal goes into its file, so that whoever copies the folder now copies everything.
                self.context.ports.catalog.close().await;
                snapshot
            }
            None => Ok(()),
        }
    }

    /// Accepts an upload; it is durable when this returns, and becomes searchable in the background.
    ///
    /// # Errors
    /// [`IngestError`].
    pub async fn accept(&self, upload: Upload) -> Result<Accepted, IngestError> {
        ingest::accept::accept(&self.context, upload).await
    }

    /// Waits until an image is searchable or failed.
    ///
    /// # Errors
    /// [`IngestError::AwaitSearchable`] when it is neither after `deadline`.
    pub async fn wait_until_searchable(
        &self,
        id: &ImageId,
        deadline: Duration,
    ) -> Result<ImageStatus, IngestError> {
        ingest::accept::wait_until_searchable(&self.context, id, deadline).await
    }

    /// Imports many files; returns when each is searchable, was there already, or is listed with the reason why not. Once `stop` is
    /// cancelled it returns at once, with what was accepted kept.
    ///
    /// # Errors
    /// [`ImportError`] when a backend fails; importing again goes on.
    pub async fn import(
        &self,
        items: impl Iterator<Item = ImportItem> + Send + 'static,
        progress: ProgressCallback,
        stop: CancellationToken,
    ) -> Result<ImportSummary, ImportError> {
        ingest::import::import(&self.context, items, progress, stop).await
    }

    /// Finds the most similar images.
    ///
    /// # Errors
    /// [`SearchError`].
    pub async fn search(&self, request: SearchRequest) -> Result<SearchResponse, SearchError> {
        search::record::search(&self.context, request).await
    }

    /// Recognises an image that need not be stored.
    ///
    /// # Errors
    /// [`RecogniseError`].
    pub async fn recognise(&self, name: String, bytes: Bytes) -> Result<Recognition, RecogniseError> {
        let outcome = recognise::recognise(&self.context, name, bytes).await;
        recognise::note_recognition(&self.context, &outcome);
        outcome
    }

    /// Trains a new generation and swaps it in when its recall passes the gate.
    ///
    /// # Errors
    /// [`TrainError`].
    pub async fn train(
        &self,
        progress: &(dyn Fn(TrainingStage) + Send + Sync),
    ) -> Result<TrainingReport, TrainError> {
        let shard = self.context.shard.as_ref().ok_or(TrainError::Delegate)?;
        let outcome = train::train(shard, progress).await;
        train::record_training(shard, &outcome).await;
        outcome
    }

    /// Goes back to the generation before; returns its number. It has to be `to` where that is given, and nothing is done where that answers
    /// already: asking twice does not go back and forth.
    ///
    /// # Errors
    /// [`TrainError::RollBack`] when there is none, [`TrainError::RollBackTo`] when it is another one.
    pub async fn roll_back(&self, to: Option<u64>) -> Result<u64, TrainError> {
        let outcome = match &self.context.shard {
            Some(shard) => train::roll_back(shard, to).await,
            None => generations::roll_back(&self.context, to).await.map_err(TrainError::from),
        };
        let changed = !matches!(outcome, Ok((_, false)));
        let outcome = outcome.map(|(generation, _)| generation);
        if changed {
            train::record_roll_back(&self.context, &outcome).await;
        }
        outcome
    }

    /// Deletes an image everywhere.
    ///
    /// # Errors
    /// [`DeleteError`].
    pub async fn delete(&self, id: &ImageId) -> Result<Deleted, DeleteError> {
        delete::delete(&self.context, id).await
    }

    /// Deletes every image of a patient.
    ///
    /// # Errors
    /// [`DeleteError`].
    pub async fn delete_patient(&self, patient: &str) -> Result<Deleted, DeleteError> {
        delete::delete_patient(&self.context, patient).await
    }

    /// What the catalog knows of an image.
    ///
    /// # Errors
    /// [`ReadError::FindImage`].
    pub async fn image(&self, id: &ImageId) -> Result<ImageDetails, ReadError> {
        read::image(&self.context, id).await
    }

    /// A page of images, newest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn list(&self, request: &ListRequest) -> Result<ImagePage, ReadError> {
        read::list(&self.context, request).await
    }

    /// An image's file as it was uploaded.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn file(&self, id: &ImageId) -> Result<(ImageDetails, Bytes), ReadError> {
        let outcome = read::file(&self.context, id).await;
        read::note_download(&self.context, id, &outcome);
        outcome
    }

    /// A PNG of a stored image.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn preview(&self, id: &ImageId, request: PreviewRequest) -> Result<Bytes, ReadError> {
        previews::preview(&self.context, id, request).await
    }

    /// What the header of a file that need not be stored tells.
    ///
    /// # Errors
    /// [`ReadError::Decode`].
    pub async fn inspect(&self, bytes: Bytes) -> Result<ImageInfo, ReadError> {
        read::inspect_file(&self.context, bytes).await
    }

    /// A PNG of a file that need not be stored.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn render(&self, bytes: Bytes, request: PreviewRequest) -> Result<Bytes, ReadError> {
        read::render(&self.context, bytes, None, request, false).await
    }

    /// Every searchable image's vectors, for evaluations.
    ///
    /// # Errors
    /// [`ReadError::Backend`].
    pub async fn stored_vectors(&self) -> Result<Vec<StoredVector>, ReadError> {
        read::stored_vectors(&self.context).await
    }

    /// A page of the operation log, latest first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn operations(&self, request: &OperationRequest) -> Result<OperationPage, ReadError> {
        operations::list(&self.context, request).await
    }

    /// Alarms that are raised, or all that ever were, latest first, at most `limit`.
    ///
    /// # Errors
    /// [`ReadError::CheckLimit`], [`ReadError::Backend`].
    pub async fn alarms(&self, only_raised: bool, limit: usize) -> Result<Vec<Alarm>, ReadError> {
        read::alarms(&self.context, only_raised, limit).await
    }

    /// Alarms that are raised, as far as this process knows, without asking the catalog.
    pub fn raised_alarms(&self) -> Vec<RaisedAlarm> {
        self.context.raised_alarms()
    }

    /// What became of the operations that this process recorded.
    pub fn operation_counts(&self) -> OperationLogCounts {
        self.context.operation_counts()
    }

    /// Uploads and changes that are not in this process' own index yet.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn waiting(&self) -> Result<u64, BackendError> {
        let uploads = ingest::embed::lag(&self.context).await?;
        let changes = match &self.context.shard {
            Some(shard) => follow::lag(shard).await?,
            None => 0,
        };
        Ok(uploads + changes)
    }

    /// How the system stands.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn status(&self) -> Result<Status, BackendError> {
        status::status(&self.context).await
    }

    /// Why requests cannot be answered right now; `None` when they can.
    pub async fn unready(&self) -> Option<String> {
        status::unready(&self.context).await
    }

    /// How often the caches had what was asked for, since the start.
    pub fn cache_counts(&self) -> CacheCounts {
        self.context.caches.counts()
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.context.settings
    }

    /// The index, for evaluations; `None` where search shards in other processes hold it.
    pub fn index(&self) -> Option<&Arc<Index>> {
        self.context.shard.as_ref().map(|shard| shard.index())
    }
}
