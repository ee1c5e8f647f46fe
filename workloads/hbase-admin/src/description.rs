//! What a table shall be.

use std::fmt;
use std::time::Duration;

use crate::error::{HbaseAdminError, Result};

/// Name of a table in its namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// Namespace; `default` is the one that tables without a namespace are in.
    pub namespace: String,
    /// Name inside the namespace.
    pub name: String,
}

impl TableName {
    /// A name from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// Checks both parts against what HBase takes.
    ///
    /// # Errors
    /// [`HbaseAdminError::CheckName`].
    pub fn check(&self) -> Result<()> {
        check_namespace(&self.namespace)?;
        let usable = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let begins_well =
            self.name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_');
        if begins_well && self.name.bytes().all(usable) {
            return Ok(());
        }
        Err(HbaseAdminError::CheckName {
            name: self.name.clone(),
            what: "table",
            rule: "letters, digits and _-. beginning with a letter, a digit or _",
        })
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.namespace, self.name)
    }
}

/// Checks the name of a namespace.
pub(crate) fn check_namespace(namespace: &str) -> Result<()> {
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !namespace.is_empty() && namespace.bytes().all(usable) {
        return Ok(());
    }
    Err(HbaseAdminError::CheckName {
        name: namespace.to_owned(),
        what: "namespace",
        rule: "letters, digits and _",
    })
}

/// How the blocks of a family are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Fast and good enough; works in every installation.
    Snappy,
    /// Smaller and slower; works in every installation.
    Gzip,
    /// Fast; the region servers need `lz4-java`.
    Lz4,
    /// Small and fast; the region servers need `hbase-compression-zstd` and its codec set.
    Zstd,
}

/// What a family's Bloom filters hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BloomFilter {
    /// There are none.
    None,
    /// Row keys.
    Row,
    /// Row keys and columns.
    RowColumn,
}

/// One column family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyDescription {
    /// Its name.
    pub name: String,
    /// Compression of its blocks.
    pub compression: Compression,
    /// Its Bloom filters.
    pub bloom: BloomFilter,
    /// Versions of a cell that are kept, 1 and up.
    pub versions: u32,
    /// How long cells are kept, in whole seconds; for ever when `None`.
    pub time_to_live: Option<Duration>,
    /// Whether blocks that are read stay in the region server's block cache.
    pub block_cache: bool,
    /// Bytes of a block before compression.
    pub block_bytes: u32,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDescription {
    /// Its name.
    pub name: TableName,
    /// Its families, at least one.
    pub families: Vec<FamilyDescription>,
    /// Where its regions begin, but for the first, in ascending order: n keys make n + 1 regions.
    pub split_keys: Vec<String>,
}

impl TableDescription {
    /// Checks what the server would refuse without a reason, or misunderstand.
    ///
    /// # Errors
    /// [`HbaseAdminError::CheckName`], [`HbaseAdminError::CheckDescription`].
    pub fn check(&self) -> Result<()> {
        self.name.check()?;
        let refused = |reason: String| HbaseAdminError::CheckDescription { table: self.name.clone(), reason };
        if self.families.is_empty() {
            return Err(refused("it has no column family".to_owned()));
        }
        for family in &self.families {
            check_family(family).map_err(&refused)?;
        }
        if self.split_keys.iter().any(String::is_empty) {
            return Err(refused("one of its split keys is empty".to_owned()));
        }
        if !self.split_keys.is_sorted_by(|one, other| one < other) {
            return Err(refused(
                "its split keys are not in ascending order, or one is there twice".to_owned(),
            ));
        }
        Ok(())
    }
}

fn check_family(family: &FamilyDescription) -> Result<(), String> {
    let name = &family.name;
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(format!("{name:?} is no name for a family: use letters, digits and _"));
    }
    if family.versions == 0 || i32::try_from(family.versions).is_err() {
        return Err(format!("family {name} cannot keep {} versions", family.versions));
    }
    if i32::try_from(family.block_bytes).is_err() || family.block_bytes < 1024 {
        return Err(format!("family {name} cannot have blocks of {} bytes", family.block_bytes));
    }
    let seconds = family.time_to_live.map(|limit| limit.as_secs());
    if seconds.is_some_and(|seconds| !(1..i32::MAX as u64).contains(&seconds)) {
        return Err(format!("family {name} cannot keep cells for {seconds:?} s"));
    }
    Ok(())
}
