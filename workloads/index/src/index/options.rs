//! Settings of an index.

/// Settings of an index. Build with [`IndexOptions::new`] and set the other fields by struct update.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexOptions {
    /// Components of every embedding, 1 to 65,536. An index that exists with another dimension is refused.
    pub dimension: usize,
    /// Names the model that made the embeddings (its digest). An index of another model is refused: vectors of
    /// two models never mix.
    pub model: String,
    /// Rows in the append tail above which [`crate::Index::maintain`] freezes it into a segment.
    pub tail_rows: usize,
    /// How many segments of similar size are merged into one, at least 2.
    pub merge_segments: usize,
    /// A segment with more than this share of removed rows is rewritten, 0 to 1.
    pub rewrite_share: f32,
    /// The most rows a merged segment may have.
    pub segment_rows: usize,
    /// Bytes of stored vectors up to which opening compares their checksums too. They are most of the data: reading them all takes
    /// as long as the disk needs. Those of a larger index are compared by [`crate::Index::damaged`]. All other data always is.
    pub verify_vectors_up_to: u64,
}

impl IndexOptions {
    /// Default settings for embeddings of `dimension` components of the model named `model`.
    pub fn new(dimension: usize, model: impl Into<String>) -> Self {
        Self {
            dimension,
            model: model.into(),
            tail_rows: 4_096,
            merge_segments: 8,
            rewrite_share: 0.2,
            segment_rows: 16_000_000,
            // A tenth of a second where the disk is slow, and a quarter of a million vectors of 512 components.
            verify_vectors_up_to: 256 << 20,
        }
    }
}
