//! The tables of an index: what they shall be, and what has to be done so that they are. Pure.

use std::fmt;
use std::time::Duration;

use medindex_hbase_admin::{
    Compression as AdminCompression, Difference, FamilyDescription, TableDescription, TableName, TableState,
    differences, tables,
};

use crate::api::Compression;
use crate::validate::ValidatedIndex;

/// Something to do to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableChange {
    /// Make it, with its regions.
    Create(Box<TableDescription>),
    /// Give a family its settings.
    AlterFamily {
        /// Table.
        table: TableName,
        /// The family as it shall be.
        family: FamilyDescription,
        /// What changes.
        changed: Vec<String>,
    },
    /// Let it serve again.
    Enable(TableName),
}

impl fmt::Display for TableChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(table) => {
                write!(formatter, "create table {} with {} regions", table.name, table.split_keys.len() + 1)
            }
            Self::AlterFamily { table, changed, .. } => {
                write!(formatter, "alter table {table}: {}", changed.join(", "))
            }
            Self::Enable(table) => write!(formatter, "enable table {table}"),
        }
    }
}

/// The tables of an index.
pub fn desired_tables(index: &ValidatedIndex) -> Vec<TableDescription> {
    let hbase = &index.spec.hbase;
    let compression = match hbase.compression {
        Compression::None => AdminCompression::None,
        Compression::Gz => AdminCompression::Gzip,
        Compression::Snappy => AdminCompression::Snappy,
        Compression::Lz4 => AdminCompression::Lz4,
        Compression::Zstd => AdminCompression::Zstd,
    };
    let partitions = u32::try_from(index.spec.kafka.partitions).unwrap_or(1).max(1);
    let mut images = tables::image_table(&index.hbase_namespace, partitions, compression);
    let days = hbase.ttl_days.and_then(|days| u64::try_from(days).ok());
    for family in &mut images.families {
        family.time_to_live = days.map(|days| Duration::from_hours(24 * days));
    }
    vec![images, tables::segment_table(&index.hbase_namespace, compression)]
}

/// What to do so that a table is as desired, and what no operator may do: each with what a person has to. A table that a person has to mend is left
/// alone: whoever disables it, to delete it, must not find it enabled again.
pub fn compare(desired: &TableDescription, observed: Option<&TableState>) -> (Vec<TableChange>, Vec<String>) {
    let Some(observed) = observed else {
        return (vec![TableChange::Create(Box::new(desired.clone()))], Vec::new());
    };
    let (mut changes, mut problems) = (Vec::new(), Vec::new());
    for difference in differences(desired, observed) {
        let name = &desired.name;
        match &difference {
            Difference::Disabled => changes.push(TableChange::Enable(name.clone())),
            Difference::FamilySetting { family, .. } => alter(desired, family, &difference, &mut changes),
            // Regions that grew large are split by HBase; rows are served as before. A family more is somebody else's.
            Difference::UnexpectedBoundary { .. } | Difference::UnexpectedFamily { .. } => {}
            Difference::MissingFamily { family } => problems.push(format!(
                "table {name} has no family {family}: it was made for something else; move it away (snapshot, clone, delete) or choose \
                 another spec.hbase.namespace"
            )),
            Difference::MissingBoundary { key } => problems.push(format!(
                "table {name} has no region that begins at {key}: it was made with other split keys; split it there in the HBase shell \
                 (split '{name}', '{key}')"
            )),
        }
    }
    if !problems.is_empty() {
        changes.clear();
    }
    (changes, problems)
}

/// One change for all settings of a family.
fn alter(desired: &TableDescription, family: &str, difference: &Difference, changes: &mut Vec<TableChange>) {
    let known = changes.iter_mut().find_map(|change| match change {
        TableChange::AlterFamily { family: other, changed, .. } if other.name == family => Some(changed),
        _ => None,
    });
    if let Some(changed) = known {
        changed.push(difference.to_string());
    } else if let Some(wanted) = desired.families.iter().find(|wanted| wanted.name == family) {
        changes.push(TableChange::AlterFamily {
            table: desired.name.clone(),
            family: wanted.clone(),
            changed: vec![difference.to_string()],
        });
    }
}
