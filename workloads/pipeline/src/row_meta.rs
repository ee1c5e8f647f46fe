//! What a row of the image store says about its image beside the vectors: with the file's own header it is enough to write the
//! image's catalog record again, so that a lost catalog loses no image.

use medindex_backends::catalog::NewImage;
use serde::Deserialize;

/// Content of the column `MI:meta`, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct RowMeta {
    /// SHA-256 of the model that the vectors come from.
    pub(crate) model: String,
    /// Who owns the image.
    pub(crate) organisation: String,
    /// Name of the file at upload.
    pub(crate) name: String,
    /// Label at upload.
    pub(crate) label: Option<String>,
    /// Unix milliseconds of the upload.
    pub(crate) received_at_ms: i64,
    /// What is known of the image beside its file; see [`crate::Sidecar`].
    pub(crate) sidecar: Option<serde_json::Value>,
}

impl RowMeta {
    /// The meta of an image that `model` embedded, as it is stored.
    pub(crate) fn write(image: &NewImage, model: &str) -> String {
        let NewImage { organisation, name, label, received_at_ms, sidecar, .. } = image;
        let mut meta = serde_json::json!({
            "model": model,
            "organisation": organisation,
            "name": name,
            "label": label,
            "received_at_ms": received_at_ms,
        });
        // It came from here, or was checked when the image was read from the catalog.
        let sidecar = sidecar.as_deref().and_then(|text| serde_json::from_str(text).ok());
        if let Some(sidecar) = sidecar {
            meta["sidecar"] = sidecar;
        }
        meta.to_string()
    }

    /// Reads what [`RowMeta::write`] wrote.
    pub(crate) fn read(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}
