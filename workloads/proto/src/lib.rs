//! Names, identities and messages that every part of MedIndex shares.
//!
//! - [`identity`]: image ids, the partition of an image, row keys and the table's split keys.
//! - [`names`]: topics, tables, column families and columns.
//! - [`messages`]: the generated message types; [`message`]: how they are written, read and refused.

pub mod identity;
pub mod message;
pub mod names;

pub use identity::{IdentityError, ImageId, RowKey, check_partitions, partition_of, split_keys};
pub use message::{Message, MessageError};

/// Message types generated from `proto/medindex/v1/messages.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/medindex.v1.rs"));
}

/// gRPC services generated from `proto/medindex/v1/services.proto`.
#[cfg(feature = "services")]
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod services {
    include!(concat!(env!("OUT_DIR"), "/services/medindex.v1.rs"));
}
