//! Opening a data folder: the embedded adapters, the index, the background tasks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use medindex_backends::embedded::{
    CATALOG_FILE, EmbeddedStore, MemoryCache, STORE_FILE, StoreOptions, open_catalog,
    set_damaged_catalog_aside,
};
use medindex_backends::{CatalogError, Fault, Queue as _};
use medindex_embedding::{Embedder, Manifest};
use medindex_index::{Index, IndexError, IndexOptions, LogPositions};
use medindex_proto::names::{
    TOPIC_DEAD_LETTER, TOPIC_IMAGE_INDEXED, TOPIC_IMAGE_UPLOAD, TOPIC_OPERATION_LOG,
};

use crate::alarms::{DiskCheck, IndexLagCheck, StoreDamageCheck, UploadLagCheck};
use crate::backend_error::{BackendError, from_backend};
use crate::context::Context;
use crate::core::{Core, Ports, SettingsError, now_ms};
use crate::embedding::{Embedding, Quantizers};
use crate::error::{Classified, ErrorKind};
use crate::flight::SingleFlight;
use crate::folder::{FOLDER_FORMAT, FolderDescription, FolderError, prepare_folder};
use crate::hot_results::Caches;
use crate::ingest::embed;
use crate::ingest::sweep::Uploaders;
use crate::repair::{self, RepairReport};
use crate::searcher::Searcher;
use crate::settings::Settings;
use crate::shard::Shard;
use crate::train::TrainError;
use crate::{follow, ingest, maintain, mend, operations, parts, read_through, train};

/// Folder of the index in a data folder.
pub(crate) const INDEX_FOLDER: &str = "index";

/// Why a data folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings cannot be used.
    #[error(transparent)]
    CheckSettings(#[from] SettingsError),
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
    /// Nothing is left that a repair could begin with.
    #[error(
        "the data folder {} cannot be repaired: neither {STORE_FILE} nor {CATALOG_FILE} is there; put them back from a backup, or choose an \
         empty folder with --data and import the images again", folder.display()
    )]
    FindParts {
        /// The folder.
        folder: PathBuf,
    },
    /// Its store is damaged where a repair cannot pass it over.
    #[error(
        "{STORE_FILE} in the data folder {} is damaged beyond repair ({found}); put it back from a backup, or move it away, run \
         `medindex repair --data {}` and import the images again: they keep their ids", folder.display(), folder.display()
    )]
    Salvage {
        /// The folder.
        folder: PathBuf,
        /// What was found.
        found: String,
    },
    /// A repair ended early that had set damaged files aside.
    #[error(
        "the repair is not finished: {source}; then run it again. What was damaged is kept as {kept}; images that it could not save are \
         marked failed in the catalog, with the reason"
    )]
    FinishRepair {
        /// The files.
        kept: String,
        /// Why.
        #[source]
        source: Box<OpenError>,
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
            Self::CheckSettings(_) => ErrorKind::BadRequest,
            Self::Folder(FolderError::CheckModel { .. } | FolderError::Recognise { .. }) => {
                ErrorKind::BadRequest
            }
            Self::Store { source: Fault::InUse { .. }, .. }
            | Self::Backend(BackendError::Index(IndexError::FolderLocked { .. })) => ErrorKind::Conflict,
            Self::Store { source: Fault::DiskFull { .. }, .. } => ErrorKind::Unavailable,
            Self::Folder(_)
            | Self::Store { .. }
            | Self::CompareParts { .. }
            | Self::FindParts { .. }
            | Self::Salvage { .. } => ErrorKind::Internal,
            Self::FinishRepair { source, .. } => source.kind(),
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
    let Opened { core, store } =
        open_core(folder, &embedder, settings, Check::Refuse, &mut SetAside::default()).await?;
    let shard = with_cure(open_shard(core, folder, IndexStart::Stored).await, folder)?;
    with_cure(parts::check_images(&shard, folder).await, folder)?;
    start(&shard, Arc::new(embedder.clone()), folder, store).await?;
    Ok(Arc::new(Context {
        core: Arc::clone(&shard.core),
        embedding: Arc::new(embedder),
        searcher: Arc::clone(&shard) as Arc<dyn Searcher>,
        recognitions: SingleFlight::new(),
        direct: None,
        caches: Caches::default(),
        shard: Some(shard),
        was_complete: AtomicBool::new(true),
    }))
}

/// Makes a damaged data folder whole again, as far as its parts allow; nothing else may have it open.
pub(crate) async fn repair_embedded(
    folder: &Path,
    embedder: &Embedder,
    settings: Settings,
) -> Result<RepairReport, OpenError> {
    let mut aside = SetAside::default();
    match repair_parts(folder, embedder, settings, &mut aside).await {
        Ok(report) => {
            Ok(RepairReport { catalog_set_aside: aside.catalog, store_set_aside: aside.store, ..report })
        }
        Err(error) => {
            let error = beyond_repair(error, folder);
            let kept: Vec<String> = [aside.store, aside.catalog]
                .iter()
                .flatten()
                .map(|path| path.display().to_string())
                .collect();
            if kept.is_empty() {
                return Err(error);
            }
            Err(OpenError::FinishRepair { kept: kept.join(" and "), source: Box::new(error) })
        }
    }
}

fn beyond_repair(error: OpenError, folder: &Path) -> OpenError {
    match &error {
        OpenError::Backend(backend) => match (backend, backend.fault()) {
            (BackendError::Store(_) | BackendError::Queue(_), Some(Fault::Corrupted { source, .. })) => {
                OpenError::Salvage { folder: folder.to_owned(), found: source.to_string() }
            }
            _ => error,
        },
        _ => error,
    }
}

async fn repair_parts(
    folder: &Path,
    embedder: &Embedder,
    settings: Settings,
    aside: &mut SetAside,
) -> Result<RepairReport, OpenError> {
    parts::check_left(folder)?;
    let Opened { core, .. } = open_core(folder, embedder, settings, Check::Leave, aside).await?;
    // An index that cannot be written is met here, before the catalog is told what is lost.
    open_index(folder.join(INDEX_FOLDER), &core, LogPositions::new(), IndexStart::Anew).await?;
    // Deletions that were recorded and not yet written to the catalog count.
    operations::drain(&core).await?;
    let repaired = repair::repair(&core).await?;
    let shard = open_shard(core, folder, IndexStart::Anew).await?;
    maintain::snapshot(&shard).await?;
    shard.ports.catalog.close().await;
    Ok(RepairReport { searchable: shard.index.image_count() as u64, ..repaired })
}

/// Damage of what a repair can make again or pass over is told with that cure, and not as the damage of a server would be.
fn with_cure<T>(outcome: Result<T, OpenError>, folder: &Path) -> Result<T, OpenError> {
    outcome.map_err(|error| match &error {
        OpenError::Backend(BackendError::Catalog(found @ CatalogError::Decode { .. })) => {
            parts::refuse(folder, format!("{CATALOG_FILE} cannot be read ({found})"))
        }
        OpenError::Backend(backend @ (BackendError::Catalog(_) | BackendError::Store(_))) => {
            match (backend, backend.fault()) {
                (BackendError::Catalog(_), Some(Fault::Corrupted { source, .. })) => {
                    parts::refuse(folder, format!("{CATALOG_FILE} cannot be read ({source})"))
                }
                (_, Some(Fault::Corrupted { source, .. })) => {
                    parts::refuse(folder, format!("{STORE_FILE} cannot be read whole ({source})"))
                }
                _ => error,
            }
        }
        _ => error,
    })
}

/// What is done about parts that are missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    /// The folder is refused.
    Refuse,
    /// They are made anew, empty; those that are damaged are set aside first.
    Leave,
}

/// Where damaged parts are kept since a repair began.
#[derive(Default)]
struct SetAside {
    store: Option<PathBuf>,
    catalog: Option<PathBuf>,
}

/// The parts of a data folder that hold what cannot be made again, open.
struct Opened {
    core: Arc<Core>,
    store: EmbeddedStore,
}

/// How the index begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IndexStart {
    /// As it was stored, where that can be used.
    Stored,
    /// Empty, to be filled from the image store.
    Anew,
}

/// Opens the parts of a data folder that hold what cannot be made again.
async fn open_core(
    folder: &Path,
    embedder: &Embedder,
    settings: Settings,
    check: Check,
    aside: &mut SetAside,
) -> Result<Opened, OpenError> {
    let model = embedder.model().manifest().clone();
    let wanted = describe_wanted(&model, &settings);
    let path = folder.to_owned();
    let description = tokio::task::spawn_blocking(move || prepare_folder(&path, wanted)).await??;
    if check == Check::Refuse {
        parts::check_files(folder)?;
    }
    // The store's lock comes first: it keeps a second process from everything else in the folder.
    if check == Check::Leave {
        salvage_store(folder, aside).await?;
    }
    let store = open_store(folder, check).await?;
    for topic in [TOPIC_IMAGE_UPLOAD, TOPIC_IMAGE_INDEXED, TOPIC_DEAD_LETTER, TOPIC_OPERATION_LOG] {
        store.create_topic(topic, description.partitions).await?;
        if check == Check::Leave {
            let restored = store.restore_offsets(topic).await.map_err(|source| no_store(folder, source))?;
            if restored > 0 {
                tracing::warn!(topic, restored, "offsets of partitions were lost and are written again");
            }
        }
    }
    if check == Check::Leave {
        let passed = store.pass_lost(TOPIC_IMAGE_UPLOAD, embed::GROUP).await;
        let passed = passed.map_err(|source| no_store(folder, source))?;
        if passed > 0 {
            tracing::warn!(passed, "uploads at the ends of partitions were lost and are not waited for");
        }
    }
    match check {
        Check::Refuse => parts::check_catalog(folder, &store).await?,
        Check::Leave => aside.catalog = set_damaged_catalog_aside(folder).await?.or(aside.catalog.take()),
    }
    let catalog = with_cure(open_catalog(folder).await.map_err(OpenError::from), folder)?;
    let ports = Ports {
        store: Arc::new(store.clone()),
        queue: Arc::new(store.clone()),
        catalog: Arc::new(catalog),
        cache: Arc::new(MemoryCache::new(settings.cache_bytes)),
    };
    Ok(Opened { core: Core::new(settings, description.partitions, ports, model)?, store })
}

/// Moves what can be read of a damaged store to a new file: a repair has to write, also where it cannot read.
async fn salvage_store(folder: &Path, aside: &mut SetAside) -> Result<(), OpenError> {
    let refused = |source| no_store(folder, source);
    let options = StoreOptions::default;
    let Some(damage) = EmbeddedStore::find_damage(folder, options()).await.map_err(refused)? else {
        return Ok(());
    };
    tracing::warn!(damage, "the store is damaged; what can be read of it is saved in a new one");
    aside.catalog = set_damaged_catalog_aside(folder).await?;
    let catalog = open_catalog(folder).await?;
    let known = repair::known_rows(&catalog).await?;
    catalog.close().await;
    let salvaged = EmbeddedStore::salvage(folder, options(), known).await.map_err(refused)?;
    tracing::warn!(?salvaged, "the damaged store is kept under another name");
    aside.store = Some(salvaged.kept);
    Ok(())
}

async fn open_store(folder: &Path, check: Check) -> Result<EmbeddedStore, OpenError> {
    match EmbeddedStore::open(folder).await {
        Err(Fault::Corrupted { source, .. }) if check == Check::Refuse => {
            Err(parts::refuse(folder, format!("{STORE_FILE} cannot be opened ({source})")))
        }
        outcome => outcome.map_err(|source| no_store(folder, source)),
    }
}

fn no_store(folder: &Path, source: Fault) -> OpenError {
    OpenError::Store { folder: folder.to_owned(), source }
}

/// Opens the index, which can be made again from the rest, and brings it up to the log where it is too old for that.
async fn open_shard(core: Arc<Core>, folder: &Path, start: IndexStart) -> Result<Arc<Shard>, OpenError> {
    let log = core.ports.queue.end_offsets(TOPIC_IMAGE_INDEXED).await?;
    let (index, rebuild) = open_index(folder.join(INDEX_FOLDER), &core, log, start).await?;
    let held = (0..core.partitions).collect();
    let shard = Shard::new(core, held, true, index, None);
    train::recall_last(&shard).await?;
    // A lost or restored index folder is behind what the log still has: it is filled before anyone searches.
    let first = shard.ports.queue.first_offsets(TOPIC_IMAGE_INDEXED).await?;
    let behind = follow::lag_of(&first, &shard.held, &shard.index.log_positions()) > 0;
    if rebuild {
        train::forget_last(&shard).await?;
    }
    if rebuild || behind {
        let rebuilt = follow::rebuild(&shard).await?;
        if start == IndexStart::Stored {
            parts::check_rebuilt(folder, rebuilt)?;
        }
    }
    Ok(shard)
}

fn describe_wanted(model: &Manifest, settings: &Settings) -> FolderDescription {
    FolderDescription {
        format: FOLDER_FORMAT,
        model: model.name.clone(),
        model_digest: model.digest(),
        partitions: settings.partitions,
    }
}

/// Opens the index; one that is damaged, or has applied more than the log has, is made anew, to be filled from the image store.
async fn open_index(
    folder: PathBuf,
    core: &Core,
    log: LogPositions,
    start: IndexStart,
) -> Result<(Index, bool), OpenError> {
    let options = IndexOptions::new(core.model().embedding.dimension, core.model_digest());
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
async fn start(
    shard: &Arc<Shard>,
    embedding: Arc<dyn Embedding>,
    folder: &Path,
    store: EmbeddedStore,
) -> Result<(), OpenError> {
    // Before the folder is given to anyone who could upload.
    let began_ms = now_ms();
    let core = Arc::clone(&shard.core);
    let quantizers = Arc::clone(shard) as Arc<dyn Quantizers>;
    embed::EmbedWorker { core: Arc::clone(&core), embedding, quantizers }.start().await?;
    core.tasks.spawn(follow::run(Arc::clone(shard)));
    core.tasks.spawn(maintain::run(Arc::clone(shard)));
    core.tasks.spawn(mend::run(Arc::clone(shard)));
    core.tasks.spawn(read_through::run(Arc::clone(&core)));
    core.tasks.spawn(ingest::sweep::run(Arc::clone(&core), Uploaders::Here(began_ms)));
    core.tasks.spawn(operations::consume(Arc::clone(&core)));
    core.add_check(UploadLagCheck::new(&core.settings));
    core.add_check(IndexLagCheck::new(shard));
    core.add_check(DiskCheck::new(folder));
    core.add_check(StoreDamageCheck::new(store));
    core.watch();
    Ok(())
}
