//! Between what a file's header says, the catalog's records and what people are shown.

use medindex_backends::catalog::{ImageDescription, ImageRecord, ImageStatus as RecordStatus};
use medindex_imaging::ImageInfo;
use medindex_index::{Attributes, Field};

use crate::report::{ImageDetails, ImageStatus};
use crate::search::filter::normalise;
use crate::sidecar::Sidecar;

/// The catalog's form of a header.
pub(crate) fn describe(info: &ImageInfo) -> ImageDescription {
    let attributes = info.attributes.clone();
    ImageDescription {
        image_type: attributes.image_type.map(|value| normalise(Field::ImageType, &value)),
        modality: attributes.modality.map(|value| normalise(Field::Modality, &value)),
        body_part: attributes.body_part.map(|value| normalise(Field::BodyPart, &value)),
        study_uid: attributes.study_uid,
        series_uid: attributes.series_uid,
        instance_uid: attributes.instance_uid,
        patient_id: attributes.patient_id,
        study_date: attributes.study_date,
        acquired_ms: attributes.acquired_ms,
        width: Some(info.width),
        height: Some(info.height),
        frames: Some(info.frames),
        transfer_syntax: info.transfer_syntax.clone(),
    }
}

/// What searches filter and group an image by. The time is that of the acquisition, else of the upload.
pub(crate) fn index_attributes(record: &ImageRecord) -> Attributes {
    let image = &record.image;
    let description = &image.description;
    Attributes {
        image_type: description.image_type.clone(),
        modality: description.modality.clone(),
        body_part: description.body_part.clone(),
        label: image.label.clone(),
        organisation: Some(image.organisation.clone()),
        study: description.study_uid.clone(),
        patient: description.patient_id.clone(),
        time_ms: Some(description.acquired_ms.unwrap_or(image.received_at_ms)),
    }
}

/// A record as people are shown it.
pub(crate) fn details(record: ImageRecord) -> ImageDetails {
    let image = record.image;
    let sidecar = Sidecar::of(&image).unwrap_or_else(|error| {
        tracing::warn!(id = %image.id, %error, "an image is shown without what is known beside its file");
        None
    });
    let description = image.description;
    ImageDetails {
        id: image.id,
        row_key: image.row_key.to_string(),
        name: image.name,
        label: image.label,
        status: status(record.status),
        reason: record.reason,
        sha256: hex::encode(image.sha256),
        bytes: image.bytes,
        format: image.format,
        content_type: image.content_type,
        width: description.width.unwrap_or_default(),
        height: description.height.unwrap_or_default(),
        frames: description.frames.unwrap_or(1),
        image_type: description.image_type,
        modality: description.modality,
        body_part: description.body_part,
        study_uid: description.study_uid,
        series_uid: description.series_uid,
        instance_uid: description.instance_uid,
        patient_id: description.patient_id,
        study_date: description.study_date,
        received_at_ms: image.received_at_ms,
        indexed_at_ms: record.indexed_at_ms,
        regions: sidecar.as_ref().map(|sidecar| sidecar.regions.clone()).unwrap_or_default(),
        sidecar,
    }
}

/// Where an image stands, as people are shown it.
pub(crate) fn status(status: RecordStatus) -> ImageStatus {
    match status {
        RecordStatus::Received => ImageStatus::Received,
        RecordStatus::Indexed => ImageStatus::Indexed,
        RecordStatus::Failed => ImageStatus::Failed,
        RecordStatus::Deleting => ImageStatus::Deleting,
    }
}
