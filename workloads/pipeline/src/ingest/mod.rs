//! From a file to a searchable image: accepted by [`accept`], embedded by [`embed`], sent again by [`sweep`].
//!
//! Guarantees: an upload that was acknowledged is durable and becomes searchable or failed with a reason, whichever
//! moment the process dies at; the same bytes are stored and indexed once in an organisation.

pub(crate) mod accept;
pub(crate) mod direct;
pub(crate) mod embed;
pub(crate) mod error;
pub(crate) mod import;
pub(crate) mod label;
pub(crate) mod prepare;
pub(crate) mod sweep;

pub use accept::Upload;
pub use direct::DirectOptions;
pub use embed::{EmbedWorker, lag as upload_lag};
pub use error::IngestError;
pub use import::{
    ImportError, ImportFailure, ImportItem, ImportProgress, ImportSummary, ProgressCallback, ReadItemError,
};
pub use label::LabelError;
