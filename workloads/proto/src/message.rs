//! Writing and reading queue messages.
//!
//! Guarantees: what [`Message::write`] makes, [`Message::read`] of this release and of every later one accepts.
//! Whatever else arrives (garbage, a future schema, a message too large, fields that contradict each other) is
//! refused by name, and never half-read: the version is read alone before anything else is trusted.

use bytes::Bytes;
use prost::Message as _;
use thiserror::Error;

use crate::identity::{IdentityError, ImageId, RowKey};
use crate::messages::{
    DeadLetter, Envelope, ImageIndexed, ImageUpload, OperationEvent, image_indexed, image_upload,
};
use crate::names::{MAX_INLINE_BYTES, MAX_MESSAGE_BYTES};

/// Why a message was refused.
#[derive(Debug, Error)]
pub enum MessageError {
    /// The bytes are no such message.
    #[error("not a {kind} message: {source}; the sender is broken or writes to the wrong topic")]
    Decode {
        /// Which message was expected.
        kind: &'static str,
        /// What the decoder met.
        #[source]
        source: prost::DecodeError,
    },
    /// The message carries no schema version, as no message of ours does.
    #[error("not a {kind} message: it carries no schema version")]
    Unversioned {
        /// Which message was expected.
        kind: &'static str,
    },
    /// The message was written by a later release.
    #[error(
        "{kind} message of schema version {found}, this release reads up to {supported}: upgrade this process"
    )]
    FutureVersion {
        /// Which message was expected.
        kind: &'static str,
        /// Version in the message.
        found: u32,
        /// Highest version that this release reads.
        supported: u32,
    },
    /// The message is larger than any message may be.
    #[error("{kind} message of {bytes} bytes, the limit is {limit}: larger values belong in the image store")]
    TooLarge {
        /// Which message was expected.
        kind: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// An identity in the message is wrong.
    #[error("{kind} message with a wrong identity: {source}")]
    Identity {
        /// Which message was expected.
        kind: &'static str,
        /// What is wrong.
        #[source]
        source: IdentityError,
    },
    /// A field is missing or contradicts another.
    #[error("{kind} message with a wrong {field}: {reason}")]
    Field {
        /// Which message was expected.
        kind: &'static str,
        /// The field.
        field: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
}

/// A message of one of our topics.
pub trait Message: prost::Message + Default + Clone + PartialEq {
    /// Name for errors and logs.
    const KIND: &'static str;
    /// Schema version that this release writes, and the highest that it reads.
    const SCHEMA_VERSION: u32;

    /// Sets the schema version of this release.
    fn set_version(&mut self);

    /// Checks the fields against each other.
    ///
    /// # Errors
    /// [`MessageError::Identity`] or [`MessageError::Field`].
    fn check(&self) -> Result<(), MessageError>;

    /// Stamps the schema version, checks the fields and encodes.
    ///
    /// # Errors
    /// As [`Message::check`], or [`MessageError::TooLarge`].
    fn write(&self) -> Result<Bytes, MessageError> {
        self.check()?;
        let mut message = self.clone();
        message.set_version();
        check_size::<Self>(message.encoded_len())?;
        Ok(message.encode_to_vec().into())
    }

    /// Decodes and checks a message.
    ///
    /// # Errors
    /// Every variant of [`MessageError`].
    fn read(payload: &Bytes) -> Result<Self, MessageError> {
        check_size::<Self>(payload.len())?;
        let kind = Self::KIND;
        let version = Envelope::decode(payload.clone())
            .map_err(|source| MessageError::Decode { kind, source })?
            .schema_version;
        if version == 0 {
            return Err(MessageError::Unversioned { kind });
        }
        if version > Self::SCHEMA_VERSION {
            return Err(MessageError::FutureVersion {
                kind,
                found: version,
                supported: Self::SCHEMA_VERSION,
            });
        }
        let message =
            Self::decode(payload.clone()).map_err(|source| MessageError::Decode { kind, source })?;
        message.check()?;
        Ok(message)
    }
}

fn check_size<M: Message>(bytes: usize) -> Result<(), MessageError> {
    if bytes > MAX_MESSAGE_BYTES {
        return Err(MessageError::TooLarge { kind: M::KIND, bytes, limit: MAX_MESSAGE_BYTES });
    }
    Ok(())
}

/// Checks that id and row key are well-formed and belong together.
fn check_identity(kind: &'static str, image_id: &str, row_key: &str) -> Result<(), MessageError> {
    let wrong = |source| MessageError::Identity { kind, source };
    let id = ImageId::parse(image_id).map_err(wrong)?;
    let key = RowKey::parse(row_key).map_err(wrong)?;
    if key.image_id() == id {
        Ok(())
    } else {
        Err(MessageError::Field { kind, field: "row_key", reason: "it is the row key of another image" })
    }
}

impl Message for ImageUpload {
    const KIND: &'static str = "ImageUpload";
    const SCHEMA_VERSION: u32 = 1;

    fn set_version(&mut self) {
        self.schema_version = Self::SCHEMA_VERSION;
    }

    fn check(&self) -> Result<(), MessageError> {
        let kind = Self::KIND;
        let wrong = |field, reason| Err(MessageError::Field { kind, field, reason });
        check_identity(kind, &self.image_id, &self.row_key)?;
        if self.sha256.len() != 32 {
            return wrong("sha256", "it must have 32 bytes");
        }
        if self.md5.len() != 16 {
            return wrong("md5", "it must have 16 bytes");
        }
        match &self.content {
            None => wrong("content", "neither the image's bytes nor their length are there"),
            Some(image_upload::Content::Inline(bytes)) if bytes.len() > MAX_INLINE_BYTES => {
                wrong("content", "more than 1 MiB travels through the image store")
            }
            Some(_) => Ok(()),
        }
    }
}

impl Message for ImageIndexed {
    const KIND: &'static str = "ImageIndexed";
    const SCHEMA_VERSION: u32 = 1;

    fn set_version(&mut self) {
        self.schema_version = Self::SCHEMA_VERSION;
    }

    fn check(&self) -> Result<(), MessageError> {
        let kind = Self::KIND;
        check_identity(kind, &self.image_id, &self.row_key)?;
        match &self.change {
            None => {
                Err(MessageError::Field { kind, field: "change", reason: "it must say indexed or tombstone" })
            }
            Some(image_indexed::Change::Indexed(indexed)) => check_vectors(kind, indexed),
            Some(image_indexed::Change::Tombstone(_)) => Ok(()),
        }
    }
}

/// Checks that vectors are there, whole halves, and all of one length.
fn check_vectors(kind: &'static str, indexed: &crate::messages::Indexed) -> Result<(), MessageError> {
    use crate::messages::indexed::Vectors;
    let wrong = |field, reason| Err(MessageError::Field { kind, field, reason });
    match &indexed.vectors {
        None => wrong("vectors", "neither frames nor their number in the image store are there"),
        Some(Vectors::StoredFrames(_)) => Ok(()),
        Some(Vectors::Frames(frames)) => {
            let Some(first) = frames.frames.first() else {
                return wrong("vectors", "at least one frame must be there");
            };
            if first.vector.is_empty() || first.vector.len() % 2 != 0 {
                return wrong("vectors", "a vector is a row of 16-bit numbers");
            }
            if frames.frames.iter().any(|frame| frame.vector.len() != first.vector.len()) {
                return wrong("vectors", "all vectors of an image have one length");
            }
            if frames.frames.iter().any(|frame| frame.code.len() != first.code.len()) {
                return wrong("vectors", "all codes of an image have one length");
            }
            Ok(())
        }
    }
}

impl Message for DeadLetter {
    const KIND: &'static str = "DeadLetter";
    const SCHEMA_VERSION: u32 = 1;

    fn set_version(&mut self) {
        self.schema_version = Self::SCHEMA_VERSION;
    }

    fn check(&self) -> Result<(), MessageError> {
        let kind = Self::KIND;
        if self.topic.is_empty() {
            return Err(MessageError::Field {
                kind,
                field: "topic",
                reason: "the topic it came from is missing",
            });
        }
        if self.payload.len() > MAX_INLINE_BYTES {
            return Err(MessageError::Field { kind, field: "payload", reason: "it must be cut to 1 MiB" });
        }
        Ok(())
    }
}

impl Message for OperationEvent {
    const KIND: &'static str = "OperationEvent";
    const SCHEMA_VERSION: u32 = 1;

    fn set_version(&mut self) {
        self.schema_version = Self::SCHEMA_VERSION;
    }

    fn check(&self) -> Result<(), MessageError> {
        let kind = Self::KIND;
        let wrong = |field, reason| Err(MessageError::Field { kind, field, reason });
        ImageId::parse(&self.event_id).map_err(|source| MessageError::Identity { kind, source })?;
        if self.action.is_empty() {
            return wrong("action", "what was done is missing");
        }
        let is_trace_id =
            self.trace_id.len() == 32 && self.trace_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !self.trace_id.is_empty() && !is_trace_id {
            return wrong("trace_id", "it must have 32 hexadecimal digits, or none");
        }
        Ok(())
    }
}
