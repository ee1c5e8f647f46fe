//! Opening a data folder: the embedded adapters, the index, the background tasks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use medindex_backends::embedded::{EmbeddedStore, MemoryCache, StoreOptions, open_catalog};
use medindex_backends::{Fault, Queue as _};
use medindex_embedding::Embedder;
use medindex_index::{Index, IndexError, IndexOptions, LogPositions};
use medindex_proto::IdentityError;
use medindex_proto::identity::check_partitions;
use medindex_proto::names::{
    MAX_INLINE_BYTES, TOPIC_DEAD_LETTER, TOPIC_IMAGE_INDEXED, TOPIC_IMAGE_UPLOAD, TOPIC_OPERATION_LOG,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend_error::{BackendError, from_backend};
use crate::context::{Context, FollowerState, Ports};
use crate::error::{Classified, ErrorKind};
use crate::flight::SingleFlight;
use crate::folder::{FOLDER_FORMAT, FolderDescription, FolderError, prepare_folder};
use crate::locks::ImageLocks;
use crate::repair::{self, RepairReport};
use crate::settings::Settings;
use crate::train::TrainError;
use crate::{follow, ingest, maintain, parts, train};

/// Folder of the index in a data folder.
pub(crate) const INDEX_FOLDER: &str = "index";

/// Why a data folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting is out of its range.
    #[error("setting {name} is {value}, but must be {range}")]
    CheckSetting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        range: String,
    },
    /// The number of partitions cannot be.
    #[error(transparent)]
    CheckPartitions(#[from] IdentityError),
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The store in it cannot be opened.
    #[error("cannot open the data folder {}: {source}", folder.display())]
    Store {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: Fault,
    },
    /// Its parts do not belong together: one was lost, or replaced by an older one.
    #[error(
        "the data folder {} is damaged: {found}; put back what was lost from a backup, or run `medindex repair --data {}`, \
         which saves what the rest holds and says what to import again", folder.display(), folder.display()
    )]
    CompareParts {
        /// The folder.
        folder: PathBuf,
        /// What does not fit.
        found: String,
    },
    /// That a trained generation was lost with the index could not be noted.
    #[error(transparent)]
    ForgetGeneration(#[from] TrainError),
    /// A backend failed.
    #[error(transparent)]
    Backend(BackendError),
}

from_backend!(OpenError);

impl Classified for OpenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::CheckSetting { .. } | Self::CheckPartitions(_) => ErrorKind::BadRequest,
            Self::Folder(FolderError::CheckModel { .. } | FolderError::Recognise { .. }) => {
                ErrorKind::BadRequest
            }
            Self::Store { source: Fault::InUse { .. }, .. }
            | Self::Backend(BackendError::Index(IndexError::FolderLocked { .. })) => ErrorKind::Conflict,
            Self::Store { source: Fault::DiskFull { .. }, .. } => ErrorKind::Unavailable,
            Self::Folder(_) | Self::Store { .. } | Self::CompareParts { .. } => ErrorKind::Internal,
            Self::ForgetGeneration(error) => error.kind(),
            Self::Backend(error) => error.kind(),
        }
    }
}

/// Opens or makes a data folder and starts the background tasks.
pub(crate) async fn open_embedded(
    folder: &Path,
    embedder: Embedder,
    settings: Settings,
) -> Result<Arc<Context>, OpenError> {
    let parts = Parts::open(folder, &embedder, &settings, Check::Refuse).await?;
    let context = parts.into_context(folder, embedder, settings, IndexStart::Stored).await?;
    parts::check_counts(&context, folder).await?;
    start(&context).await?;
    Ok(context)
}

/// Makes a damaged data folder whole again, as far as its parts allow; nothing else may have it open.
pub(crate) async fn repair_embedded(
    folder: &Path,
    embedder: Embedder,
    settings: Settings,
) -> Result<RepairReport, OpenError> {
    let parts = Parts::open(folder, &embedder, &settings, Check::Leave).await?;
    let repaired = repair::repair(&parts.ports, parts.partitions, &settings).await?;
    let context = parts.into_context(folder, embedder, settings, IndexStart::Anew).await?;
    maintain::snapshot(&context).await?;
    Ok(RepairReport { searchable: context.index.image_count() as u64, ..repaired })
}

/// What is done about parts that are missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    /// The folder is refused.
    Refuse,
    /// They are made anew, empty.
    Leave,
}

/// How the index begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IndexStart {
    /// As it was stored, where that can be used.
    Stored,
    /// Empty, to be filled from the image store.
    Anew,
}

/// The parts of a data folder that hold what cannot be made again.
struct Parts {
    ports: Ports,
    partitions: u32,
}

impl Parts {
    async fn open(
        folder: &Path,
        embedder: &Embedder,
        settings: &Settings,
        check: Check,
    ) -> Result<Self, OpenError> {
        check_settings(settings)?;
        let wanted = describe_wanted(embedder, settings)?;
        let path = folder.to_owned();
        let description = tokio::task::spawn_blocking(move || prepare_folder(&path, wanted)).await??;
        if check == Check::Refuse {
            parts::check_files(folder)?;
        }
        // The store's lock comes first: it keeps a second process from everything else in the folder.
        let store = EmbeddedStore::open_with(folder, StoreOptions::default())
            .await
            .map_err(|source| OpenError::Store { folder: folder.to_owned(), source })?;
        for topic in [TOPIC_IMAGE_UPLOAD, TOPIC_IMAGE_INDEXED, TOPIC_DEAD_LETTER, TOPIC_OPERATION_LOG] {
            store.create_topic(topic, description.partitions).await?;
        }
        if check == Check::Refuse {
            parts::check_catalog(folder, &store).await?;
        }
        let ports = Ports {
            store: Arc::new(store.clone()),
            queue: Arc::new(store),
            catalog: Arc::new(open_catalog(folder).await?),
            cache: Arc::new(MemoryCache::new(settings.cache_bytes)),
        };
        Ok(Self { ports, partitions: description.partitions })
    }

    /// Adds the index, which can be made again from the others, and brings it up to the log where it is too old for that.
    async fn into_context(
        self,
        folder: &Path,
        embedder: Embedder,
        settings: Settings,
        start: IndexStart,
    ) -> Result<Arc<Context>, OpenError> {
        let Self { ports, partitions } = self;
        let log = ports.queue.end_offsets(TOPIC_IMAGE_INDEXED).await?;
        let (index, rebuild) = open_index(folder.join(INDEX_FOLDER), &embedder, log, start).await?;
        let context = Arc::new(Context {
            settings,
            partitions,
            ports,
            embedder,
            index: Arc::new(index),
            locks: ImageLocks::new(),
            recognitions: SingleFlight::new(),
            training: tokio::sync::Mutex::new(()),
            trained_on: AtomicU64::new(0),
            follower: FollowerState::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            changed: watch::Sender::new(0),
        });
        train::recall_last(&context).await?;
        // A lost or restored index folder is behind what the log still has: it is filled before anyone searches.
        let first = context.ports.queue.first_offsets(TOPIC_IMAGE_INDEXED).await?;
        let applied = context.index.log_positions();
        let behind =
            first.iter().any(|(partition, first)| applied.get(partition).copied().unwrap_or(0) < *first);
        if rebuild {
            train::forget_last(&context).await?;
        }
        if rebuild || behind {
            let rebuilt = follow::rebuild(&context).await?;
            if start == IndexStart::Stored {
                parts::check_rebuilt(folder, rebuilt)?;
            }
        }
        Ok(context)
    }
}

fn check_settings(settings: &Settings) -> Result<(), OpenError> {
    let wrong = |name, value: String, range: &str| {
        Err(OpenError::CheckSetting { name, value, range: range.to_owned() })
    };
    check_partitions(settings.partitions)?;
    if settings.batch == 0 {
        return wrong("batch", settings.batch.to_string(), "at least 1");
    }
    if settings.inline_bytes > MAX_INLINE_BYTES {
        let range = format!("at most {MAX_INLINE_BYTES}");
        return wrong("inline_bytes", settings.inline_bytes.to_string(), &range);
    }
    if settings.max_results == 0 {
        return wrong("max_results", settings.max_results.to_string(), "at least 1");
    }
    let training = &settings.training;
    if !(0.0..=1.0).contains(&training.recall_gate) {
        return wrong("recall_gate", training.recall_gate.to_string(), "0 to 1");
    }
    if training.growth < 2 {
        return wrong("growth", training.growth.to_string(), "at least 2");
    }
    Ok(())
}

fn describe_wanted(embedder: &Embedder, settings: &Settings) -> Result<FolderDescription, OpenError> {
    let model = embedder.model();
    Ok(FolderDescription {
        format: FOLDER_FORMAT,
        model: model.manifest().name.clone(),
        model_digest: model.digest().to_owned(),
        partitions: check_partitions(settings.partitions)?,
    })
}

/// Opens the index; one that is damaged, or has applied more than the log has, is made anew, to be filled from the image store.
async fn open_index(
    folder: PathBuf,
    embedder: &Embedder,
    log: LogPositions,
    start: IndexStart,
) -> Result<(Index, bool), OpenError> {
    let model = embedder.model();
    let options = IndexOptions::new(model.dimension(), model.digest());
    let open = move || -> Result<(Index, bool), IndexError> {
        match Index::open(&folder, options.clone()) {
            Ok(_) if start == IndexStart::Anew => {}
            Ok(index) if !is_ahead(&index, &log) => return Ok((index, false)),
            // Dropped here, it gives its folder back.
            Ok(_) => tracing::warn!("the index is newer than the image store; it is rebuilt from the store"),
            Err(error) if error.is_damage() => {
                tracing::warn!(%error, "the index is damaged; it is rebuilt from the image store");
            }
            Err(error) => return Err(error),
        }
        Index::recreate(&folder, options).map(|index| (index, true))
    };
    Ok(tokio::task::spawn_blocking(open).await??)
}

/// Whether the index has applied changes that the log never had: the store was lost, or replaced by an older one.
fn is_ahead(index: &Index, log: &LogPositions) -> bool {
    index
        .log_positions()
        .iter()
        .any(|(partition, applied)| *applied > log.get(partition).copied().unwrap_or(0))
}

/// Starts what runs in the background.
async fn start(context: &Arc<Context>) -> Result<(), OpenError> {
    let consumer = context.ports.queue.consumer(TOPIC_IMAGE_UPLOAD, ingest::embed::GROUP).await?;
    context.tasks.spawn(ingest::embed::run(Arc::clone(context), consumer));
    context.tasks.spawn(follow::run(Arc::clone(context)));
    context.tasks.spawn(maintain::run(Arc::clone(context)));
    context.tasks.spawn(ingest::sweep::run(Arc::clone(context)));
    Ok(())
}
