//! Names of DICOM objects for messages, and the normalised kind of an image.

use dicom_dictionary_std::StandardSopClassDictionary;
use dicom_dictionary_std::uids;

use dicom_core::dictionary::UidDictionary;

use super::data_set::{DataSet, Tag};

const SOP_CLASS_UID: Tag = 0x0008_0016;
const MODALITY: Tag = 0x0008_0060;
const DIRECTORY_RECORDS: Tag = 0x0004_1220;

/// What kind of object a data set without pixels is.
pub(crate) fn describe_object(data_set: &DataSet<'_>) -> String {
    if data_set.get(DIRECTORY_RECORDS).is_some() {
        return "a DICOMDIR, the table of contents of a medium (import the folder instead)".to_owned();
    }
    match (data_set.code(SOP_CLASS_UID), data_set.code(MODALITY)) {
        (Some(uid), _) if uid == uids::MEDIA_STORAGE_DIRECTORY_STORAGE => {
            "a DICOMDIR, the table of contents of a medium (import the folder instead)".to_owned()
        }
        (Some(uid), modality) => match StandardSopClassDictionary.by_uid(&uid) {
            Some(class) => format!("an object of class \"{}\"", class.name),
            None => match modality {
                Some(modality) => format!("an object of class {uid} and modality {modality}"),
                None => format!("an object of class {uid}"),
            },
        },
        (None, Some(modality)) => format!("an object of modality {modality} and of unknown class"),
        (None, None) if data_set.len() < 3 => "a file with hardly any element".to_owned(),
        (None, None) => "an object of unknown class".to_owned(),
    }
}

/// The normalised kind of an image from its modality (PS3.3 C.7.3.1.1.1).
pub(crate) fn image_type_of(modality: &str) -> &'static str {
    match modality.to_ascii_uppercase().as_str() {
        "CT" => "CT",
        "MR" | "MA" | "MS" => "MR",
        "CR" | "DX" | "DR" | "RF" | "RG" | "XA" | "XR" | "IO" | "PX" | "RTIMAGE" | "CF" | "DF" | "DS" => "XR",
        "MG" => "MG",
        "US" | "IVUS" | "EC" | "DD" | "CD" | "BDUS" => "US",
        "NM" | "ST" => "NM",
        "PT" | "PET" => "PT",
        "OP" | "OPT" | "OCT" | "OPM" | "IVOCT" | "FA" | "FS" => "OP",
        "ES" | "CP" | "LP" => "ES",
        "SM" | "GM" => "SM",
        "XC" => "XC",
        _ => "OT",
    }
}
