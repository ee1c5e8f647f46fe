//! Failures of the ports and of the index, as every flow may meet them.

use std::sync::Arc;

use medindex_backends::{CacheError, CatalogError, Fault, ImageStoreError, QueueError};
use medindex_index::IndexError;
use medindex_proto::MessageError;

use crate::error::{Classified, ErrorKind};
use crate::memory::MemoryError;
use crate::searcher::ShardError;

/// A backend or the index could not do its part.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The image store.
    #[error(transparent)]
    Store(#[from] ImageStoreError),
    /// The queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The search shards.
    #[error(transparent)]
    Shards(#[from] ShardError),
    /// The index fails again and again to follow the change log.
    #[error("the index does not follow the change log: {0}")]
    Follow(#[source] Arc<BackendError>),
    /// A shard has no memory for more.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A message could not be written.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A computation was stopped half-way: the process is shutting down, or the computation had a fault.
    #[error("a computation was stopped half-way ({0}); try again, and report it if it comes back")]
    Compute(#[from] tokio::task::JoinError),
}

impl BackendError {
    /// Why it failed underneath, when a backend says so.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Store(error) => error.fault(),
            Self::Queue(error) => error.fault(),
            Self::Catalog(error) => error.fault(),
            Self::Follow(error) => error.fault(),
            _ => None,
        }
    }
}

impl Classified for BackendError {
    fn kind(&self) -> ErrorKind {
        match self {
            // A text of the file's header, or its name.
            Self::Catalog(CatalogError::TooLong { .. }) => ErrorKind::Unprocessable,
            Self::Follow(error) => error.kind(),
            Self::Index(IndexError::InvalidRequest { .. }) | Self::Shards(ShardError::Refuse { .. }) => {
                ErrorKind::BadRequest
            }
            Self::Index(IndexError::Write { .. })
            | Self::Shards(ShardError::Ask { .. })
            | Self::Memory(_) => ErrorKind::Unavailable,
            other => match other.fault() {
                Some(Fault::DiskFull { .. } | Fault::Unavailable { .. } | Fault::Closed { .. }) => {
                    ErrorKind::Unavailable
                }
                Some(Fault::InUse { .. }) => ErrorKind::Conflict,
                _ => ErrorKind::Internal,
            },
        }
    }
}

/// Lets the errors of ports and index turn into a flow's error by `?`, through its `Backend` variant.
macro_rules! from_backend {
    ($error:ty => $($source:ty),+ $(,)?) => {
        $(impl From<$source> for $error {
            fn from(error: $source) -> Self {
                Self::Backend(error.into())
            }
        })+
    };
    ($error:ty) => {
        $crate::backend_error::from_backend!($error =>
            $crate::backend_error::BackendError,
            medindex_backends::ImageStoreError,
            medindex_backends::QueueError,
            medindex_backends::CatalogError,
            medindex_backends::CacheError,
            medindex_index::IndexError,
            medindex_proto::MessageError,
            tokio::task::JoinError,
        );
    };
}
pub(crate) use from_backend;
