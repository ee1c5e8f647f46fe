//! What a search asks for and what it answers: the shapes that the command line and HTTP print as JSON.

use bytes::Bytes;
use medindex_imaging::{Region, WindowChoice};
use medindex_index::{Explain, Filter, GroupBy};
use medindex_proto::identity::ImageId;
use serde::Serialize;

/// What the neighbours are searched for.
#[derive(Debug, Clone)]
pub enum Query {
    /// The bytes of an image file that need not be stored, with its name for the answer.
    File {
        /// Name to show in the answer, usually the file's.
        name: String,
        /// The whole file.
        bytes: Bytes,
    },
    /// An image that is stored; it is left out of its own results.
    Stored(ImageId),
}

/// One search by example.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// The example.
    pub query: Query,
    /// How many results, 1 to [`crate::Settings::max_results`].
    pub k: usize,
    /// Only this part of the query image counts.
    pub region: Option<Region>,
    /// Frame of a multi-frame query, counted from 0; the middle one when `None`.
    pub frame: Option<u32>,
    /// Grey window of the query; what images of its kind were indexed with when `None`.
    pub window: Option<WindowChoice>,
    /// Only images that match.
    pub filter: Filter,
    /// At most one result of a study or of a patient.
    pub group_by: GroupBy,
    /// Lists to probe; by the index's size when `None`.
    pub probes: Option<usize>,
    /// Compare with every stored vector instead of scanning codes.
    pub exact: bool,
    /// Fail rather than answer without a part of the index.
    pub whole: bool,
    /// Fill [`SearchResponse::explain`].
    pub explain: bool,
}

impl SearchRequest {
    /// The ten nearest images to `query`, everything else by default.
    pub fn new(query: Query) -> Self {
        Self {
            query,
            k: 10,
            region: None,
            frame: None,
            window: None,
            filter: Filter::All,
            group_by: GroupBy::Image,
            probes: None,
            exact: false,
            whole: false,
            explain: false,
        }
    }
}

/// The query as the answer names it.
#[derive(Debug, Clone, Serialize)]
pub struct QueryDescription {
    /// Id of the stored image searched from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<ImageId>,
    /// Name of the file searched with, or of the stored image.
    pub name: String,
    /// The box that was cut out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// How many results were asked for.
    pub k: usize,
}

/// One similar image.
#[derive(Debug, Clone, Serialize)]
pub struct Hit {
    /// Place in the list, from 1.
    pub rank: usize,
    /// Id of the image.
    pub id: ImageId,
    /// Frame of the image that is nearest, from 0.
    pub frame: u32,
    /// `1 - cosine similarity` of the embeddings, 0 (same) to 2 (opposite), ascending in a list.
    pub distance: f32,
    /// Name of the file as it was uploaded.
    pub name: String,
    /// Label given at upload.
    pub label: Option<String>,
    /// DICOM modality, such as `CT`.
    pub modality: Option<String>,
    /// DICOM body part examined.
    pub body_part: Option<String>,
    /// DICOM study instance UID.
    pub study_uid: Option<String>,
}

/// The answer to a search.
#[derive(Debug, Clone, Serialize)]
pub struct SearchResponse {
    /// What was searched for.
    pub query: QueryDescription,
    /// Generation of the codebook that answered; 0 while search is exact.
    pub generation: u64,
    /// True when a part of the index did not answer.
    pub partial: bool,
    /// Partitions that did not answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_partitions: Vec<u32>,
    /// Milliseconds from the request to the answer, embedding included.
    pub took_ms: f64,
    /// The nearest images, nearest first.
    pub results: Vec<Hit>,
    /// How the answer was found, when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<ExplainReport>,
}

/// How an answer was found.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainReport {
    /// Microseconds to decode and render the query image.
    pub decode_us: u64,
    /// Microseconds to embed it.
    pub embed_us: u64,
    /// Microseconds to add the catalog's data to the results.
    pub catalog_us: u64,
    /// What the index did.
    pub index: Explain,
}
