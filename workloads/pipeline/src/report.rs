//! What the flows answer besides search results: all of it is printed as JSON by the command line and HTTP.

use medindex_backends::catalog::Alarm as CatalogAlarm;
use medindex_proto::identity::ImageId;
use serde::{Deserialize, Serialize};

use crate::alarms::{AlarmKind, Severity};
use crate::sidecar::{MarkedRegion, Sidecar};

/// An upload that is durable.
#[derive(Debug, Clone, Serialize)]
pub struct Accepted {
    /// Id of the image: the first upload's when the same bytes came before.
    pub id: ImageId,
    /// The same bytes were already here.
    pub duplicate: bool,
    /// Where the image stands.
    pub status: ImageStatus,
    /// What became of a label that came with bytes that were here before; absent when there is nothing to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<LabelOutcome>,
}

/// What became of a label that came with bytes that were here before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelOutcome {
    /// The image had none and has it now.
    Set,
    /// The image has another label and keeps that.
    Kept,
}

/// Where an image stands between upload and search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageStatus {
    /// Durable, not searchable yet.
    Received,
    /// Searchable.
    Indexed,
    /// Cannot be embedded; the reason is in the catalog.
    Failed,
    /// About to be gone.
    Deleting,
}

/// One stored image as the catalog knows it.
#[derive(Debug, Clone, Serialize)]
pub struct ImageDetails {
    /// Id.
    pub id: ImageId,
    /// Row in the image store.
    pub row_key: String,
    /// Name at upload.
    pub name: String,
    /// Label at upload.
    pub label: Option<String>,
    /// Where it stands.
    pub status: ImageStatus,
    /// Why it failed.
    pub reason: Option<String>,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Format found in the content, such as `dicom` or `png`.
    pub format: String,
    /// Media type for a browser.
    pub content_type: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames in the file.
    pub frames: u32,
    /// Kind of image, such as `CT` or `XR`.
    pub image_type: Option<String>,
    /// DICOM modality.
    pub modality: Option<String>,
    /// DICOM body part examined.
    pub body_part: Option<String>,
    /// DICOM study instance UID.
    pub study_uid: Option<String>,
    /// DICOM series instance UID.
    pub series_uid: Option<String>,
    /// DICOM SOP instance UID.
    pub instance_uid: Option<String>,
    /// DICOM patient id.
    pub patient_id: Option<String>,
    /// DICOM study date, `YYYY-MM-DD`.
    pub study_date: Option<String>,
    /// Unix milliseconds of the upload.
    pub received_at_ms: i64,
    /// Unix milliseconds when it became searchable.
    pub indexed_at_ms: Option<i64>,
    /// Regions of interest that the image was imported with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<MarkedRegion>,
    /// How it is shown.
    #[serde(skip)]
    pub(crate) sidecar: Option<Sidecar>,
}

/// Probability of one class.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClassScore {
    /// Name of the class.
    pub label: String,
    /// 0 to 1.
    pub probability: f32,
}

/// What an image looks like to the model and to its neighbours. For research and teaching, not for diagnosis.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recognition {
    /// MD5 of the file, hexadecimal: `image:<md5>` is its key in the cache.
    pub md5: String,
    /// Model that answered, as `name@version`.
    pub model: String,
    /// Generation of the index that the neighbours came from.
    pub generation: u64,
    /// The model's classes, most probable first; empty when the model has none.
    pub classes: Vec<ClassScore>,
    /// Share of each label among the nearest labelled images, weighted by similarity, largest first.
    pub vote: Vec<ClassScore>,
    /// The answer came from the cache.
    #[serde(default)]
    pub cached: bool,
}

/// What a training did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrainingReport {
    /// Generation that was built.
    pub generation: u64,
    /// True when it answers searches now; false when its recall was under the gate.
    pub accepted: bool,
    /// Vectors it learned from.
    pub sample: usize,
    /// Vectors it holds.
    pub vectors: u64,
    /// Coarse lists.
    pub lists: usize,
    /// Bytes of a code.
    pub code_bytes: usize,
    /// Recall@10 on held-out queries against exact search.
    pub recall_at_10: f64,
    /// Recall@10 under which it would have been refused.
    pub recall_gate: f64,
    /// Seconds it took.
    pub seconds: f64,
}

/// Removed images.
#[derive(Debug, Clone, Serialize)]
pub struct Deleted {
    /// Ids that are gone.
    pub ids: Vec<ImageId>,
}

/// Images by where they stand.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct ImageCounts {
    /// Durable, not searchable yet.
    pub received: u64,
    /// Searchable.
    pub indexed: u64,
    /// Refused while embedding.
    pub failed: u64,
}

/// A count with its name.
#[derive(Debug, Clone, Serialize)]
pub struct NamedCount {
    /// Value of the attribute, empty when images have none.
    pub name: String,
    /// Images with it.
    pub count: u64,
}

/// An alarm, raised or over.
#[derive(Debug, Clone, Serialize)]
pub struct Alarm {
    /// What kind, such as `dead_letter`.
    pub kind: String,
    /// How soon a person is needed.
    pub severity: Severity,
    /// What it is about; empty for the system as a whole.
    pub subject: String,
    /// What happened and what to do.
    pub detail: String,
    /// Unix milliseconds when it was raised.
    pub raised_at_ms: i64,
    /// Unix milliseconds when its cause was seen last.
    pub seen_at_ms: i64,
    /// Unix milliseconds when it was over; absent while it is raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cleared_at_ms: Option<i64>,
}

impl From<CatalogAlarm> for Alarm {
    fn from(alarm: CatalogAlarm) -> Self {
        // One of another release is shown, with care.
        let severity = AlarmKind::of_name(&alarm.kind).map_or(Severity::Warning, AlarmKind::severity);
        let CatalogAlarm { kind, subject, detail, raised_at_ms, seen_at_ms, cleared_at_ms } = alarm;
        Self { kind, severity, subject, detail, raised_at_ms, seen_at_ms, cleared_at_ms }
    }
}

/// How the system stands.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Version of this program.
    pub version: String,
    /// Model in use, as `name@version`.
    pub model: String,
    /// SHA-256 of the model's files.
    pub model_digest: String,
    /// Images by where they stand.
    pub images: ImageCounts,
    /// Searchable images by modality, most first.
    pub modalities: Vec<NamedCount>,
    /// Searchable images by label, most first.
    pub labels: Vec<NamedCount>,
    /// Uploads waiting to be embedded.
    pub upload_lag: u64,
    /// Changes waiting to become searchable.
    pub index_lag: u64,
    /// Partitions.
    pub partitions: u32,
    /// State of the index.
    pub index: medindex_index::IndexStatus,
    /// Last training.
    pub training: Option<TrainingReport>,
    /// Alarms that are raised.
    pub alarms: Vec<Alarm>,
    /// What the system is for.
    pub intended_use: &'static str,
}

/// What users must be told wherever they look.
pub const INTENDED_USE: &str = "For research and teaching, not for diagnosis.";
