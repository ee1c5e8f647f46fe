//! Identity of an image and where it lives.
//!
//! One number places an image everywhere: queue partition, table region and search partition are the same, so
//! messages of one image keep their order and a search shard knows its regions without asking.
//!
//! Guarantees: the placement of an id is a pure function of its text and the number of partitions, the same in
//! every process and release. Row keys of one partition sort together, partitions in ascending order.

use std::fmt;
use std::str::FromStr;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::names::MAX_PARTITIONS;

/// Length of a row key in bytes: four digits, a bar, eight hexadecimal digits, an id.
pub const ROW_KEY_LENGTH: usize = 4 + 1 + 8 + 36;

/// Why an id, a row key or a number of partitions was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// The text is no image id.
    #[error(
        "{text:?} is no image id: expected a lower-case UUID with hyphens, such as 0197f0a2-1c3d-7e4f-8a5b-6c7d8e9f0a1b"
    )]
    ParseImageId {
        /// What was given, cut to a readable length.
        text: String,
    },
    /// The text is no row key.
    #[error("{text:?} is no row key: {reason}")]
    ParseRowKey {
        /// What was given, cut to a readable length.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The row key belongs to an index with another number of partitions.
    #[error(
        "row key {row_key} lies in partition {found}, but with {partitions} partitions its image belongs to {expected}: was it made for an index with another number of partitions?"
    )]
    WrongPartition {
        /// The row key.
        row_key: RowKey,
        /// Partition in the row key.
        found: u32,
        /// Partition that the image id gives.
        expected: u32,
        /// Number of partitions of this index.
        partitions: u32,
    },
    /// The number of partitions cannot be used.
    #[error("{partitions} partitions cannot be used: choose 1 to {MAX_PARTITIONS}")]
    CheckPartitions {
        /// What was asked for.
        partitions: u32,
    },
}

/// Checks a configured number of partitions.
///
/// # Errors
/// [`IdentityError::CheckPartitions`] unless it is 1 to [`MAX_PARTITIONS`].
pub fn check_partitions(partitions: u32) -> Result<u32, IdentityError> {
    if (1..=MAX_PARTITIONS).contains(&partitions) {
        Ok(partitions)
    } else {
        Err(IdentityError::CheckPartitions { partitions })
    }
}

/// Identity of an image: a UUID of version 7, so that ids sort by the time of upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(Uuid);

impl ImageId {
    /// A new id, later than every id made before by this process.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// Reads an id from its text: a lower-case UUID with hyphens, of any version.
    ///
    /// # Errors
    /// [`IdentityError::ParseImageId`] for anything else, upper-case digits included: an id has one spelling,
    /// because its text is what is hashed.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let refused = || IdentityError::ParseImageId { text: excerpt(text) };
        let has_one_spelling = text.len() == 36 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
        if !has_one_spelling {
            return Err(refused());
        }
        Uuid::try_parse(text).map(Self).map_err(|_| refused())
    }

    /// The 16 bytes of the id.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id that has these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// MD5 of the id's text, as a number.
    fn hash(self) -> u128 {
        let mut buffer = Uuid::encode_buffer();
        let text = self.0.hyphenated().encode_lower(&mut buffer);
        u128::from_be_bytes(Md5::digest(text.as_bytes()).into())
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

impl FromStr for ImageId {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for ImageId {
    type Error = IdentityError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> Self {
        id.to_string()
    }
}

/// Partition of an image, 0 to `partitions - 1`: MD5 of the id's text, a 128-bit number, modulo `partitions`.
///
/// # Panics
/// When `partitions` is 0; settings pass through [`check_partitions`] first.
pub fn partition_of(id: &ImageId, partitions: u32) -> u32 {
    (id.hash() % u128::from(partitions)) as u32
}

/// Row key of an image: `{partition:04}|{last 8 hexadecimal digits of the MD5}{id}`.
///
/// The eight digits spread rows inside a region; the id at the end keeps keys unique.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RowKey(String);

impl RowKey {
    /// Row key of an image in an index of `partitions` partitions.
    ///
    /// # Panics
    /// When `partitions` is 0; settings pass through [`check_partitions`] first.
    pub fn new(id: &ImageId, partitions: u32) -> Self {
        let hash = id.hash();
        let partition = hash % u128::from(partitions);
        Self(format!("{partition:04}|{:08x}{id}", hash as u32))
    }

    /// Reads a row key and checks that its digits fit its id.
    ///
    /// # Errors
    /// [`IdentityError::ParseRowKey`] with the reason.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let refused = |reason| IdentityError::ParseRowKey { text: excerpt(text), reason };
        if text.len() != ROW_KEY_LENGTH || !text.is_ascii() {
            return Err(refused("it must have 49 characters, all ASCII"));
        }
        let (partition, rest) = text.split_at(4);
        if !partition.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused("it must begin with the partition in four digits"));
        }
        let Some(rest) = rest.strip_prefix('|') else {
            return Err(refused("a bar must follow the partition"));
        };
        let (digits, id) = rest.split_at(8);
        let id = ImageId::parse(id).map_err(|_| refused("it must end with an image id"))?;
        if digits != format!("{:08x}", id.hash() as u32) {
            return Err(refused("its eight hexadecimal digits are not those of its image id"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Partition in the key, 0 to 9,999.
    pub fn partition(&self) -> u32 {
        self.0.as_bytes()[..4].iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
    }

    /// The image's id.
    #[allow(clippy::expect_used)]
    pub fn image_id(&self) -> ImageId {
        ImageId::parse(&self.0[ROW_KEY_LENGTH - 36..])
            .expect("every RowKey ends with an id: new and parse ensure it")
    }

    /// Checks that the key is the one its image has in an index of `partitions` partitions.
    ///
    /// # Errors
    /// [`IdentityError::WrongPartition`], or [`IdentityError::CheckPartitions`].
    pub fn check(&self, partitions: u32) -> Result<(), IdentityError> {
        let expected = partition_of(&self.image_id(), check_partitions(partitions)?);
        let found = self.partition();
        if found == expected {
            Ok(())
        } else {
            Err(IdentityError::WrongPartition { row_key: self.clone(), found, expected, partitions })
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RowKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl AsRef<str> for RowKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for RowKey {
    type Err = IdentityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for RowKey {
    type Error = IdentityError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<RowKey> for String {
    fn from(key: RowKey) -> Self {
        key.0
    }
}

/// What every row key of a partition begins with.
pub fn row_prefix(partition: u32) -> String {
    format!("{partition:04}|")
}

/// Split keys that make exactly `partitions` regions: `0001|` to the last partition's prefix.
///
/// The first region needs no key: a list that began with `0000|` would leave a region empty for ever.
pub fn split_keys(partitions: u32) -> Vec<String> {
    (1..partitions).map(row_prefix).collect()
}

/// The first 64 characters, for error messages.
fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests;
