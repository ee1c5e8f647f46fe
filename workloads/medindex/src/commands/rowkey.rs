//! `medindex rowkey`: where an image is, computed from its id alone.

use clap::Args;
use medindex_proto::identity::{ImageId, RowKey, check_partitions};
use medindex_proto::names::DEFAULT_PARTITIONS;
use serde::Serialize;

use super::Context;
use crate::failure::{Failure, describe};

/// Print the row key and the partition of an image id; needs no data folder.
#[derive(Debug, Args)]
pub(crate) struct RowkeyArguments {
    /// Id of the image.
    #[arg(value_name = "ID")]
    id: String,
    /// Number of partitions of the index.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_PARTITIONS)]
    partitions: u32,
}

#[derive(Serialize)]
struct Answer {
    id: ImageId,
    partitions: u32,
    partition: u32,
    row_key: String,
}

pub(crate) fn run(context: &Context, asked: &RowkeyArguments) -> Result<(), Failure> {
    let id = ImageId::parse(&asked.id).map_err(|error| Failure::usage(describe(&error)))?;
    check_partitions(asked.partitions).map_err(|error| Failure::usage(describe(&error)))?;
    let row_key = RowKey::new(&id, asked.partitions);
    let answer = Answer {
        id,
        partitions: asked.partitions,
        partition: row_key.partition(),
        row_key: row_key.to_string(),
    };
    let json = super::to_json(&answer)?;
    context.output.result(&json, |_| {
        Ok(format!(
            "row key    {}\npartition  {} of {}\n",
            answer.row_key, answer.partition, answer.partitions
        ))
    })
}
