//! The image store: one row an image, and named blobs.
//!
//! A row holds the file's bytes and the image's information (vectors, codes, generation, meta). Rows of one
//! partition lie together in the order of their keys, so a search shard scans what it serves and nothing else.
//! Blobs are codebooks and published index segments.
//!
//! Guarantees
//! - A put that returned is durable, and seen by every get and scan that begins later.
//! - Puts are idempotent: the same put again changes nothing. A put replaces the parts that it carries (bytes,
//!   information) whole and leaves the others as they are; readers see a part old or new, never mixed.
//! - Deletes are idempotent: deleting what is not there succeeds.
//! - Scans run in key order. Each page is consistent; rows written between two pages may or may not be seen,
//!   rows that were there all the time are seen exactly once.
//!
//! Assumptions: callers put at most one value for one row at a time (rows of an image have one writer, its
//! partition's consumer); batches hold what fits in memory.
//!
//! Failure modes: see [`ImageStoreError`]. A batch that failed may be in the store in part; put it again.

use std::ops::BitOr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use half::f16;
use medindex_proto::RowKey;
use thiserror::Error;

use crate::fault::Fault;

/// Most bytes of a blob's name.
pub const MAX_BLOB_NAME_BYTES: usize = 512;

/// Why an action on the image store failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImageStoreError {
    /// The store could not be opened.
    #[error("opening the image store failed: {0}")]
    Open(#[source] Fault),
    /// Rows could not be written.
    #[error("writing {rows} rows to the image store failed: {source}")]
    PutRows {
        /// Rows in the batch.
        rows: usize,
        /// Why.
        #[source]
        source: Fault,
    },
    /// Rows could not be read.
    #[error("reading {rows} rows of the image store failed: {source}")]
    GetRows {
        /// Rows asked for.
        rows: usize,
        /// Why.
        #[source]
        source: Fault,
    },
    /// Rows could not be deleted.
    #[error("deleting {rows} rows of the image store failed: {source}")]
    DeleteRows {
        /// Rows in the batch.
        rows: usize,
        /// Why.
        #[source]
        source: Fault,
    },
    /// A partition could not be scanned.
    #[error("scanning partition {partition} of the image store failed: {source}")]
    ScanRows {
        /// The partition.
        partition: u32,
        /// Why.
        #[source]
        source: Fault,
    },
    /// A row's cells contradict each other.
    #[error("row {row} of the image store cannot be put together: {reason}; import the image again")]
    JoinCells {
        /// The row.
        row: RowKey,
        /// What is wrong.
        reason: String,
    },
    /// The information given cannot be stored.
    #[error("information of row {row} cannot be stored: {reason}")]
    SplitCells {
        /// The row.
        row: RowKey,
        /// What is wrong.
        reason: String,
    },
    /// A blob could not be written.
    #[error("writing blob {name} failed: {source}")]
    PutBlob {
        /// The blob.
        name: String,
        /// Why.
        #[source]
        source: Fault,
    },
    /// A blob could not be read.
    #[error("reading blob {name} failed: {source}")]
    GetBlob {
        /// The blob.
        name: String,
        /// Why.
        #[source]
        source: Fault,
    },
    /// A blob could not be deleted.
    #[error("deleting blob {name} failed: {source}")]
    DeleteBlob {
        /// The blob.
        name: String,
        /// Why.
        #[source]
        source: Fault,
    },
    /// Blobs could not be listed.
    #[error("listing blobs {prefix:?}* failed: {source}")]
    ListBlobs {
        /// The prefix.
        prefix: String,
        /// Why.
        #[source]
        source: Fault,
    },
    /// A blob's name cannot be used.
    #[error(
        "{name:?} is no name for a blob: use 1 to {MAX_BLOB_NAME_BYTES} bytes of letters, digits and -_./"
    )]
    CheckBlobName {
        /// The name, cut to a readable length.
        name: String,
    },
}

impl ImageStoreError {
    /// Why it failed underneath, if the backend was the cause.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Open(fault) => Some(fault),
            Self::PutRows { source, .. }
            | Self::GetRows { source, .. }
            | Self::DeleteRows { source, .. }
            | Self::ScanRows { source, .. }
            | Self::PutBlob { source, .. }
            | Self::GetBlob { source, .. }
            | Self::DeleteBlob { source, .. }
            | Self::ListBlobs { source, .. } => Some(source),
            Self::JoinCells { .. } | Self::SplitCells { .. } | Self::CheckBlobName { .. } => None,
        }
    }
}

/// Result of an action on the image store.
pub type Result<T, E = ImageStoreError> = std::result::Result<T, E>;

/// Which parts of a row to read: a set, joined with `|`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Columns(u8);

impl Columns {
    /// The file's bytes.
    pub const BYTES: Self = Self(1);
    /// Embeddings of the frames.
    pub const VECTORS: Self = Self(2);
    /// Codes of the frames.
    pub const CODES: Self = Self(4);
    /// Further information: as JSON, and what SQL can select by.
    pub const META: Self = Self(8);
    /// Everything but the file's bytes.
    pub const INFORMATION: Self = Self(2 | 4 | 8);
    /// The whole row.
    pub const ALL: Self = Self(1 | 2 | 4 | 8);

    /// Whether every column of `other` is in this set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any column of `other` is in this set.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Columns {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One row of the store, or the parts of it that were written or asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageRow {
    /// The image file. In a put, `None` leaves what is stored; in a get, `None` was not asked for or not there.
    pub bytes: Option<Bytes>,
    /// The image's information, with the same meaning of `None`.
    pub information: Option<ImageInformation>,
}

/// What is known of an embedded image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageInformation {
    /// Quantizer generation of the codes; 0 before the first training.
    pub generation: u64,
    /// The embedded frames, in ascending order of their numbers. All vectors have one length, all codes have
    /// one length; both may be empty. What was not asked for ([`Columns`]) is empty.
    pub frames: Vec<FrameVector>,
    /// Further information as JSON text; its shape belongs to the pipeline. Empty if not asked for.
    pub meta_json: String,
    /// What SQL can select by, each in a column of its own; read together with `meta_json`.
    pub facts: ImageFacts,
}

/// What is known of an image in columns that other programs can select by, such as SQL over `HBase`. A row that was written before
/// there were such columns has none: all empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// Kind of image, such as "CT"; this and every other text is empty where it is not known.
    pub image_type: String,
    /// DICOM modality.
    pub modality: String,
    /// Body part examined.
    pub body_part: String,
    /// Label.
    pub label: String,
    /// Organisation that owns it.
    pub organisation: String,
    /// Name of the file at upload.
    pub name: String,
    /// Format of the file, such as "DICOM".
    pub format: String,
    /// When it was accepted, milliseconds since 1970 UTC; 0 where it is not known.
    pub received_ms: u64,
}

/// One embedded frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FrameVector {
    /// Number of the frame in the file, from 0.
    pub frame: u32,
    /// L2-normalised embedding.
    pub vector: Vec<f16>,
    /// Product-quantizer code; empty before the first training.
    pub code: Vec<u8>,
}

/// A stored blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Rows and blobs. See the module for the guarantees.
#[async_trait]
pub trait ImageStore: Send + Sync {
    /// Writes one row, or the parts of it that are given.
    async fn put(&self, row: RowKey, values: ImageRow) -> Result<()> {
        self.put_many(vec![(row, values)]).await
    }

    /// Writes several rows; all are durable on return.
    async fn put_many(&self, rows: Vec<(RowKey, ImageRow)>) -> Result<()>;

    /// Reads one row; `None` if nothing of it is stored in the columns asked for.
    async fn get(&self, row: &RowKey, columns: Columns) -> Result<Option<ImageRow>> {
        Ok(self.get_many(std::slice::from_ref(row), columns).await?.pop().flatten())
    }

    /// Reads several rows, in the order asked for.
    async fn get_many(&self, rows: &[RowKey], columns: Columns) -> Result<Vec<Option<ImageRow>>>;

    /// Deletes one row whole.
    async fn delete(&self, row: &RowKey) -> Result<()> {
        self.delete_many(std::slice::from_ref(row)).await
    }

    /// Deletes several rows whole.
    async fn delete_many(&self, rows: &[RowKey]) -> Result<()>;

    /// Reads up to `limit` rows of a partition in key order, those after `after`, that have any of the columns.
    ///
    /// The next page begins after the last row returned; a page shorter than `limit` is the last.
    async fn scan(
        &self,
        partition: u32,
        columns: Columns,
        after: Option<&RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, ImageRow)>>;

    /// Keys of up to `limit` rows of a partition in their order, those after `after`. Where a store can, it reads no value: then a
    /// row with damaged values keeps no other back.
    async fn keys(&self, partition: u32, after: Option<&RowKey>, limit: usize) -> Result<Vec<RowKey>> {
        let rows = self.scan(partition, Columns::META, after, limit).await?;
        Ok(rows.into_iter().map(|(row, _)| row).collect())
    }

    /// Writes a blob whole, replacing one of the same name; readers see the old or the new, never a mixture.
    async fn put_blob(&self, name: &str, bytes: Bytes) -> Result<()>;

    /// Reads a blob whole.
    async fn get_blob(&self, name: &str) -> Result<Option<Bytes>>;

    /// Reads up to `length` bytes of a blob from `offset`: fewer, or none, where it ends before.
    async fn get_blob_range(&self, name: &str, offset: u64, length: usize) -> Result<Option<Bytes>>;

    /// Deletes a blob; one that is not there is no error.
    async fn delete_blob(&self, name: &str) -> Result<()>;

    /// Blobs whose names begin with `prefix`, by name.
    async fn list_blobs(&self, prefix: &str) -> Result<Vec<BlobInfo>>;

    /// Deletes what crashed writers of blobs left behind, if it is older than `age`, which must be longer than the longest put of a blob;
    /// how many pieces. Worth doing once a day. Nothing is left behind by a store whose puts of blobs are transactions.
    async fn sweep_blobs(&self, _age: Duration) -> Result<usize> {
        Ok(0)
    }
}

/// Checks a blob's name.
///
/// # Errors
/// [`ImageStoreError::CheckBlobName`].
pub fn check_blob_name(name: &str) -> Result<()> {
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if (1..=MAX_BLOB_NAME_BYTES).contains(&name.len()) && name.bytes().all(usable) {
        Ok(())
    } else {
        Err(ImageStoreError::CheckBlobName { name: name.chars().take(64).collect() })
    }
}
