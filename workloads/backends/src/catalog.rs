//! The catalog: what a database answers about images, operations and alarms.
//!
//! Guarantees
//! - A write that returned is durable. Each method is atomic: it happens whole or not at all, also a batch.
//! - The same bytes (SHA-256) are in an organisation once, however many offer them at the same time.
//! - Marks are idempotent and never go backwards past a deletion: an image that is being deleted stays so, and
//!   marks for images that are not there are ignored, because a replayed message may outlive its image.
//! - Text is stored as given or refused ([`CatalogError::TooLong`]), never cut.
//!
//! Assumptions: clocks of the processes agree to within seconds (lists are ordered by the writers' times).
//!
//! Failure modes: see [`CatalogError`].

use async_trait::async_trait;
use medindex_proto::ImageId;
use thiserror::Error;

use crate::fault::Fault;

pub mod records;

pub use records::{
    Acceptance, Alarm, Cursor, FailedImage, ImageCounts, ImageDescription, ImageFilter, ImageRecord,
    ImageStatus, IndexedImage, ListOrder, MAX_LONG_TEXT, MAX_SHORT_TEXT, NewImage, Operation,
    OperationFilter, Page,
};

/// Most items of one page or batch read; a larger page is cut to it.
pub const MAX_PAGE: usize = 10_000;

/// Why an action on the catalog failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The catalog could not be opened.
    #[error("opening the catalog failed: {0}")]
    Open(#[source] Fault),
    /// Tables could not be brought to this release's schema.
    #[error("migrating the catalog failed: {0}")]
    Migrate(#[source] Fault),
    /// Records could not be read.
    #[error("reading {what} from the catalog failed: {source}")]
    Read {
        /// What was read.
        what: &'static str,
        /// Why.
        #[source]
        source: Fault,
    },
    /// Records could not be written.
    #[error("writing {what} to the catalog failed: {source}")]
    Write {
        /// What was written.
        what: &'static str,
        /// Why.
        #[source]
        source: Fault,
    },
    /// A text is longer than its column.
    #[error("{field} has {characters} characters, the limit is {limit}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length.
        characters: usize,
        /// The limit.
        limit: usize,
    },
    /// A record holds what this release cannot read.
    #[error(
        "the catalog holds a {field} that cannot be read: {value:?}; it was changed by hand or by a later release"
    )]
    Decode {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
    },
    /// An id was offered for other bytes than it has.
    #[error("image id {0} is taken by other bytes: offer the image with a new id")]
    IdTaken(ImageId),
}

impl CatalogError {
    /// Why it failed underneath, if the backend was the cause.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Open(fault) | Self::Migrate(fault) => Some(fault),
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            Self::TooLong { .. } | Self::Decode { .. } | Self::IdTaken(_) => None,
        }
    }
}

/// Result of an action on the catalog.
pub type Result<T, E = CatalogError> = std::result::Result<T, E>;

/// Image records, operation log, alarms, settings. See the module for the guarantees.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// Offers one image; see [`Acceptance`].
    async fn accept_image(&self, image: NewImage) -> Result<Acceptance> {
        let accepted = self.accept_images(vec![image]).await?;
        accepted.first().copied().ok_or_else(|| CatalogError::Write {
            what: "an image",
            source: Fault::Failed { place: "catalog".into(), source: "the adapter gave no answer".into() },
        })
    }

    /// Offers several images; answers in their order. Of equal bytes in one batch the first is new, the others
    /// are its duplicates.
    async fn accept_images(&self, images: Vec<NewImage>) -> Result<Vec<Acceptance>>;

    /// Marks images searchable. Those not there or being deleted are left alone.
    async fn mark_indexed(&self, images: Vec<IndexedImage>) -> Result<()>;

    /// Marks images failed, with the reason. Those not there or being deleted are left alone.
    async fn mark_failed(&self, images: Vec<FailedImage>) -> Result<()>;

    /// Labels images that have no label; others, those not there and those being deleted are left alone.
    async fn set_labels(&self, labels: Vec<(ImageId, String)>) -> Result<()>;

    /// Marks images as being deleted; returns those that are there.
    async fn mark_deleting(&self, ids: &[ImageId]) -> Result<Vec<ImageId>>;

    /// Removes the records of images; returns how many were there.
    async fn delete_images(&self, ids: &[ImageId]) -> Result<u64>;

    /// The record of an image.
    async fn image(&self, id: &ImageId) -> Result<Option<ImageRecord>> {
        Ok(self.images(std::slice::from_ref(id)).await?.pop().flatten())
    }

    /// The records of several images, in the order asked for.
    async fn images(&self, ids: &[ImageId]) -> Result<Vec<Option<ImageRecord>>>;

    /// A page of records: those after `after`, at most `limit` (1 to [`MAX_PAGE`]).
    async fn list_images(
        &self,
        filter: &ImageFilter,
        order: ListOrder,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<ImageRecord>>;

    /// Ids of all images of a patient, of one organisation or of all.
    async fn ids_of_patient(&self, patient_id: &str, organisation: Option<&str>) -> Result<Vec<ImageId>>;

    /// Up to `limit` records that are `received` since before `before_ms`, oldest first: what a sweeper sends again.
    async fn stale_received(&self, before_ms: i64, limit: usize) -> Result<Vec<ImageRecord>>;

    /// How many images there are.
    async fn counts(&self) -> Result<ImageCounts>;

    /// Appends to the operation log; operations that are there already (by id) are left as they are.
    async fn append_operations(&self, operations: Vec<Operation>) -> Result<()>;

    /// A page of the operation log, latest first.
    async fn list_operations(
        &self,
        filter: &OperationFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<Operation>>;

    /// Raises an alarm; returns whether it is new. One that is open for the same kind and subject keeps its time,
    /// takes the new detail, and is seen at `at_ms`.
    async fn raise_alarm(&self, kind: &str, subject: &str, detail: &str, at_ms: i64) -> Result<bool>;

    /// Clears an alarm that nobody has seen since `unseen_since_ms`; returns whether it was open and is cleared. Of
    /// several that clear it at once, one is told that it did.
    async fn clear_alarm(&self, kind: &str, subject: &str, at_ms: i64, unseen_since_ms: i64) -> Result<bool>;

    /// Alarms that are open, latest first.
    async fn open_alarms(&self) -> Result<Vec<Alarm>>;

    /// Alarms open and cleared, latest first, at most `limit`.
    async fn recent_alarms(&self, limit: usize) -> Result<Vec<Alarm>>;

    /// The value of a setting.
    async fn setting(&self, key: &str) -> Result<Option<String>>;

    /// Sets a setting.
    async fn put_setting(&self, key: &str, value: &str) -> Result<()>;

    /// Finishes the writes that wait and closes the connections; every later use is refused.
    async fn close(&self);
}
