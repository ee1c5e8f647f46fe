//! What the catalog keeps of a DICOM file.

use super::data_set::{DataSet, Tag};
use super::objects::image_type_of;
use super::text::{acquired_ms, iso_date, text};
use crate::error::ImagingError;
use crate::info::ImageAttributes;

const SOP_CLASS_UID: Tag = 0x0008_0016;
const SOP_INSTANCE_UID: Tag = 0x0008_0018;
const STUDY_DATE: Tag = 0x0008_0020;
const MODALITY: Tag = 0x0008_0060;
const MANUFACTURER: Tag = 0x0008_0070;
const CODE_MEANING: Tag = 0x0008_0104;
const STUDY_DESCRIPTION: Tag = 0x0008_1030;
const SERIES_DESCRIPTION: Tag = 0x0008_103E;
const ANATOMIC_REGION: Tag = 0x0008_2218;
const PATIENT_ID: Tag = 0x0010_0020;
const BODY_PART_EXAMINED: Tag = 0x0018_0015;
const VIEW_POSITION: Tag = 0x0018_5101;
const STUDY_UID: Tag = 0x0020_000D;
const SERIES_UID: Tag = 0x0020_000E;
const LATERALITY: Tag = 0x0020_0060;
const IMAGE_LATERALITY: Tag = 0x0020_0062;
const IMAGE_COMMENTS: Tag = 0x0020_4000;

/// Reads the attributes of a data set.
pub(crate) fn read(data_set: &DataSet<'_>) -> Result<ImageAttributes, ImagingError> {
    let modality = data_set.code(MODALITY);
    let region = data_set.first_item(ANATOMIC_REGION)?;
    let body_part = text(data_set, BODY_PART_EXAMINED)
        .or_else(|| region.and_then(|item| text(&item, CODE_MEANING)))
        .map(|part| part.to_uppercase());
    let description = [SERIES_DESCRIPTION, STUDY_DESCRIPTION, IMAGE_COMMENTS]
        .into_iter()
        .find_map(|tag| text(data_set, tag));
    Ok(ImageAttributes {
        image_type: modality.as_deref().map(|modality| image_type_of(modality).to_owned()),
        body_part,
        study_uid: data_set.code(STUDY_UID),
        series_uid: data_set.code(SERIES_UID),
        instance_uid: data_set.code(SOP_INSTANCE_UID),
        class_uid: data_set.code(SOP_CLASS_UID),
        patient_id: text(data_set, PATIENT_ID),
        study_date: iso_date(data_set, STUDY_DATE),
        acquired_ms: acquired_ms(data_set),
        description,
        manufacturer: text(data_set, MANUFACTURER),
        view_position: data_set.code(VIEW_POSITION),
        laterality: data_set.code(IMAGE_LATERALITY).or_else(|| data_set.code(LATERALITY)),
        modality,
    })
}
