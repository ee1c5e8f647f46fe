//! The index: one search shard in one folder.

mod error;
mod options;
mod status;

use std::path::Path;

use crate::entry::{Change, LogPositions};
use crate::search::{SearchRequest, SearchResponse};

pub use error::IndexError;
pub use options::IndexOptions;
pub use status::IndexStatus;

/// One search shard in one folder.
#[derive(Debug)]
pub struct Index {}

/// How well the index approximates exact search.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Recall {
    /// Queries measured.
    pub queries: usize,
    /// Hits compared for each query.
    pub k: usize,
    /// Share of the exact hits that the index returned, 0 to 1; ties at the k-th distance count as found.
    pub recall: f64,
}

/// What [`Index::maintain`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Maintenance {
    /// Tail rows frozen into segments.
    pub frozen_rows: usize,
    /// Segments merged or rewritten.
    pub merged_segments: usize,
    /// Segments given inverted lists of the active generation.
    pub listed_segments: usize,
}

#[expect(clippy::todo, clippy::unused_self, missing_docs, clippy::missing_errors_doc)]
impl Index {
    pub fn open(_folder: &Path, _options: IndexOptions) -> Result<Self, IndexError> {
        todo!()
    }
    pub fn recreate(_folder: &Path, _options: IndexOptions) -> Result<Self, IndexError> {
        todo!()
    }
    pub fn apply(&self, _changes: &[Change], _positions: &LogPositions) -> Result<(), IndexError> {
        todo!()
    }
    pub fn log_positions(&self) -> LogPositions {
        todo!()
    }
    pub fn search(&self, _request: &SearchRequest) -> Result<SearchResponse, IndexError> {
        todo!()
    }
    pub fn search_batch(&self, _requests: &[SearchRequest]) -> Result<Vec<SearchResponse>, IndexError> {
        todo!()
    }
    pub fn vectors_of(&self, _id: [u8; 16]) -> Vec<crate::entry::Entry> {
        todo!()
    }
    pub fn maintain(&self) -> Result<Maintenance, IndexError> {
        todo!()
    }
    pub fn snapshot(&self) -> Result<LogPositions, IndexError> {
        todo!()
    }
    pub fn measure_recall(&self, _queries: &[SearchRequest]) -> Result<Recall, IndexError> {
        todo!()
    }
    pub fn verify(&self) -> Result<(), IndexError> {
        todo!()
    }
    pub fn status(&self) -> IndexStatus {
        todo!()
    }
}
