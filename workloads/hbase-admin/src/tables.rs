//! The tables that MedIndex keeps.

use medindex_proto::names::{FAMILY_DATA, FAMILY_INFORMATION, TABLE_IMAGES, TABLE_SEGMENTS};
use medindex_proto::split_keys;

use crate::description::{BloomFilter, Compression, FamilyDescription, TableDescription, TableName};

/// Bytes of a block: HBase's own default, good for scans and gets.
const BLOCK_BYTES: u32 = 64 << 10;

/// Where regions of the table of segments begin. Its data rows begin with eight hexadecimal digits, a checksum of the blob's name.
const SEGMENT_SPLIT_KEYS: [&str; 3] = ["4", "8", "c"];

/// The table of images: one region a partition.
///
/// Files pass the block cache by, or reading a few would push out what searches need; every row is looked up before its file is
/// replaced, so its Bloom filters hold rows. The information is small, read often and cached.
///
/// # Panics
/// When `partitions` is 0; settings pass through `check_partitions` first.
pub fn image_table(namespace: &str, partitions: u32, compression: Compression) -> TableDescription {
    TableDescription {
        name: TableName::new(namespace, TABLE_IMAGES),
        families: vec![data_family(compression), information_family()],
        split_keys: split_keys(partitions),
    }
}

/// The table of published index segments and codebooks: what is in a blob is read once by each replica, so it is not cached; the heads
/// of blobs, in the family of information, are.
pub fn segment_table(namespace: &str, compression: Compression) -> TableDescription {
    TableDescription {
        name: TableName::new(namespace, TABLE_SEGMENTS),
        families: vec![data_family(compression), information_family()],
        split_keys: SEGMENT_SPLIT_KEYS.map(str::to_owned).to_vec(),
    }
}

fn data_family(compression: Compression) -> FamilyDescription {
    FamilyDescription {
        name: FAMILY_DATA.to_owned(),
        compression,
        bloom: BloomFilter::Row,
        versions: 1,
        time_to_live: None,
        block_cache: false,
        block_bytes: BLOCK_BYTES,
    }
}

/// Vectors and codes do not compress, and meta is small.
fn information_family() -> FamilyDescription {
    FamilyDescription {
        name: FAMILY_INFORMATION.to_owned(),
        compression: Compression::None,
        bloom: BloomFilter::Row,
        versions: 1,
        time_to_live: None,
        block_cache: true,
        block_bytes: BLOCK_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_can_be_created() {
        for partitions in [1, 9, 10_000] {
            let table = image_table("ct", partitions, Compression::Snappy);
            table.check().unwrap();
            assert_eq!(table.split_keys.len() as u32, partitions - 1);
        }
        segment_table("ct", Compression::None).check().unwrap();
    }

    #[test]
    fn what_hbase_would_misunderstand_is_refused() {
        let good = image_table("ct", 3, Compression::Snappy);
        let with = |change: &dyn Fn(&mut TableDescription)| {
            let mut table = good.clone();
            change(&mut table);
            table.check().unwrap_err().to_string()
        };
        assert!(with(&|table| table.split_keys.push("0001|".into())).contains("split keys"));
        assert!(with(&|table| table.split_keys.insert(0, String::new())).contains("empty"));
        assert!(with(&|table| table.families.clear()).contains("no column family"));
        assert!(with(&|table| table.families[0].versions = 0).contains("versions"));
        assert!(with(&|table| table.name.name = "a b".into()).contains("\"a b\""));
        assert!(with(&|table| table.name.namespace = "a-b".into()).contains("\"a-b\""));
    }
}
