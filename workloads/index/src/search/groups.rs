//! The best entries of the best groups in a stream of candidates.
//!
//! Keeps the `limit` groups whose best entries are nearest, and a few entries of each. When twice as many groups
//! are held, all but the best `limit` are dropped and the threshold becomes the distance of the last group kept.
//! A group that was dropped comes back when an entry of it lies below the threshold. At the end the best groups
//! are exact: the best entry of such a group lies below every threshold there ever was (each is the distance of
//! `limit` better groups), so it was never refused, and its group was never dropped after it; ties may go
//! either way.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::collect::Distance;

/// Entries kept of each group. The nearest by code need not be the nearest exactly.
const ENTRIES: usize = 4;

/// Group numbers are digests already; hashing them again is a waste.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

/// The nearest entries of a group, ascending; unused places have the worst distance.
#[derive(Clone, Copy, Debug)]
struct Best<D, T> {
    entries: [(D, Option<T>); ENTRIES],
}

impl<D: Distance, T: Copy> Best<D, T> {
    fn of(distance: D, item: T) -> Self {
        let mut entries = [(D::WORST, None); ENTRIES];
        entries[0] = (distance, Some(item));
        Self { entries }
    }

    fn add(&mut self, distance: D, item: T) {
        let mut new = (distance, Some(item));
        for entry in &mut self.entries {
            if new.0 < entry.0 || entry.1.is_none() {
                std::mem::swap(entry, &mut new);
            }
        }
    }
}

/// Collects the nearest groups; see the module.
#[derive(Clone, Debug)]
pub(crate) struct GroupCollector<D, T> {
    limit: usize,
    threshold: D,
    groups: HashMap<u64, Best<D, T>, BuildHasherDefault<DigestHasher>>,
}

impl<D: Distance, T: Copy> GroupCollector<D, T> {
    /// Keeps the `limit` nearest groups, at least one.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), threshold: D::WORST, groups: HashMap::default() }
    }

    /// Only entries strictly below this distance can still matter.
    #[inline]
    pub(crate) fn threshold(&self) -> D {
        self.threshold
    }

    /// Offers an entry of a group; returns the threshold after it.
    pub(crate) fn push(&mut self, distance: D, group: u64, item: T) -> D {
        if distance < self.threshold {
            self.groups
                .entry(group)
                .and_modify(|best| best.add(distance, item))
                .or_insert_with(|| Best::of(distance, item));
            if self.groups.len() >= self.limit.saturating_mul(2) {
                self.drop_farthest();
            }
        }
        self.threshold
    }

    /// Groups held, at most twice the limit.
    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    fn drop_farthest(&mut self) {
        let mut nearest: Vec<D> = self.groups.values().map(|best| best.entries[0].0).collect();
        let order = |a: &D, b: &D| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
        let (_, last, _) = nearest.select_nth_unstable_by(self.limit - 1, order);
        self.threshold = *last;
        let mut ties = self.limit - nearest.iter().filter(|&&distance| distance < self.threshold).count();
        let threshold = self.threshold;
        self.groups.retain(|_, best| {
            let tie = best.entries[0].0 == threshold && ties > 0;
            ties -= usize::from(tie);
            tie || best.entries[0].0 < threshold
        });
    }

    /// The nearest entry of each of the `limit` nearest groups, ascending.
    pub(crate) fn into_nearest(self) -> Vec<(D, T)> {
        let limit = self.limit;
        let mut nearest = self.sorted(1);
        nearest.truncate(limit);
        nearest
    }

    /// All entries kept of the `limit` nearest groups, in no order.
    pub(crate) fn into_candidates(mut self) -> Vec<(D, T)> {
        if self.groups.len() > self.limit {
            self.drop_farthest();
        }
        self.sorted(ENTRIES)
    }

    fn sorted(self, entries: usize) -> Vec<(D, T)> {
        let of_group = |best: Best<D, T>| best.entries.into_iter().take(entries);
        let mut all: Vec<(D, T)> = self
            .groups
            .into_values()
            .flat_map(of_group)
            .filter_map(|(distance, item)| item.map(|item| (distance, item)))
            .collect();
        all.sort_unstable_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal));
        all
    }

    /// Takes over what another collector of the same limit found.
    pub(crate) fn absorb(&mut self, other: Self) {
        for (group, best) in other.groups {
            for (distance, item) in best.entries {
                if let Some(item) = item {
                    self.push(distance, group, item);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_nearest_groups_are_those_of_a_full_sort(
            entries in prop::collection::vec((0_u64..40, 0_u32..1_000_000), 0..600),
            limit in 1_usize..12,
        ) {
            let mut collector = GroupCollector::new(limit);
            for (item, &(group, distance)) in entries.iter().enumerate() {
                collector.push(distance, group, item);
            }
            let mut best: HashMap<u64, u32> = HashMap::new();
            for &(group, distance) in &entries {
                let nearest = best.entry(group).or_insert(distance);
                *nearest = distance.min(*nearest);
            }
            let mut expected: Vec<u32> = best.into_values().collect();
            expected.sort_unstable();
            expected.truncate(limit);
            let found: Vec<u32> = collector.into_nearest().into_iter().map(|(distance, _)| distance).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn two_collectors_together_find_what_one_finds(
            entries in prop::collection::vec((0_u64..30, 0_u32..1_000_000), 0..300),
            limit in 1_usize..8,
        ) {
            let mut one = GroupCollector::new(limit);
            let mut halves = [GroupCollector::new(limit), GroupCollector::new(limit)];
            for (item, &(group, distance)) in entries.iter().enumerate() {
                one.push(distance, group, item);
                halves[item % 2].push(distance, group, item);
            }
            let [mut first, second] = halves;
            first.absorb(second);
            let distances = |found: Vec<(u32, usize)>| found.into_iter().map(|(d, _)| d).collect::<Vec<_>>();
            prop_assert_eq!(distances(first.into_nearest()), distances(one.into_nearest()));
        }
    }

    #[test]
    fn several_entries_of_a_group_are_candidates() {
        let mut collector = GroupCollector::new(1);
        for (item, distance) in [9_u32, 3, 7, 1, 5].into_iter().enumerate() {
            collector.push(distance, 1, item);
        }
        assert_eq!(collector.into_candidates(), [(1, 3), (3, 1), (5, 4), (7, 2)]);
    }
}
