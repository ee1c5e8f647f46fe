//! What the catalog keeps: image records, the operation log, alarms.

use std::fmt;
use std::str::FromStr;

use medindex_proto::{ImageId, RowKey};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::CatalogError;

/// Longest label, modality and the like, in characters; longer text is refused, never cut.
pub const MAX_SHORT_TEXT: usize = 255;

/// Longest name, reason and detail, in characters.
pub const MAX_LONG_TEXT: usize = 8192;

/// How far an image has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageStatus {
    /// Accepted; not searchable yet.
    Received,
    /// Searchable.
    Indexed,
    /// Could not be indexed, for the reason in the record.
    Failed,
    /// Being deleted: no longer searchable, its parts are going.
    Deleting,
}

/// A text that names no status.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no status: use received, indexed, failed or deleting")]
pub struct ParseImageStatusError(pub String);

impl ImageStatus {
    /// Its name in the catalog and in interfaces.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Indexed => "indexed",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
        }
    }
}

impl fmt::Display for ImageStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for ImageStatus {
    type Err = ParseImageStatusError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Received, Self::Indexed, Self::Failed, Self::Deleting]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| ParseImageStatusError(text.chars().take(64).collect()))
    }
}

/// What is known of an image from its file's header; `None` where the file does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDescription {
    /// Kind of image for filters, such as "CT" or "photo".
    pub image_type: Option<String>,
    /// DICOM modality, such as "CT", "MR", "DX".
    pub modality: Option<String>,
    /// Body part examined.
    pub body_part: Option<String>,
    /// Study Instance UID.
    pub study_uid: Option<String>,
    /// Series Instance UID.
    pub series_uid: Option<String>,
    /// SOP Instance UID.
    pub instance_uid: Option<String>,
    /// Patient id.
    pub patient_id: Option<String>,
    /// Study date, `YYYYMMDD`.
    pub study_date: Option<String>,
    /// When the image was acquired, milliseconds since 1970 UTC.
    pub acquired_ms: Option<i64>,
    /// Width in pixels.
    pub width: Option<u32>,
    /// Height in pixels.
    pub height: Option<u32>,
    /// Number of frames.
    pub frames: Option<u32>,
    /// DICOM transfer syntax UID.
    pub transfer_syntax: Option<String>,
}

/// An image that is offered to the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewImage {
    /// Id that it gets unless the organisation has the same bytes already.
    pub id: ImageId,
    /// Its row key.
    pub row_key: RowKey,
    /// Organisation that owns it; empty where there is only one.
    pub organisation: String,
    /// SHA-256 of the file: the same bytes in the same organisation are the same image.
    pub sha256: [u8; 32],
    /// MD5 of the file: cache key of its recognition.
    pub md5: [u8; 16],
    /// Name of the file as it was uploaded.
    pub name: String,
    /// Label, where one was given.
    pub label: Option<String>,
    /// Media type, such as "application/dicom".
    pub content_type: String,
    /// Format detected from the content, such as "DICOM".
    pub format: String,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// When it was accepted, milliseconds since 1970 UTC.
    pub received_at_ms: i64,
    /// What its header says.
    pub description: ImageDescription,
    /// What is known of it beside its file, as JSON; its shape belongs to the pipeline.
    pub sidecar: Option<String>,
}

/// What became of an offered image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Acceptance {
    /// It is new: its record was made, with the id that was offered.
    New(ImageId),
    /// The organisation has these bytes already, received or indexed: nothing was changed.
    Duplicate(ImageId),
    /// The organisation has these bytes, but indexing them failed: the record is `received` again, under the id
    /// it had.
    Retry(ImageId),
    /// The organisation has these bytes, but they are being deleted: offer them again later.
    BeingDeleted(ImageId),
}

impl Acceptance {
    /// The image's id in the catalog.
    pub fn id(self) -> ImageId {
        match self {
            Self::New(id) | Self::Duplicate(id) | Self::Retry(id) | Self::BeingDeleted(id) => id,
        }
    }

    /// Whether the caller now has to see to it that the image is indexed.
    pub fn is_to_be_indexed(self) -> bool {
        matches!(self, Self::New(_) | Self::Retry(_))
    }
}

/// An image's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    /// What was accepted.
    pub image: NewImage,
    /// How far it has come.
    pub status: ImageStatus,
    /// Why it failed.
    pub reason: Option<String>,
    /// When it became searchable, milliseconds since 1970 UTC.
    pub indexed_at_ms: Option<i64>,
    /// Quantizer generation of its codes; 0 before the first training.
    pub generation: u64,
}

/// Report of an image that became searchable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedImage {
    /// The image.
    pub id: ImageId,
    /// When, milliseconds since 1970 UTC.
    pub indexed_at_ms: i64,
    /// Generation of its codes.
    pub generation: u64,
    /// What decoding the whole file has told, where it is more than the header did: replaces the description.
    pub description: Option<ImageDescription>,
}

/// Report of an image that could not be indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedImage {
    /// The image.
    pub id: ImageId,
    /// Why, for people.
    pub reason: String,
}

/// Which images to list: those that match every part that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFilter {
    /// Status.
    pub status: Option<ImageStatus>,
    /// Organisation.
    pub organisation: Option<String>,
    /// Kind of image.
    pub image_type: Option<String>,
    /// Modality.
    pub modality: Option<String>,
    /// Body part.
    pub body_part: Option<String>,
    /// Label.
    pub label: Option<String>,
    /// Patient id.
    pub patient_id: Option<String>,
    /// Study Instance UID.
    pub study_uid: Option<String>,
    /// Accepted at or after this time, milliseconds since 1970 UTC.
    pub received_from_ms: Option<i64>,
    /// Accepted before this time.
    pub received_before_ms: Option<i64>,
}

/// Order of a list by the time of acceptance; ids decide where times are equal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListOrder {
    /// Latest first.
    #[default]
    NewestFirst,
    /// Earliest first.
    OldestFirst,
}

/// Where a page ended: the next page begins after it. Its text is safe in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Time of the last item, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Id of the last item.
    pub id: ImageId,
}

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no cursor: pass the one that the page before gave")]
pub struct ParseCursorError(pub String);

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.at_ms, self.id)
    }
}

impl FromStr for Cursor {
    type Err = ParseCursorError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseCursorError(text.chars().take(64).collect());
        let (at_ms, id) = text.split_once('.').ok_or_else(refused)?;
        let at_ms = at_ms.parse().map_err(|_| refused())?;
        Ok(Self { at_ms, id: ImageId::parse(id).map_err(|_| refused())? })
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the order asked for.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<Cursor>,
}

/// How many images there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageCounts {
    /// By status; those without images are left out.
    pub by_status: Vec<(ImageStatus, u64)>,
    /// Searchable images by modality, most first; `None` where the file does not say.
    pub by_modality: Vec<(Option<String>, u64)>,
    /// Searchable images by label, most first; `None` for the unlabelled.
    pub by_label: Vec<(Option<String>, u64)>,
}

impl ImageCounts {
    /// Images of a status.
    pub fn of_status(&self, status: ImageStatus) -> u64 {
        self.by_status.iter().find(|(each, _)| *each == status).map_or(0, |(_, count)| *count)
    }
}

/// An entry of the operation log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Its id: writing the same operation again changes nothing.
    pub id: ImageId,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// Who: a person or a part of the system.
    pub actor: String,
    /// What was done, such as "image.upload".
    pub action: String,
    /// To what, such as an image id.
    pub subject: String,
    /// How it ended, such as "accepted", "refused".
    pub outcome: String,
    /// Anything more, for people.
    pub detail: String,
    /// Organisation whose images it was about; empty where it was about none.
    pub organisation: String,
    /// W3C trace id of the request, hexadecimal; empty where there was none.
    pub trace_id: String,
}

impl Operation {
    /// Checks the texts against their columns, as [`crate::Catalog::append_operations`] does.
    ///
    /// # Errors
    /// [`CatalogError::TooLong`].
    pub fn check(&self) -> Result<(), CatalogError> {
        let short = [
            ("actor", &self.actor),
            ("action", &self.action),
            ("subject", &self.subject),
            ("outcome", &self.outcome),
            ("organisation", &self.organisation),
            ("trace id", &self.trace_id),
        ];
        short.iter().try_for_each(|(field, text)| check_length(field, text, MAX_SHORT_TEXT))?;
        check_length("detail", &self.detail, MAX_LONG_TEXT)
    }
}

/// Checks the length of a text in characters.
///
/// # Errors
/// [`CatalogError::TooLong`].
pub(crate) fn check_length(field: &'static str, text: &str, limit: usize) -> Result<(), CatalogError> {
    let characters = if text.len() <= limit { 0 } else { text.chars().count() };
    if characters > limit { Err(CatalogError::TooLong { field, characters, limit }) } else { Ok(()) }
}

/// Which operations to list: those that match every part that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperationFilter {
    /// Who.
    pub actor: Option<String>,
    /// What was done.
    pub action: Option<String>,
    /// To what.
    pub subject: Option<String>,
    /// How it ended.
    pub outcome: Option<String>,
    /// Whose images it was about.
    pub organisation: Option<String>,
    /// At or after this time, milliseconds since 1970 UTC.
    pub from_ms: Option<i64>,
    /// Before this time.
    pub before_ms: Option<i64>,
}

/// An alarm, open or cleared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Kind, such as "send-failed".
    pub kind: String,
    /// What it is about, such as a partition or an image id; empty if the system as a whole.
    pub subject: String,
    /// When it was raised, milliseconds since 1970 UTC.
    pub raised_at_ms: i64,
    /// When somebody said last that its cause is there.
    pub seen_at_ms: i64,
    /// When it was cleared.
    pub cleared_at_ms: Option<i64>,
    /// What happened and what to do.
    pub detail: String,
}
