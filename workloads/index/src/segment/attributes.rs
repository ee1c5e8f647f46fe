//! The attributes of a segment's rows, column by column.
//!
//! A field of few values has a dictionary and a column of codes (0 for no value, else the value's index + 1),
//! and, when they take at most two bytes a row, a set of rows for each value. Studies and patients have too many
//! values for a dictionary: they are 64-bit digests (SHA-256, cut). Two of ten million studies share a digest
//! with probability 3 in a million. Times are multiples of the largest unit that divides all of them, counted
//! from the earliest.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::entry::Attributes;
use crate::filter::Field;
use crate::filter::bitmap::Bitmap;
use crate::index::IndexError;
use crate::segment::integers::Integers;
use crate::segment::value_sets::ValueSets;
use crate::snapshot::mapping::Column;
use crate::snapshot::section_file::{SectionFile, SectionWriter};

/// The fields with a dictionary.
pub(crate) const DICTIONARY_FIELDS: [Field; 5] =
    [Field::ImageType, Field::Modality, Field::BodyPart, Field::Label, Field::Organisation];

/// Times are kept within this distance of 1970, in milliseconds: 146 million years.
const FARTHEST_TIME: i64 = 1 << 62;

/// The digest of a study or patient.
pub(crate) fn digest_of(field: Field, value: &str) -> u64 {
    digest(field.name(), value.as_bytes())
}

/// The digest that stands for the missing study or patient of an image: the image is its own group.
pub(crate) fn digest_of_image(id: &[u8; 16]) -> u64 {
    digest("image", id)
}

fn digest(domain: &str, value: &[u8]) -> u64 {
    let hash = Sha256::new_with_prefix(domain.as_bytes()).chain_update([0]).chain_update(value).finalize();
    u64::from_le_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]])
}

/// A dictionary and the codes of a field.
#[derive(Debug)]
struct ValueColumn {
    /// Ascending.
    values: Vec<String>,
    codes: Integers,
    sets: Option<ValueSets>,
}

/// Times as multiples of a unit.
#[derive(Debug)]
struct TimeColumn {
    base: i64,
    unit: u64,
    /// 0 for no time, else (time - base) / unit + 1.
    codes: Integers,
}

/// What the footer of a segment file says of its columns.
#[derive(Serialize, Deserialize)]
pub(crate) struct AttributesAbout {
    fields: Vec<FieldAbout>,
    time_base: i64,
    time_unit: u64,
    time_width: u8,
}

#[derive(Serialize, Deserialize)]
struct FieldAbout {
    name: String,
    width: u8,
    values: Vec<String>,
}

/// The attributes of a segment's rows.
#[derive(Debug)]
pub(crate) struct AttributeColumns {
    /// In the order of [`DICTIONARY_FIELDS`].
    fields: Vec<ValueColumn>,
    studies: Column<u64>,
    patients: Column<u64>,
    times: TimeColumn,
}

/// Collects the attributes of rows to come.
pub(crate) struct AttributesBuilder {
    values: [std::collections::BTreeMap<String, u64>; 5],
    codes: [Vec<u64>; 5],
    studies: Vec<u64>,
    patients: Vec<u64>,
    times: Vec<Option<i64>>,
}

impl AttributesBuilder {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self {
            values: Default::default(),
            codes: std::array::from_fn(|_| Vec::with_capacity(rows)),
            studies: Vec::with_capacity(rows),
            patients: Vec::with_capacity(rows),
            times: Vec::with_capacity(rows),
        }
    }

    /// Appends a row of an entry of the image `id`.
    pub(crate) fn push(&mut self, id: &[u8; 16], attributes: &Attributes) {
        let values = [
            &attributes.image_type,
            &attributes.modality,
            &attributes.body_part,
            &attributes.label,
            &attributes.organisation,
        ];
        for (field, value) in values.into_iter().enumerate() {
            let code = value.as_ref().map_or(0, |value| self.code(field, value));
            self.codes[field].push(code);
        }
        let group = |field, value: &Option<String>| {
            value.as_ref().map_or_else(|| digest_of_image(id), |value| digest_of(field, value))
        };
        self.studies.push(group(Field::Study, &attributes.study));
        self.patients.push(group(Field::Patient, &attributes.patient));
        self.times.push(attributes.time_ms.map(|time| time.clamp(-FARTHEST_TIME, FARTHEST_TIME)));
    }

    /// The value's code, counted from 1 in the order of appearance.
    fn code(&mut self, field: usize, value: &str) -> u64 {
        if let Some(&code) = self.values[field].get(value) {
            return code;
        }
        let code = self.values[field].len() as u64 + 1;
        self.values[field].insert(value.to_owned(), code);
        code
    }

    /// Appends the rows `rows` of another segment's columns.
    pub(crate) fn extend(&mut self, columns: &AttributeColumns, rows: impl Iterator<Item = usize> + Clone) {
        for (field, column) in columns.fields.iter().enumerate() {
            // A value is entered at its first row: values that only removed rows had are left behind.
            let mut translated = vec![0; column.values.len() + 1];
            for row in rows.clone() {
                let old = column.codes.get(row) as usize;
                if old != 0 && translated[old] == 0 {
                    translated[old] = self.code(field, &column.values[old - 1]);
                }
                self.codes[field].push(translated[old]);
            }
        }
        for row in rows {
            self.studies.push(columns.studies[row]);
            self.patients.push(columns.patients[row]);
            self.times.push(columns.times.get(row));
        }
    }

    pub(crate) fn build(self) -> AttributeColumns {
        let fields =
            self.values.into_iter().zip(self.codes).map(|(values, codes)| value_column(values, codes));
        AttributeColumns {
            fields: fields.collect(),
            studies: Column::Owned(self.studies),
            patients: Column::Owned(self.patients),
            times: time_column(&self.times),
        }
    }
}

/// Renumbers codes of appearance by the order of their values.
fn value_column(values: std::collections::BTreeMap<String, u64>, mut codes: Vec<u64>) -> ValueColumn {
    let mut order = vec![0; values.len() + 1];
    for (rank, &code) in values.values().enumerate() {
        order[code as usize] = rank as u64 + 1;
    }
    for code in &mut codes {
        *code = order[*code as usize];
    }
    ValueColumn { values: values.into_keys().collect(), codes: Integers::narrow(&codes), sets: None }
}

fn time_column(times: &[Option<i64>]) -> TimeColumn {
    let base = times.iter().flatten().copied().min().unwrap_or(0);
    let offsets = || times.iter().map(|time| time.map(|time| time.wrapping_sub(base) as u64));
    let unit = offsets().flatten().fold(0, greatest_common_divisor).max(1);
    let codes: Vec<u64> = offsets().map(|offset| offset.map_or(0, |offset| offset / unit + 1)).collect();
    TimeColumn { base, unit, codes: Integers::narrow(&codes) }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl TimeColumn {
    fn get(&self, row: usize) -> Option<i64> {
        let code = self.codes.get(row);
        (code != 0).then(|| self.base.wrapping_add(((code - 1) * self.unit) as i64))
    }

    /// The rows with a time in `from..to`.
    fn between(&self, from: i64, to: i64, rows: usize) -> Bitmap {
        let (base, unit) = (i128::from(self.base), i128::from(self.unit));
        // The first code at or after a time is ceil((time - base) / unit) + 1, at least 1.
        let code_at = |time: i64| (i128::from(time) - base + unit - 1).div_euclid(unit).max(0) + 1;
        let (first, last) = (code_at(from), code_at(to) - 1);
        if from >= to || last < first {
            return Bitmap::none(rows);
        }
        let bound = |code: i128| u64::try_from(code).unwrap_or(u64::MAX);
        self.codes.between(bound(first), bound(last))
    }
}

impl AttributeColumns {
    /// Main memory held, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let fields: u64 = self
            .fields
            .iter()
            .map(|column| {
                let values: u64 = column.values.iter().map(|value| value.len() as u64 + 24).sum();
                values + column.codes.memory_bytes() + column.sets.as_ref().map_or(0, ValueSets::memory_bytes)
            })
            .sum();
        fields + self.studies.memory_bytes() + self.patients.memory_bytes() + self.times.codes.memory_bytes()
    }

    /// The digest of the row's study; of its image when it has none.
    #[inline]
    pub(crate) fn study(&self, row: usize) -> u64 {
        self.studies[row]
    }

    /// The digest of the row's patient; of its image when it has none.
    #[inline]
    pub(crate) fn patient(&self, row: usize) -> u64 {
        self.patients[row]
    }

    /// The row's time.
    #[cfg(test)]
    pub(crate) fn time(&self, row: usize) -> Option<i64> {
        self.times.get(row)
    }

    /// The rows whose `field` is one of `values`.
    pub(crate) fn rows_with(&self, field: Field, values: &[&str]) -> Bitmap {
        let rows = self.studies.len();
        let digests = |column: &[u64]| {
            let wanted: Vec<u64> = values.iter().map(|value| digest_of(field, value)).collect();
            Bitmap::from_fn(rows, |row| wanted.contains(&column[row]))
        };
        match field {
            Field::Study => digests(&self.studies),
            Field::Patient => digests(&self.patients),
            Field::ImageType => self.fields[0].rows_with(values, rows),
            Field::Modality => self.fields[1].rows_with(values, rows),
            Field::BodyPart => self.fields[2].rows_with(values, rows),
            Field::Label => self.fields[3].rows_with(values, rows),
            Field::Organisation => self.fields[4].rows_with(values, rows),
        }
    }

    /// The rows with a time in `from_ms..to_ms`.
    pub(crate) fn rows_between(&self, from_ms: i64, to_ms: i64) -> Bitmap {
        self.times.between(from_ms, to_ms, self.studies.len())
    }

    /// Writes the columns and returns what the footer must say of them.
    pub(crate) fn write(&self, writer: &mut SectionWriter) -> Result<AttributesAbout, IndexError> {
        let mut fields = Vec::new();
        for (field, column) in DICTIONARY_FIELDS.into_iter().zip(&self.fields) {
            column.codes.write(writer, field.name())?;
            fields.push(FieldAbout {
                name: field.name().to_owned(),
                width: column.codes.width(),
                values: column.values.clone(),
            });
        }
        writer.section::<u64>("studies", &self.studies)?;
        writer.section::<u64>("patients", &self.patients)?;
        self.times.codes.write(writer, "times")?;
        Ok(AttributesAbout {
            fields,
            time_base: self.times.base,
            time_unit: self.times.unit,
            time_width: self.times.codes.width(),
        })
    }

    /// Opens the columns of a file whose checksums were verified.
    pub(crate) fn open(file: &SectionFile, about: AttributesAbout, rows: usize) -> Result<Self, IndexError> {
        let mut fields = Vec::new();
        for (field, stored) in DICTIONARY_FIELDS.into_iter().zip(about.fields) {
            if stored.name != field.name() {
                return Err(file.corrupt(format!("it has field {} in place of {field}", stored.name)));
            }
            let codes = Integers::open(file, field.name(), rows, stored.width)?;
            if (0..rows).any(|row| codes.get(row) > stored.values.len() as u64) {
                return Err(file.corrupt(format!("a row has a value of {field} that the dictionary lacks")));
            }
            let sets = ValueSets::build(&codes, stored.values.len(), rows);
            fields.push(ValueColumn { values: stored.values, codes, sets });
        }
        if fields.len() != DICTIONARY_FIELDS.len() || about.time_unit == 0 {
            return Err(file.corrupt("its attributes are not complete"));
        }
        let codes = Integers::open(file, "times", rows, about.time_width)?;
        let times = TimeColumn { base: about.time_base, unit: about.time_unit, codes };
        Ok(Self {
            fields,
            studies: file.column("studies", rows)?,
            patients: file.column("patients", rows)?,
            times,
        })
    }
}

impl ValueColumn {
    fn rows_with(&self, values: &[&str], rows: usize) -> Bitmap {
        let mut found = Bitmap::none(rows);
        for value in values {
            if let Ok(rank) = self.values.binary_search_by(|known| known.as_str().cmp(value)) {
                match &self.sets {
                    Some(sets) => sets.add_to(rank, &mut found),
                    None => found.or(&self.codes.between(rank as u64 + 1, rank as u64 + 1)),
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
