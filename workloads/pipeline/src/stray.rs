//! Messages that are none of this index's, or came where they do not belong: what both consumers refuse alike.

use medindex_backends::queue::Delivery;
use medindex_proto::identity::RowKey;
use medindex_proto::message::MessageError;

/// Why a message was passed over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StrayError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] MessageError),
    /// Another partition holds its image. Uploads of an image are done one after the other because they come in one partition, and a shard that
    /// took its change would keep it for ever, because its deletion comes there.
    #[error("its row key {row_key} belongs to partition {own}, and it came in partition {found}")]
    OtherPartition { row_key: RowKey, own: u32, found: u32 },
}

/// The row key that a message of this kind names, which has to belong to the partition that it came in.
pub(crate) fn own_row_key(
    kind: &'static str,
    text: &str,
    partitions: u32,
    delivery: &Delivery,
) -> Result<RowKey, StrayError> {
    let wrong = |source| MessageError::Identity { kind, source };
    let row_key = RowKey::parse(text).map_err(wrong)?;
    row_key.check(partitions).map_err(wrong)?;
    match row_key.partition() {
        own if own == delivery.partition => Ok(row_key),
        own => Err(StrayError::OtherPartition { row_key, own, found: delivery.partition }),
    }
}
