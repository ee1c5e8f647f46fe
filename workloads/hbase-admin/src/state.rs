//! What a table is.

use std::fmt;

use crate::description::FamilyDescription;

/// One region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// First row key; empty for the first region.
    pub start_key: Vec<u8>,
    /// First row key of the region after it; empty for the last region.
    pub end_key: Vec<u8>,
    /// Region server that serves it, as `host:port`.
    pub server: String,
}

impl Region {
    /// Whether a row lies in this region.
    pub fn holds(&self, row: &[u8]) -> bool {
        self.start_key.as_slice() <= row && (self.end_key.is_empty() || row < self.end_key.as_slice())
    }
}

impl fmt::Display for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "[{}, {})", self.start_key.escape_ascii(), self.end_key.escape_ascii())
    }
}

/// A table as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableState {
    /// Its families, by name.
    pub families: Vec<FamilyDescription>,
    /// Its regions in key order.
    pub regions: Vec<Region>,
    /// Whether it serves; a disabled table refuses every read and write.
    pub enabled: bool,
}
