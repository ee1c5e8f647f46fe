//! What a search has found so far: single entries, or the best of each group.

use crate::collect::{Collector, Distance};
use crate::search::GroupBy;
use crate::search::groups::GroupCollector;
use crate::segment::Segment;

/// Where an entry is: the index of its segment in the view, and a row, or a position in the inverted lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) at: u32,
}

/// The nearest entries, or the nearest groups with their nearest entries.
#[derive(Clone, Debug)]
pub(crate) enum Found<D> {
    Entries(Collector<D, Place>),
    Groups(GroupCollector<D, Place>),
    /// Candidates for groups: a few of each of the nearest groups, and the nearest of all, so that the best
    /// entry of a group of thousands of like entries is among them.
    GroupCandidates(GroupCollector<D, Place>, Collector<D, Place>),
}

impl<D: Distance> Found<D> {
    /// Keeps the `limit` nearest entries or groups.
    pub(crate) fn new(group_by: GroupBy, limit: usize) -> Self {
        match group_by {
            GroupBy::None => Self::Entries(Collector::new(limit)),
            _ => Self::Groups(GroupCollector::new(limit)),
        }
    }

    /// Collects `limit` candidates that are looked at more closely later.
    pub(crate) fn candidates(group_by: GroupBy, limit: usize) -> Self {
        match group_by {
            GroupBy::None => Self::Entries(Collector::new(limit)),
            _ => Self::GroupCandidates(GroupCollector::new(limit), Collector::new(limit)),
        }
    }

    /// Only entries strictly below this distance can still matter.
    #[inline]
    pub(crate) fn threshold(&self) -> D {
        match self {
            Self::Entries(entries) => entries.threshold(),
            // As many groups reach at least as far as as many entries.
            Self::Groups(groups) | Self::GroupCandidates(groups, _) => groups.threshold(),
        }
    }

    /// Offers an entry, whose group is only asked for when it is needed; returns the threshold after it.
    #[inline]
    pub(crate) fn push(&mut self, distance: D, place: Place, group: impl FnOnce() -> u64) -> D {
        match self {
            Self::Entries(entries) => entries.push(distance, place),
            Self::Groups(groups) => groups.push(distance, group(), place),
            Self::GroupCandidates(groups, entries) => {
                entries.push(distance, place);
                groups.push(distance, group(), place)
            }
        }
    }

    /// How many entries or groups are held, at least as many as will be returned.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Entries(Collector::Heap(heap)) => heap.len(),
            Self::Entries(Collector::Reservoir(reservoir)) => reservoir.len(),
            Self::Groups(groups) | Self::GroupCandidates(groups, _) => groups.len(),
        }
    }

    /// The candidates to look at more closely, each once.
    pub(crate) fn into_candidates(self) -> Vec<(D, Place)> {
        match self {
            Self::Entries(entries) => entries.into_sorted(),
            Self::Groups(groups) => groups.into_candidates(),
            Self::GroupCandidates(groups, entries) => {
                let mut candidates = groups.into_candidates();
                candidates.extend(entries.into_sorted());
                candidates.sort_unstable_by_key(|&(_, Place { segment, at })| (segment, at));
                candidates.dedup_by_key(|&mut (_, place)| place);
                candidates
            }
        }
    }

    /// The nearest entries, one of each group, ascending.
    pub(crate) fn into_nearest(self) -> Vec<(D, Place)> {
        match self {
            Self::Entries(entries) => entries.into_sorted(),
            Self::Groups(groups) | Self::GroupCandidates(groups, _) => groups.into_nearest(),
        }
    }

    /// Takes over what another search for the same question found elsewhere.
    pub(crate) fn absorb(&mut self, other: Self) {
        match (self, other) {
            (Self::Entries(entries), Self::Entries(others)) => {
                for (distance, place) in others.into_sorted() {
                    entries.push(distance, place);
                }
            }
            (Self::Groups(groups), Self::Groups(others)) => groups.absorb(others),
            (Self::GroupCandidates(groups, entries), Self::GroupCandidates(other_groups, others)) => {
                groups.absorb(other_groups);
                for (distance, place) in others.into_sorted() {
                    entries.push(distance, place);
                }
            }
            _ => debug_assert!(false, "both halves of a search collect the same kind"),
        }
    }
}

/// The number of the row's group.
#[inline]
pub(crate) fn group_of(segment: &Segment, row: usize, group_by: GroupBy) -> u64 {
    match group_by {
        GroupBy::None => row as u64,
        GroupBy::Image => mix(segment.keys()[row].id),
        GroupBy::Study => segment.attributes.study(row),
        GroupBy::Patient => segment.attributes.patient(row),
    }
}

/// A 64-bit digest of an image's identity (the finalizer of `SplitMix64`, applied to each half).
fn mix(id: [u8; 16]) -> u64 {
    let number = u128::from_le_bytes(id);
    let finalize = |value: u64| {
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    finalize(finalize(number as u64).wrapping_add(0x9e37_79b9_7f4a_7c15) ^ (number >> 64) as u64)
}
