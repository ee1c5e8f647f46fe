//! What an index stores: one entry for each frame of an image, and the changes that add and remove entries.

use std::collections::BTreeMap;
use std::fmt;

use bytemuck::{Pod, Zeroable};
use half::f16;

/// The next offset to read of each partition of the change log that feeds an index.
///
/// An index stores the positions it was given with its snapshot; after a restart the caller reads its log from
/// there. A partition that is absent is read from the beginning.
pub type LogPositions = BTreeMap<u32, u64>;

/// Names one entry: an image's identity and a frame of it (0 for an image of one frame).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct EntryKey {
    /// The 16 bytes of the image's identity; frames of one image share it.
    pub id: [u8; 16],
    /// The frame, counted from 0.
    pub frame: u32,
}

impl EntryKey {
    /// The key of frame `frame` of the image `id`.
    pub fn new(id: [u8; 16], frame: u32) -> Self {
        Self { id, frame }
    }
}

impl fmt::Display for EntryKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}#{}", u128::from_be_bytes(self.id), self.frame)
    }
}

impl fmt::Debug for EntryKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// What is known of an image beside its vector; the values that filters and grouping use.
///
/// Values are compared byte by byte: the caller settles case and spelling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The kind of image, such as `dicom` or `photograph`.
    pub image_type: Option<String>,
    /// The acquiring device's kind, such as `CT` or `MR`.
    pub modality: Option<String>,
    /// The examined part of the body.
    pub body_part: Option<String>,
    /// A label given by a person or a data set.
    pub label: Option<String>,
    /// The organisation the image belongs to.
    pub organisation: Option<String>,
    /// The study the image belongs to (a study instance UID).
    pub study: Option<String>,
    /// The patient the image belongs to.
    pub patient: Option<String>,
    /// When the image was taken, in milliseconds since 1970-01-01 UTC.
    pub time_ms: Option<i64>,
}

/// One searchable frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Which frame this is.
    pub key: EntryKey,
    /// The model's embedding, `dimension` components. L2-normalised; a vector whose norm is off by more than a
    /// thousandth is normalised on the way in. Zero and non-finite vectors are refused.
    pub vector: Vec<f16>,
    /// What filters and grouping use.
    pub attributes: Attributes,
}

/// One step of the change log.
///
/// Changes are idempotent: applying a run of them twice, in order, leaves the state of applying it once.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly all changes of a log are the large one")]
pub enum Change {
    /// Adds the entry, in place of one with the same key. Other frames of the image stay.
    Upsert(Entry),
    /// Removes every frame of the image; nothing happens when there is none.
    Remove {
        /// The image's identity.
        id: [u8; 16],
    },
}
