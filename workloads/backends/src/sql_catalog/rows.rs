//! Records as rows and back.

use medindex_proto::{ImageId, RowKey};
use sqlx::Row;
use sqlx::any::AnyRow;

use crate::catalog::records::{MAX_LONG_TEXT, MAX_SHORT_TEXT, check_length};
use crate::catalog::{Alarm, CatalogError, ImageDescription, ImageRecord, NewImage, Operation, Result};

/// Columns of an image, in the order in which [`read_image`] and [`super::images`] use them.
pub(super) const IMAGE_COLUMNS: &str = "id, organisation, row_key, sha256, md5, name, label, content_type, format, \
     bytes, status, reason, image_type, modality, body_part, study_uid, series_uid, instance_uid, patient_id, \
     study_date, acquired_ms, width, height, frames, transfer_syntax, received_at_ms, indexed_at_ms, generation, sidecar";

/// Reads the columns of a row one after the other.
struct Columns<'r> {
    row: &'r AnyRow,
    next: usize,
}

impl Columns<'_> {
    fn text(&mut self) -> Result<String, sqlx::Error> {
        self.next += 1;
        self.row.try_get(self.next - 1)
    }

    fn optional_text(&mut self) -> Result<Option<String>, sqlx::Error> {
        self.next += 1;
        self.row.try_get(self.next - 1)
    }

    fn number(&mut self) -> Result<i64, sqlx::Error> {
        self.next += 1;
        self.row.try_get(self.next - 1)
    }

    fn optional_number(&mut self) -> Result<Option<i64>, sqlx::Error> {
        self.next += 1;
        self.row.try_get(self.next - 1)
    }
}

/// Why a row could not be read.
pub(super) enum RowError {
    /// A column is missing or has another type.
    Column(sqlx::Error),
    /// A value means nothing.
    Value(CatalogError),
}

impl From<sqlx::Error> for RowError {
    fn from(error: sqlx::Error) -> Self {
        Self::Column(error)
    }
}

impl From<CatalogError> for RowError {
    fn from(error: CatalogError) -> Self {
        Self::Value(error)
    }
}

pub(super) fn read_image(row: &AnyRow) -> Result<ImageRecord, RowError> {
    let mut columns = Columns { row, next: 0 };
    let id = read_id(columns.text()?)?;
    let organisation = columns.text()?;
    let row_key = parse("row key", columns.text()?, |text| RowKey::parse(text).ok())?;
    let sha256 = parse("SHA-256", columns.text()?, from_hex)?;
    let md5 = parse("MD5", columns.text()?, from_hex)?;
    let (name, label) = (columns.text()?, columns.optional_text()?);
    let (content_type, format) = (columns.text()?, columns.text()?);
    let bytes = unsigned("length", columns.number()?)?;
    let status = parse("status", columns.text()?, |text| text.parse().ok())?;
    let reason = columns.optional_text()?;
    let description = read_description(&mut columns)?;
    let received_at_ms = columns.number()?;
    let indexed_at_ms = columns.optional_number()?;
    let generation = unsigned("generation", columns.number()?)?;
    let sidecar = columns.optional_text()?;
    let image = NewImage {
        id,
        row_key,
        organisation,
        sha256,
        md5,
        name,
        label,
        content_type,
        format,
        bytes,
        received_at_ms,
        description,
        sidecar,
    };
    Ok(ImageRecord { image, status, reason, indexed_at_ms, generation })
}

fn read_description(columns: &mut Columns<'_>) -> Result<ImageDescription, RowError> {
    let count = |field, value: Option<i64>| value.map(|value| unsigned(field, value)).transpose();
    Ok(ImageDescription {
        image_type: columns.optional_text()?,
        modality: columns.optional_text()?,
        body_part: columns.optional_text()?,
        study_uid: columns.optional_text()?,
        series_uid: columns.optional_text()?,
        instance_uid: columns.optional_text()?,
        patient_id: columns.optional_text()?,
        study_date: columns.optional_text()?,
        acquired_ms: columns.optional_number()?,
        width: count("width", columns.optional_number()?)?,
        height: count("height", columns.optional_number()?)?,
        frames: count("number of frames", columns.optional_number()?)?,
        transfer_syntax: columns.optional_text()?,
    })
}

pub(super) fn read_operation(row: &AnyRow) -> Result<Operation, RowError> {
    let mut columns = Columns { row, next: 0 };
    Ok(Operation {
        id: read_id(columns.text()?)?,
        at_ms: columns.number()?,
        actor: columns.text()?,
        action: columns.text()?,
        subject: columns.text()?,
        outcome: columns.text()?,
        detail: columns.text()?,
        organisation: columns.text()?,
        trace_id: columns.text()?,
    })
}

pub(super) fn read_alarm(row: &AnyRow) -> Result<Alarm, RowError> {
    let mut columns = Columns { row, next: 0 };
    Ok(Alarm {
        kind: columns.text()?,
        subject: columns.text()?,
        raised_at_ms: columns.number()?,
        seen_at_ms: columns.number()?,
        cleared_at_ms: columns.optional_number()?,
        detail: columns.text()?,
    })
}

pub(super) fn read_id(text: String) -> Result<ImageId> {
    parse("image id", text, |text| ImageId::parse(text).ok())
}

pub(super) fn parse<T>(field: &'static str, text: String, read: impl Fn(&str) -> Option<T>) -> Result<T> {
    read(&text).ok_or(CatalogError::Decode { field, value: text })
}

pub(super) fn unsigned<T: TryFrom<i64>>(field: &'static str, value: i64) -> Result<T> {
    T::try_from(value).map_err(|_| CatalogError::Decode { field, value: value.to_string() })
}

/// A count as the database keeps it; counts stay far below 2^63.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// Checks a text that has an indexed column.
pub(super) fn check_short(field: &'static str, text: &str) -> Result<()> {
    check_length(field, text, MAX_SHORT_TEXT)
}

/// Checks a text that has a column for long texts.
pub(super) fn check_long(field: &'static str, text: &str) -> Result<()> {
    check_length(field, text, MAX_LONG_TEXT)
}

/// Checks the texts of an offered image.
pub(super) fn check_image(image: &NewImage) -> Result<()> {
    check_short("organisation", &image.organisation)?;
    check_long("name", &image.name)?;
    check_short("label", image.label.as_deref().unwrap_or_default())?;
    check_short("content type", &image.content_type)?;
    check_short("format", &image.format)?;
    check_long("sidecar", image.sidecar.as_deref().unwrap_or_default())?;
    check_description(&image.description)
}

/// Checks the texts of a description.
pub(super) fn check_description(description: &ImageDescription) -> Result<()> {
    let texts = [
        ("image type", &description.image_type),
        ("modality", &description.modality),
        ("body part", &description.body_part),
        ("study UID", &description.study_uid),
        ("series UID", &description.series_uid),
        ("instance UID", &description.instance_uid),
        ("patient id", &description.patient_id),
        ("study date", &description.study_date),
        ("transfer syntax", &description.transfer_syntax),
    ];
    texts.iter().try_for_each(|(field, text)| check_short(field, text.as_deref().unwrap_or_default()))
}
