//! The flows: ingest, search, recognise, train, delete, written once over the ports.
//!
//! [`Pipeline`] is what gateway, importer and command line call; its background tasks embed, follow the change log, keep the
//! index in shape and send again what got stuck. The same code runs in one process over the embedded adapters and on a cluster.
//!
//! Guarantees: an acknowledged upload is durable and becomes searchable or failed with a reason; a deleted image is in no later
//! answer; every error says what is wrong, what to do, and its [`ErrorKind`]. Assumes one pipeline a data folder.

mod alarms;
mod backend_error;
mod catalog_row;
mod change;
mod clock;
mod context;
mod core;
mod dead_letter;
mod decode_memory;
mod delete;
mod description;
mod digest;
mod embedding;
mod error;
mod flight;
mod folder;
mod follow;
mod generations;
mod hot_results;
mod ingest;
mod locks;
mod maintain;
mod memory;
mod mend;
mod open;
mod operations;
mod parts;
mod pipeline;
mod previews;
mod published_segments;
mod published_training;
mod read;
mod read_through;
mod recognise;
mod repair;
mod report;
mod retry;
mod row_meta;
mod salvage;
mod search;
mod searcher;
mod settings;
mod shard;
mod shard_open;
mod sidecar;
mod status;
mod stray;
mod tasks;
pub mod trace;
mod train;

pub use self::core::{Core, Ports, SettingsError};
pub use alarms::{
    ALARM_KINDS, AlarmCheck, AlarmKind, DiskCheck, Finding, MemoryCheck, RaisedAlarm, Severity,
};
pub use backend_error::BackendError;
pub use delete::DeleteError;
pub use description::{DescriptionError, IndexDescription, await_description, register_model};
pub use embedding::{Embedding, EmbeddingError, Quantizers};
pub use error::{Classified, ErrorKind};
pub use folder::{FOLDER_FILE, FOLDER_FORMAT, FolderDescription, FolderError, describe_folder};
pub use generations::{GenerationError, GenerationPointer, NotTheOneBefore, PublishedQuantizer};
pub use hot_results::CacheCounts;
pub use ingest::{
    DirectOptions, EmbedWorker, ImportError, ImportFailure, ImportItem, ImportProgress, ImportSummary,
    IngestError, LabelError, ProgressCallback, ReadItemError, Upload, upload_lag,
};
pub use medindex_imaging::{Region, WindowChoice};
pub use medindex_index::{Filter, GroupBy};
pub use medindex_proto::identity::ImageId;
pub use memory::{MemoryError, MemoryPressure};
pub use open::OpenError;
pub use operations::{
    ACTIONS, Action, ActionDescription, OperationEntry, OperationLogCounts, OperationPage, OperationRequest,
};
pub use pipeline::Pipeline;
pub use published_segments::LoadSource;
pub use published_training::train_and_publish;
pub use read::{ImagePage, ListRequest, MAX_LIST, MAX_PREVIEW_EDGE, PreviewRequest, ReadError, StoredVector};
pub use recognise::RecogniseError;
pub use repair::{LostImage, RepairReport};
pub use report::{
    Accepted, Alarm, ClassScore, Deleted, INTENDED_USE, ImageCounts, ImageDetails, ImageStatus, LabelOutcome,
    NamedCount, Recognition, Status, TrainingReport,
};
pub use search::{
    ExplainReport, FILTER_FIELDS, FilterError, Hit, Query, QueryDescription, SearchError, SearchRequest,
    SearchResponse, all_of, parse_filter,
};
pub use searcher::{Found, Searcher, ShardError};
pub use settings::{DECODE_MEMORY, SearchableFrames, Settings, TrainingPolicy};
pub use shard::{Loaded, Shard};
pub use shard_open::ShardOptions;
pub use sidecar::{MarkedRegion, Sidecar};
pub use train::{FEWEST_IMAGES, TrainError, TrainingStage};
