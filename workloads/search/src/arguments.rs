//! Settings of a search shard.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use medindex_pipeline::{Settings, ShardOptions};
use medindex_runtime::arguments::{BackendArguments, OperationArguments};
use medindex_runtime::process_name;

/// Serve one replica of a search shard. For research and teaching, not for diagnosis.
#[derive(Debug, Clone, Parser)]
#[command(name = "medindex-search", version)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) backends: BackendArguments,
    #[command(flatten)]
    pub(crate) operation: OperationArguments,
    /// Folder of the index; on a cluster the pod's own disk.
    #[arg(long, env = "MEDINDEX_DATA", value_name = "FOLDER")]
    pub(crate) data: PathBuf,
    /// Address of the gRPC service that gateways ask.
    #[arg(long, env = "MEDINDEX_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:7000")]
    pub(crate) listen: SocketAddr,
    /// Shards of the index, at most as many as partitions.
    #[arg(long, env = "MEDINDEX_SHARDS", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) shards: u32,
    /// Number of this process among all replicas of all shards, from 0; or a name that ends in it, such as `search-4`.
    #[arg(long, env = "MEDINDEX_ORDINAL", value_name = "N|NAME", default_value = "0", value_parser = parse_ordinal)]
    pub(crate) ordinal: u32,
    /// Main memory that the process may use, in bytes; the control group's limit when left out.
    #[arg(long, env = "MEDINDEX_MEMORY_LIMIT", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) memory_limit: Option<u64>,
    /// Changes between two snapshots of the index.
    #[arg(long, env = "MEDINDEX_SNAPSHOT_EVERY", value_name = "N", default_value_t = 4_096, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) snapshot_every: u64,
    /// Seconds between two publications of the shard's segments, which new replicas load from; the first replica of a shard publishes.
    #[arg(long, env = "MEDINDEX_PUBLISH_SECONDS", value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) publish_seconds: u64,
}

/// A number, or what follows the last hyphen of a pod's name.
fn parse_ordinal(text: &str) -> Result<u32, String> {
    let digits = text.rsplit_once('-').map_or(text, |(_, digits)| digits);
    digits
        .parse()
        .map_err(|_| "write a number from 0, or a pod's name that ends in one, such as search-4".to_owned())
}

/// Why the shard cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{shards} shards do not fit {partitions} partitions: a shard needs at least one partition; lower --shards (MEDINDEX_SHARDS)"
)]
pub(crate) struct ShardCountError {
    shards: u32,
    partitions: u32,
}

impl Arguments {
    /// Number of the shard, from 0.
    pub(crate) fn shard(&self) -> u32 {
        self.ordinal % self.shards
    }

    /// Number of the replica, from 0.
    pub(crate) fn replica(&self) -> u32 {
        self.ordinal / self.shards
    }

    /// What the shard holds, and where.
    pub(crate) fn shard_options(&self) -> Result<ShardOptions, ShardCountError> {
        let (shards, partitions) = (self.shards, self.backends.index.partitions);
        if shards > partitions {
            return Err(ShardCountError { shards, partitions });
        }
        Ok(ShardOptions {
            folder: self.data.clone(),
            partitions: (0..partitions).filter(|partition| partition % shards == self.shard()).collect(),
            memory_limit: self.memory_limit.or_else(medindex_runtime::memory::limit),
            publish_every: (self.replica() == 0).then(|| Duration::from_secs(self.publish_seconds)),
        })
    }

    /// Settings of the flows.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            organisation: self.backends.index.organisation.clone(),
            process: process_name("search"),
            alarm_period: self.operation.alarm_period(),
            partitions: self.backends.index.partitions,
            snapshot_every: self.snapshot_every,
            ..Settings::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn arguments(more: &[&str]) -> Arguments {
        let required = [
            "medindex-search",
            "--data=/data",
            "--kafka-bootstrap=k:9092",
            "--hbase-thrift=h:9090",
            "--mysql-server=m:3306",
            "--mysql-user-file=/u",
            "--mysql-password-file=/p",
            "--redis-servers=r:6379",
        ];
        Arguments::parse_from(required.iter().chain(more))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_ordinal_tells_shard_and_replica() {
        let third = arguments(&["--shards=3", "--ordinal=medindex-search-4"]);
        assert_eq!((third.shard(), third.replica()), (1, 1));
        assert_eq!(third.shard_options().unwrap().partitions, [1, 4, 7]);
        // More replicas move nothing.
        let first = arguments(&["--shards=3", "--ordinal=1"]);
        assert_eq!(first.shard_options().unwrap().partitions, [1, 4, 7]);
    }

    #[test]
    fn more_shards_than_partitions_are_refused() {
        let refusal = arguments(&["--shards=10"]).shard_options().unwrap_err();
        assert!(refusal.to_string().contains("MEDINDEX_SHARDS"), "{refusal}");
    }
}
