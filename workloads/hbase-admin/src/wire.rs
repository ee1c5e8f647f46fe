//! Descriptions as Thrift 2 has them.

use std::time::Duration;

use crate::description::{BloomFilter, Compression, FamilyDescription, TableDescription, TableName};
use crate::error::{HbaseAdminError, Result};
use crate::hbase2::{
    TBloomFilterType, TColumnFamilyDescriptor, TCompressionAlgorithm, TTableDescriptor, TTableName,
};

/// What HBase calls for ever, in seconds.
const FOR_EVER: i32 = i32::MAX;

const COMPRESSIONS: [(Compression, TCompressionAlgorithm); 5] = [
    (Compression::None, TCompressionAlgorithm::NONE),
    (Compression::Snappy, TCompressionAlgorithm::SNAPPY),
    (Compression::Gzip, TCompressionAlgorithm::GZ),
    (Compression::Lz4, TCompressionAlgorithm::LZ4),
    (Compression::Zstd, TCompressionAlgorithm::ZSTD),
];

const BLOOM_FILTERS: [(BloomFilter, TBloomFilterType); 3] = [
    (BloomFilter::None, TBloomFilterType::NONE),
    (BloomFilter::Row, TBloomFilterType::ROW),
    (BloomFilter::RowColumn, TBloomFilterType::ROWCOL),
];

pub(crate) fn wire_name(name: &TableName) -> TTableName {
    TTableName { ns: Some(name.namespace.clone().into_bytes()), qualifier: name.name.clone().into_bytes() }
}

pub(crate) fn wire_table(table: &TableDescription) -> TTableDescriptor {
    let columns = table.families.iter().map(wire_family).collect();
    TTableDescriptor {
        table_name: wire_name(&table.name),
        columns: Some(columns),
        attributes: None,
        durability: None,
    }
}

/// A family; what is not described has HBase's default.
pub(crate) fn wire_family(family: &FamilyDescription) -> TColumnFamilyDescriptor {
    let compression = COMPRESSIONS.iter().find(|(ours, _)| *ours == family.compression);
    let bloom = BLOOM_FILTERS.iter().find(|(ours, _)| *ours == family.bloom);
    TColumnFamilyDescriptor {
        name: family.name.clone().into_bytes(),
        attributes: None,
        configuration: None,
        block_size: Some(family.block_bytes as i32),
        bloomn_filter_type: bloom.map(|(_, theirs)| *theirs),
        compression_type: compression.map(|(_, theirs)| *theirs),
        dfs_replication: None,
        data_block_encoding: None,
        keep_deleted_cells: None,
        max_versions: Some(family.versions as i32),
        min_versions: None,
        scope: None,
        time_to_live: Some(family.time_to_live.map_or(FOR_EVER, |limit| limit.as_secs() as i32)),
        block_cache_enabled: Some(family.block_cache),
        cache_blooms_on_write: None,
        cache_data_on_write: None,
        cache_indexes_on_write: None,
        compress_tags: None,
        evict_blocks_on_close: None,
        in_memory: None,
    }
}

/// Reads a family back.
///
/// # Errors
/// [`HbaseAdminError::ReadTable`] for what this release cannot describe.
pub(crate) fn read_family(table: &TableName, family: &TColumnFamilyDescriptor) -> Result<FamilyDescription> {
    let unknown =
        |setting, value: String| HbaseAdminError::ReadTable { table: table.clone(), setting, value };
    let compression = COMPRESSIONS.iter().find(|(_, theirs)| Some(*theirs) == family.compression_type);
    let bloom = BLOOM_FILTERS.iter().find(|(_, theirs)| Some(*theirs) == family.bloomn_filter_type);
    let number = |setting, value: Option<i32>| {
        let given = value.and_then(|value| u32::try_from(value).ok());
        given.ok_or_else(|| unknown(setting, format!("{value:?}")))
    };
    let seconds = family.time_to_live.filter(|seconds| *seconds != FOR_EVER);
    Ok(FamilyDescription {
        name: String::from_utf8_lossy(&family.name).into_owned(),
        compression: compression
            .map(|(ours, _)| *ours)
            .ok_or_else(|| unknown("compression", format!("{:?}", family.compression_type)))?,
        bloom: bloom
            .map(|(ours, _)| *ours)
            .ok_or_else(|| unknown("bloom filter", format!("{:?}", family.bloomn_filter_type)))?,
        versions: number("versions", family.max_versions)?,
        time_to_live: seconds.map(|seconds| Duration::from_secs(u64::from(seconds.unsigned_abs()))),
        block_cache: family.block_cache_enabled.unwrap_or(true),
        block_bytes: number("block bytes", family.block_size)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::image_table;

    #[test]
    fn families_are_read_back_as_they_were_written() {
        let mut table = image_table("ct", 9, Compression::Zstd);
        table.families[1].time_to_live = Some(Duration::from_hours(24));
        table.families[1].bloom = BloomFilter::RowColumn;
        for family in &table.families {
            assert_eq!(read_family(&table.name, &wire_family(family)).unwrap(), *family);
        }
    }

    #[test]
    fn a_compression_of_a_later_release_is_named() {
        let table = image_table("ct", 9, Compression::None);
        let mut family = wire_family(&table.families[0]);
        family.compression_type = Some(TCompressionAlgorithm(77));
        let error = read_family(&table.name, &family).unwrap_err().to_string();
        assert!(error.contains("ct:image_info") && error.contains("77"), "{error}");
    }
}
