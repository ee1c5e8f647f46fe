//! Which entries a search may return.

pub(crate) mod bitmap;
pub(crate) mod evaluate;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An attribute that a filter can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// [`crate::Attributes::image_type`].
    ImageType,
    /// [`crate::Attributes::modality`].
    Modality,
    /// [`crate::Attributes::body_part`].
    BodyPart,
    /// [`crate::Attributes::label`].
    Label,
    /// [`crate::Attributes::organisation`].
    Organisation,
    /// [`crate::Attributes::study`].
    Study,
    /// [`crate::Attributes::patient`].
    Patient,
}

impl Field {
    /// Every field, in the order of their declaration.
    pub const ALL: [Self; 7] = [
        Self::ImageType,
        Self::Modality,
        Self::BodyPart,
        Self::Label,
        Self::Organisation,
        Self::Study,
        Self::Patient,
    ];

    /// The field's name as users write it, such as `body_part`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ImageType => "image_type",
            Self::Modality => "modality",
            Self::BodyPart => "body_part",
            Self::Label => "label",
            Self::Organisation => "organisation",
            Self::Study => "study",
            Self::Patient => "patient",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A filter named a field that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no filter field {0:?}; the fields are image_type, modality, body_part, label, organisation, study and patient"
)]
pub struct UnknownField(pub String);

impl FromStr for Field {
    type Err = UnknownField;

    fn from_str(name: &str) -> Result<Self, UnknownField> {
        Self::ALL.into_iter().find(|field| field.name() == name).ok_or_else(|| UnknownField(name.to_owned()))
    }
}

/// Which entries a search may return.
///
/// An entry without a value for a field equals no value of it, and so does match the negation. A value that no
/// entry has matches nothing; it is not an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Every entry.
    #[default]
    All,
    /// Entries whose `field` is `value`.
    Equals {
        /// The field compared.
        field: Field,
        /// The value it must have.
        value: String,
    },
    /// Entries whose `field` is one of `values`; none when `values` is empty.
    In {
        /// The field compared.
        field: Field,
        /// The values it may have.
        values: Vec<String>,
    },
    /// Entries with a time in `from_ms..to_ms` (the end excluded), in milliseconds since 1970-01-01 UTC.
    TimeRange {
        /// The first time that matches.
        from_ms: i64,
        /// The first time that no longer matches.
        to_ms: i64,
    },
    /// Entries that match every one of these; all entries when empty.
    And(Vec<Filter>),
    /// Entries that match at least one of these; none when empty.
    Or(Vec<Filter>),
    /// Entries that do not match.
    Not(Box<Filter>),
}

impl Filter {
    /// Entries whose `field` is `value`.
    pub fn equals(field: Field, value: impl Into<String>) -> Self {
        Self::Equals { field, value: value.into() }
    }
}
