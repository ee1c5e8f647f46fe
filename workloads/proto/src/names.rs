//! Names that producers, consumers, tables and the operator must agree on.

/// Partitions of a new index when nothing else is said: queue partitions, table regions and search partitions.
pub const DEFAULT_PARTITIONS: u32 = 9;

/// Most partitions an index can have: a row key has four digits for the partition.
pub const MAX_PARTITIONS: u32 = 10_000;

/// Topic of accepted images that wait to be embedded.
pub const TOPIC_IMAGE_UPLOAD: &str = "imageupload";
/// Topic of index changes that search shards follow; compacted, keyed by row key.
pub const TOPIC_IMAGE_INDEXED: &str = "imageindexed";
/// Topic of uploads that could not be processed, with the reason.
pub const TOPIC_DEAD_LETTER: &str = "imageupload.dlq";
/// Topic of the audit log.
pub const TOPIC_OPERATION_LOG: &str = "operationlog";

/// Table of images: one row an image.
pub const TABLE_IMAGES: &str = "image_info";
/// Table of published index segments and codebooks.
pub const TABLE_SEGMENTS: &str = "index_segments";

/// Column family of the image file's bytes.
pub const FAMILY_DATA: &str = "MD";
/// Column family of the image's information.
pub const FAMILY_INFORMATION: &str = "MI";

/// Column of [`FAMILY_DATA`]: length of the file in bytes, u64 big-endian.
pub const COLUMN_LENGTH: &str = "length";
/// Column of [`FAMILY_INFORMATION`]: the image id as text.
pub const COLUMN_ID: &str = "id";
/// Column of [`FAMILY_INFORMATION`]: product-quantizer codes, one frame after the other.
pub const COLUMN_CODE: &str = "code";
/// Column of [`FAMILY_INFORMATION`]: embeddings as f16 little-endian, one frame after the other.
pub const COLUMN_VECTOR: &str = "vector";
/// Column of [`FAMILY_INFORMATION`]: numbers of the embedded frames, u32 big-endian each.
pub const COLUMN_FRAMES: &str = "frames";
/// Column of [`FAMILY_INFORMATION`]: generation of the codes, u64 big-endian.
pub const COLUMN_GENERATION: &str = "generation";
/// Column of [`FAMILY_INFORMATION`]: further information as JSON text.
pub const COLUMN_META: &str = "meta";

// Columns of `FAMILY_INFORMATION` for SQL: UTF-8 text, empty where it is not known. `docs/phoenix.sql` names them too.

/// Column of [`FAMILY_INFORMATION`]: kind of image, such as "CT".
pub const COLUMN_IMAGE_TYPE: &str = "type";
/// Column of [`FAMILY_INFORMATION`]: DICOM modality.
pub const COLUMN_MODALITY: &str = "modality";
/// Column of [`FAMILY_INFORMATION`]: body part examined.
pub const COLUMN_BODY_PART: &str = "body_part";
/// Column of [`FAMILY_INFORMATION`]: label.
pub const COLUMN_LABEL: &str = "label";
/// Column of [`FAMILY_INFORMATION`]: organisation that owns the image.
pub const COLUMN_ORGANISATION: &str = "organisation";
/// Column of [`FAMILY_INFORMATION`]: name of the file at upload.
pub const COLUMN_NAME: &str = "name";
/// Column of [`FAMILY_INFORMATION`]: format of the file, such as "DICOM".
pub const COLUMN_FORMAT: &str = "format";
/// Column of [`FAMILY_INFORMATION`]: when the image was accepted, milliseconds since 1970 UTC, u64 big-endian.
pub const COLUMN_RECEIVED: &str = "received";

/// Bytes of one data cell, well under `HBase`'s limit of 10 MB a cell.
pub const CELL_BYTES: usize = 4 << 20;

/// Most bytes of an image that travel inside a queue message; larger images go to the image store first.
pub const MAX_INLINE_BYTES: usize = 1 << 20;

/// Most bytes of one queue message.
pub const MAX_MESSAGE_BYTES: usize = 2 << 20;

/// Cache key of an image's recognition result.
pub fn recognition_cache_key(md5_hex: &str) -> String {
    format!("image:{md5_hex}")
}
