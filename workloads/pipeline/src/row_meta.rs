//! What a row of the image store says about its image beside the vectors: with the file's own header it is enough to write the
//! image's catalog record again, so that a lost catalog loses no image.

use medindex_backends::catalog::NewImage;
use medindex_backends::{ImageFacts, ImageInformation};
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

/// Writes what is known of an image that `model` embedded into its row's information: as JSON for [`RowMeta`], and in the columns that
/// SQL selects by.
pub(crate) fn describe_row(information: &mut ImageInformation, image: &NewImage, model: &str) {
    information.meta_json = RowMeta::write(image, model);
    information.facts = facts(image);
}

fn facts(image: &NewImage) -> ImageFacts {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    ImageFacts {
        image_type: text(&image.description.image_type),
        modality: text(&image.description.modality),
        body_part: text(&image.description.body_part),
        label: text(&image.label),
        organisation: image.organisation.clone(),
        name: image.name.clone(),
        format: image.format.clone(),
        // A clock before 1970 is told as "not known".
        received_ms: u64::try_from(image.received_at_ms).unwrap_or(0),
    }
}

impl RowMeta {
    /// The meta of an image that `model` embedded, as it is stored.
    fn write(image: &NewImage, model: &str) -> String {
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

    /// Reads what [`describe_row`] wrote.
    pub(crate) fn read(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}
