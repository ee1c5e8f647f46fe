//! Schemas of what the flows answer, for the `OpenAPI` document.
//!
//! These types are never built: they mirror the serialised form of the types of the same names in `medindex-pipeline`
//! and `medindex-index`, which know nothing of HTTP. Tests hold every answer against its schema, with unknown
//! properties refused, so that the two cannot drift apart.
#![allow(dead_code, reason = "only describe answers")]

mod operation;

use std::collections::BTreeMap;

use utoipa::ToSchema;

pub(crate) use operation::{Alarm, Alarms, OperationPage};

/// An upload that is durable.
#[derive(ToSchema)]
pub(crate) struct Accepted {
    /// Id of the image: the first upload's when the same bytes came before.
    #[schema(format = "uuid")]
    id: String,
    /// The same bytes were already here.
    duplicate: bool,
    /// Where the image stands.
    status: ImageStatus,
    /// What became of a label that came with bytes that were here before: `set` where the image had none, `kept` where it
    /// has another and keeps that; absent when there is nothing to say.
    #[schema(nullable = false)]
    label: Option<LabelOutcome>,
}

/// What became of a label that came with bytes that were here before.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum LabelOutcome {
    Set,
    Kept,
}

/// Where an image stands between upload and search: durable, searchable, refused while embedding, about to be gone.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum ImageStatus {
    Received,
    Indexed,
    Failed,
    Deleting,
}

/// One stored image as the catalog knows it.
#[derive(ToSchema)]
pub(crate) struct ImageDetails {
    /// Id.
    #[schema(format = "uuid")]
    id: String,
    /// Row in the image store.
    row_key: String,
    /// Name at upload.
    name: String,
    /// Label at upload.
    #[schema(required)]
    label: Option<String>,
    /// Where it stands.
    status: ImageStatus,
    /// Why it failed.
    #[schema(required)]
    reason: Option<String>,
    /// SHA-256 of the file, hexadecimal.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
    /// Size of the file in bytes.
    bytes: u64,
    /// Format found in the content, such as `DICOM` or `PNG`.
    format: String,
    /// Media type of the file.
    content_type: String,
    /// Width in pixels.
    width: u32,
    /// Height in pixels.
    height: u32,
    /// Frames in the file.
    frames: u32,
    /// Kind of image, such as `CT` or `XR`.
    #[schema(required)]
    image_type: Option<String>,
    /// DICOM modality.
    #[schema(required)]
    modality: Option<String>,
    /// DICOM body part examined.
    #[schema(required)]
    body_part: Option<String>,
    /// DICOM study instance UID.
    #[schema(required)]
    study_uid: Option<String>,
    /// DICOM series instance UID.
    #[schema(required)]
    series_uid: Option<String>,
    /// DICOM SOP instance UID.
    #[schema(required)]
    instance_uid: Option<String>,
    /// DICOM patient id.
    #[schema(required)]
    patient_id: Option<String>,
    /// DICOM study date.
    #[schema(required)]
    study_date: Option<String>,
    /// Unix milliseconds of the upload.
    received_at_ms: i64,
    /// Unix milliseconds when it became searchable.
    #[schema(required)]
    indexed_at_ms: Option<i64>,
    /// Regions of interest that the image was imported with; absent when there are none.
    #[schema(nullable = false)]
    regions: Option<Vec<MarkedRegion>>,
}

/// A region of interest that somebody marked in an image, in pixels from its top left corner.
#[derive(ToSchema)]
pub(crate) struct MarkedRegion {
    /// Left edge.
    x: u32,
    /// Top edge.
    y: u32,
    /// Width.
    width: u32,
    /// Height.
    height: u32,
    /// What it shows, where it was said.
    #[schema(nullable = false)]
    label: Option<String>,
}

/// A page of images.
#[derive(ToSchema)]
pub(crate) struct ImagePage {
    /// The images, newest first.
    images: Vec<ImageDetails>,
    /// `after` of the next page; `null` on the last.
    #[schema(required)]
    next: Option<String>,
}

/// Removed images.
#[derive(ToSchema)]
pub(crate) struct Deleted {
    /// Ids that are gone.
    ids: Vec<String>,
}

/// The answer to a search.
#[derive(ToSchema)]
pub(crate) struct SearchResponse {
    /// What was searched for.
    query: QueryDescription,
    /// Generation of the codebook that answered; 0 while search is exact.
    generation: u64,
    /// True when a part of the index did not answer.
    partial: bool,
    /// Partitions that did not answer.
    missing_partitions: Option<Vec<u32>>,
    /// Milliseconds from the request to the answer, embedding included.
    took_ms: f64,
    /// The nearest images, nearest first.
    results: Vec<Hit>,
    /// How the answer was found, when asked for.
    #[schema(nullable = false)]
    explain: Option<ExplainReport>,
}

/// The query as the answer names it.
#[derive(ToSchema)]
pub(crate) struct QueryDescription {
    /// Id of the stored image searched from.
    #[schema(format = "uuid")]
    id: Option<String>,
    /// Name of the file searched with, or of the stored image.
    name: String,
    /// The box that was cut out.
    #[schema(nullable = false)]
    region: Option<Region>,
    /// How many results were asked for.
    k: usize,
}

/// A box in pixels of the query image, from its top left corner.
#[derive(ToSchema)]
pub(crate) struct Region {
    /// Left edge.
    x: u32,
    /// Top edge.
    y: u32,
    /// Width.
    width: u32,
    /// Height.
    height: u32,
}

/// One similar image.
#[derive(ToSchema)]
pub(crate) struct Hit {
    /// Place in the list, from 1.
    #[schema(minimum = 1)]
    rank: usize,
    /// Id of the image.
    #[schema(format = "uuid")]
    id: String,
    /// Frame of the image that is nearest, from 0.
    frame: u32,
    /// `1 - cosine similarity` of the embeddings, 0 (same) to 2 (opposite), ascending in a list.
    distance: f32,
    /// Name of the file as it was uploaded.
    name: String,
    /// Label given at upload.
    #[schema(required)]
    label: Option<String>,
    /// DICOM modality, such as `CT`.
    #[schema(required)]
    modality: Option<String>,
    /// DICOM body part examined.
    #[schema(required)]
    body_part: Option<String>,
    /// DICOM study instance UID.
    #[schema(required)]
    study_uid: Option<String>,
}

/// How an answer was found.
#[derive(ToSchema)]
pub(crate) struct ExplainReport {
    /// Microseconds to decode and render the query image.
    decode_us: u64,
    /// Microseconds to embed it.
    embed_us: u64,
    /// Microseconds to add the catalog's data to the results.
    catalog_us: u64,
    /// What the index did.
    index: Explain,
}

/// What the index did.
#[derive(ToSchema)]
pub(crate) struct Explain {
    /// The quantizer's generation; 0 when none is active yet.
    generation: u64,
    /// The kernel that scanned codes; empty when no codes were scanned.
    kernel: String,
    /// Immutable segments searched.
    segments: usize,
    /// Rows in the append tail.
    tail_rows: usize,
    /// Entries that could be found.
    entries: usize,
    /// Coarse lists of the generation.
    lists_total: usize,
    /// Coarse lists probed.
    lists_probed: usize,
    /// Blocks of 32 codes scanned.
    blocks_scanned: usize,
    /// Blocks skipped, because no entry in them may be returned.
    blocks_skipped: usize,
    /// Codes scanned.
    codes_scanned: usize,
    /// Candidates scored again exactly.
    reranked: usize,
    /// Entries scored exactly without codes.
    exact_scored: usize,
    /// How the filter was applied.
    filter_plan: FilterPlan,
    /// Share of the entries that the filter lets through, 0 to 1.
    filter_selectivity: f32,
    /// Queries that were answered together with this one.
    batch: usize,
    /// Where the time went.
    microseconds: StepTimes,
}

/// How a filter was applied: there was none, nothing matches, masked in the scan, more lists probed, matching
/// entries gathered and scored exactly, or every matching entry scored exactly.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum FilterPlan {
    None,
    Empty,
    InScan,
    WidenedProbes,
    Gather,
    Exact,
}

/// Microseconds of each step of a search.
#[derive(ToSchema)]
pub(crate) struct StepTimes {
    filter: f32,
    transform: f32,
    coarse: f32,
    tables: f32,
    scan: f32,
    rerank: f32,
    exact: f32,
    merge: f32,
    total: f32,
}

/// What an image looks like to the model and to its neighbours. For research and teaching, not for diagnosis.
#[derive(ToSchema)]
pub(crate) struct Recognition {
    /// MD5 of the file, hexadecimal.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    md5: String,
    /// Model that answered, as `name@version`.
    model: String,
    /// Generation of the index that the neighbours came from.
    generation: u64,
    /// The model's classes, most probable first; empty when the model has none.
    classes: Vec<ClassScore>,
    /// Share of each label among the nearest labelled images, weighted by similarity, largest first.
    vote: Vec<ClassScore>,
    /// The answer came from the cache.
    cached: bool,
}

/// Probability of one class.
#[derive(ToSchema)]
pub(crate) struct ClassScore {
    /// Name of the class.
    label: String,
    /// 0 to 1.
    probability: f32,
}

/// What a training did.
#[derive(ToSchema)]
pub(crate) struct TrainingReport {
    /// Generation that was built.
    generation: u64,
    /// True when it answers searches now; false when its recall was under the gate.
    accepted: bool,
    /// Vectors it learned from.
    sample: usize,
    /// Vectors it holds.
    vectors: u64,
    /// Coarse lists.
    lists: usize,
    /// Bytes of a code.
    code_bytes: usize,
    /// Recall@10 on held-out queries against exact search.
    #[schema(minimum = 0, maximum = 1)]
    recall_at_10: f64,
    /// Recall@10 under which it would have been refused.
    #[schema(minimum = 0, maximum = 1)]
    recall_gate: f64,
    /// Seconds it took.
    seconds: f64,
}

/// How the system stands.
#[derive(ToSchema)]
pub(crate) struct Status {
    /// Version of this program.
    version: String,
    /// Model in use, as `name@version`.
    model: String,
    /// SHA-256 of the model's files.
    model_digest: String,
    /// Images by where they stand.
    images: ImageCounts,
    /// Images by modality, most first.
    modalities: Vec<NamedCount>,
    /// Images by label, most first.
    labels: Vec<NamedCount>,
    /// Uploads waiting to be embedded.
    upload_lag: u64,
    /// Changes waiting to become searchable.
    index_lag: u64,
    /// Partitions.
    partitions: u32,
    /// State of the index.
    index: IndexStatus,
    /// Last training.
    #[schema(required)]
    training: Option<TrainingReport>,
    /// Alarms that are raised.
    alarms: Vec<Alarm>,
    /// What the system is for.
    intended_use: String,
}

/// Images by where they stand.
#[derive(ToSchema)]
pub(crate) struct ImageCounts {
    /// Durable, not searchable yet.
    received: u64,
    /// Searchable.
    indexed: u64,
    /// Refused while embedding.
    failed: u64,
}

/// A count with its name.
#[derive(ToSchema)]
pub(crate) struct NamedCount {
    /// Value of the attribute, empty when images have none.
    name: String,
    /// Images with it.
    count: u64,
}

/// What the index holds.
#[derive(ToSchema)]
pub(crate) struct IndexStatus {
    /// Entries that can be found.
    entries: usize,
    /// Rows of removed or replaced entries whose space is not yet freed.
    removed: usize,
    /// Rows in the append tail.
    tail_rows: usize,
    /// Immutable segments.
    segments: usize,
    /// Segments that are searched by codes.
    coded_segments: usize,
    /// The active generation; 0 before one is trained.
    generation: u64,
    /// The generation that a rollback returns to.
    #[schema(required)]
    previous_generation: Option<u64>,
    /// A generation that is built and not yet active.
    #[schema(required)]
    built_generation: Option<u64>,
    /// Coarse lists of the active generation.
    lists: usize,
    /// Main memory held beside the mapped files, in bytes.
    memory_bytes: u64,
    /// Size of the mapped files, in bytes.
    mapped_bytes: u64,
    /// Next offsets of the change log by partition: everything before is applied.
    log_positions: BTreeMap<String, u64>,
    /// The same as of the last snapshot.
    durable_positions: BTreeMap<String, u64>,
}
