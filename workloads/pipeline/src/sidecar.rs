//! What is known of an image beside its file, from the data set that it comes from: whose it is, what its values mean, how it is shown, which
//! regions somebody marked.
//!
//! It is kept with the image, in the catalog's record and in the column `MI:meta`, and wins over what the file's own header says. The file itself
//! stays as it came. Once an image is stored, its sidecar does not change: the vector was made with it.

use medindex_backends::CatalogError;
use medindex_backends::catalog::NewImage;
use medindex_imaging::{ImageInfo, Region, WindowChoice};
use serde::{Deserialize, Serialize};

/// A region of interest that somebody marked in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkedRegion {
    /// Where it is.
    #[serde(flatten)]
    pub region: Region,
    /// What it shows, where it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// What is known of an image beside its file; see the module. Everything may be absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sidecar {
    /// Kind of image, such as `CT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_type: Option<String>,
    /// DICOM modality.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modality: Option<String>,
    /// Name of the study that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub study_uid: Option<String>,
    /// Name of the series that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series_uid: Option<String>,
    /// Patient id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patient_id: Option<String>,
    /// What has to be added to the file's grey values to make them Hounsfield units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hounsfield_offset: Option<f64>,
    /// Window that it is embedded and shown with; the model's for its kind when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowChoice>,
    /// Regions of interest, in pixels of the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<MarkedRegion>,
}

impl Sidecar {
    /// As the catalog keeps it.
    pub(crate) fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// The sidecar of an image.
    ///
    /// # Errors
    /// [`CatalogError::Decode`] when the record holds what this release cannot read.
    pub(crate) fn of(image: &NewImage) -> Result<Option<Self>, CatalogError> {
        let Some(text) = &image.sidecar else { return Ok(None) };
        let value = || text.chars().take(200).collect();
        serde_json::from_str(text)
            .map(Some)
            .map_err(|_| CatalogError::Decode { field: "sidecar", value: value() })
    }

    /// What a file's header says, overruled by what is known beside it.
    pub(crate) fn overrule(&self, info: &mut ImageInfo) {
        let attributes = &mut info.attributes;
        for (known, field) in [
            (&self.image_type, &mut attributes.image_type),
            (&self.modality, &mut attributes.modality),
            (&self.study_uid, &mut attributes.study_uid),
            (&self.series_uid, &mut attributes.series_uid),
            (&self.patient_id, &mut attributes.patient_id),
        ] {
            if known.is_some() {
                field.clone_from(known);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nothing_is_little() {
        let region = Region { x: 1, y: 2, width: 3, height: 4 };
        let sidecar = Sidecar {
            image_type: Some("CT".into()),
            patient_id: Some("DeepLesion-000001".into()),
            hounsfield_offset: Some(-32_768.0),
            window: Some(WindowChoice::Explicit { center: 50.0, width: 450.0 }),
            regions: vec![
                MarkedRegion { region, label: Some("lung".into()) },
                MarkedRegion { region, label: None },
            ],
            ..Sidecar::default()
        };
        assert_eq!(serde_json::from_str::<Sidecar>(&sidecar.to_json()).unwrap(), sidecar);
        assert_eq!(Sidecar::default().to_json(), "{}");
    }
}
