//! How a table differs from its description.

use std::fmt;

use crate::description::{FamilyDescription, TableDescription};
use crate::state::TableState;

/// One thing in which a table is not what it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The table is disabled.
    Disabled,
    /// A family is not there.
    MissingFamily {
        /// Its name.
        family: String,
    },
    /// A family is there that is not described.
    UnexpectedFamily {
        /// Its name.
        family: String,
    },
    /// A setting of a family has another value.
    FamilySetting {
        /// The family.
        family: String,
        /// The setting.
        setting: &'static str,
        /// The value described.
        wanted: String,
        /// The value there.
        found: String,
    },
    /// No region begins where one shall.
    MissingBoundary {
        /// The key, escaped.
        key: String,
    },
    /// A region begins where none shall.
    UnexpectedBoundary {
        /// The key, escaped.
        key: String,
    },
}

impl Difference {
    /// Whether HBase comes to it by itself: it splits a region that has grown large. Rows are served as before.
    pub fn is_a_split(&self) -> bool {
        matches!(self, Self::UnexpectedBoundary { .. })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => formatter.write_str("the table is disabled"),
            Self::MissingFamily { family } => write!(formatter, "family {family} is missing"),
            Self::UnexpectedFamily { family } => write!(formatter, "family {family} is not described"),
            Self::FamilySetting { family, setting, wanted, found } => {
                write!(formatter, "{setting} of family {family} is {found}, not {wanted}")
            }
            Self::MissingBoundary { key } => write!(formatter, "no region begins at {key}"),
            Self::UnexpectedBoundary { key } => write!(formatter, "a region begins at {key}"),
        }
    }
}

/// In what `found` differs from `wanted`: the table's state first, then families, then regions.
pub fn differences(wanted: &TableDescription, found: &TableState) -> Vec<Difference> {
    let mut all = Vec::new();
    if !found.enabled {
        all.push(Difference::Disabled);
    }
    for family in &wanted.families {
        match found.families.iter().find(|other| other.name == family.name) {
            Some(other) => all.extend(family_differences(family, other)),
            None => all.push(Difference::MissingFamily { family: family.name.clone() }),
        }
    }
    for family in &found.families {
        if !wanted.families.iter().any(|other| other.name == family.name) {
            all.push(Difference::UnexpectedFamily { family: family.name.clone() });
        }
    }
    all.extend(boundary_differences(wanted, found));
    all
}

fn family_differences(wanted: &FamilyDescription, found: &FamilyDescription) -> Vec<Difference> {
    let settings: [(&'static str, String, String); 6] = [
        ("compression", format!("{:?}", wanted.compression), format!("{:?}", found.compression)),
        ("bloom filter", format!("{:?}", wanted.bloom), format!("{:?}", found.bloom)),
        ("versions", wanted.versions.to_string(), found.versions.to_string()),
        ("time to live", format!("{:?}", wanted.time_to_live), format!("{:?}", found.time_to_live)),
        ("block cache", wanted.block_cache.to_string(), found.block_cache.to_string()),
        ("block bytes", wanted.block_bytes.to_string(), found.block_bytes.to_string()),
    ];
    let differing = settings.into_iter().filter(|(_, wanted, found)| wanted != found);
    differing
        .map(|(setting, value, found)| Difference::FamilySetting {
            family: wanted.name.clone(),
            setting,
            wanted: value,
            found,
        })
        .collect()
}

fn boundary_differences(wanted: &TableDescription, found: &TableState) -> Vec<Difference> {
    let keys: Vec<&[u8]> = wanted.split_keys.iter().map(String::as_bytes).collect();
    // The first region begins at the empty key, which is no boundary.
    let begins = found.regions.iter().map(|region| region.start_key.as_slice());
    let begins: Vec<&[u8]> = begins.filter(|key| !key.is_empty()).collect();
    let shown = |key: &[u8]| key.escape_ascii().to_string();
    let missing = keys.iter().filter(|key| !begins.contains(key));
    let missing = missing.map(|key| Difference::MissingBoundary { key: shown(key) });
    let unexpected = begins.iter().filter(|key| !keys.contains(key));
    let unexpected = unexpected.map(|key| Difference::UnexpectedBoundary { key: shown(key) });
    missing.chain(unexpected).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::description::{BloomFilter, Compression};
    use crate::state::Region;
    use crate::tables::image_table;

    fn as_described(table: &TableDescription) -> TableState {
        let keys = std::iter::once("").chain(table.split_keys.iter().map(String::as_str));
        let ends = table.split_keys.iter().map(String::as_str).chain([""]);
        let region = |(start, end): (&str, &str)| Region {
            start_key: start.into(),
            end_key: end.into(),
            server: "one:16020".into(),
        };
        TableState {
            families: table.families.clone(),
            regions: keys.zip(ends).map(region).collect(),
            enabled: true,
        }
    }

    #[test]
    fn a_table_as_described_does_not_differ() {
        let table = image_table("ct", 9, Compression::Snappy);
        assert_eq!(as_described(&table).regions.len(), 9);
        assert_eq!(differences(&table, &as_described(&table)), []);
    }

    #[test]
    fn everything_that_differs_is_named() {
        let table = image_table("ct", 3, Compression::Snappy);
        let mut state = as_described(&table);
        state.enabled = false;
        state.families[0].compression = Compression::None;
        state.families[0].time_to_live = Some(Duration::from_hours(1));
        state.families[1].name = "XX".into();
        state.families[1].bloom = BloomFilter::None;
        state.regions[1].start_key = b"0001|\xff".to_vec();
        let found: Vec<String> = differences(&table, &state).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "the table is disabled",
                "compression of family MD is None, not Snappy",
                "time to live of family MD is Some(3600s), not None",
                "family MI is missing",
                "family XX is not described",
                "no region begins at 0001|",
                "a region begins at 0001|\\xff",
            ]
        );
    }

    #[test]
    fn a_region_that_was_split_is_told_from_one_that_is_missing() {
        let table = image_table("ct", 3, Compression::Snappy);
        let mut state = as_described(&table);
        let mut half = state.regions[1].clone();
        half.start_key = b"0001|8".to_vec();
        state.regions.insert(2, half);
        let found = differences(&table, &state);
        assert!(found.len() == 1 && found[0].is_a_split(), "{found:?}");
    }
}
