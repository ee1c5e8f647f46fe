//! What is known of an image before its pixels are decoded.

use serde::{Deserialize, Serialize};

use crate::format::Format;

/// What the header of an image tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Format, found from the content.
    pub format: Format,
    /// Width of a frame in pixels, at least 1.
    pub width: u32,
    /// Height of a frame in pixels, at least 1.
    pub height: u32,
    /// Number of frames, at least 1.
    pub frames: u32,
    /// Transfer syntax UID of a DICOM file.
    pub transfer_syntax: Option<String>,
    /// What the catalog keeps and filters by.
    pub attributes: ImageAttributes,
}

/// Attributes for the catalog, read from DICOM; all are absent for plain images, except `image_type`.
///
/// Text is decoded from its character set, and trimmed; an empty value is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageAttributes {
    /// Normalised kind: `CT`, `MR`, `XR` (CR, DX, RF, XA and their kin), `MG`, `US`, `NM`, `PT`, `OP`, `ES`, `SM`, `XC`,
    /// `OT` for other DICOM modalities, and `photo` for colour images that are not DICOM.
    pub image_type: Option<String>,
    /// Modality (0008,0060) as written.
    pub modality: Option<String>,
    /// Body Part Examined (0018,0015), or the anatomic region's meaning, upper case.
    pub body_part: Option<String>,
    /// Study Instance UID (0020,000D).
    pub study_uid: Option<String>,
    /// Series Instance UID (0020,000E).
    pub series_uid: Option<String>,
    /// SOP Instance UID (0008,0018).
    pub instance_uid: Option<String>,
    /// SOP Class UID (0008,0016).
    pub class_uid: Option<String>,
    /// Patient ID (0010,0020).
    pub patient_id: Option<String>,
    /// Study Date (0008,0020) as `YYYY-MM-DD`.
    pub study_date: Option<String>,
    /// When the image was acquired, in milliseconds since 1970-01-01 UTC. Without a timezone offset in the file the
    /// local time is read as UTC.
    pub acquired_ms: Option<i64>,
    /// Series description, else study description, else image comments.
    pub description: Option<String>,
    /// Manufacturer (0008,0070).
    pub manufacturer: Option<String>,
    /// Patient orientation, laterality or view, as written: View Position (0018,5101).
    pub view_position: Option<String>,
    /// Laterality (0020,0060) or Image Laterality (0020,0062).
    pub laterality: Option<String>,
}
