//! How much main memory a shard may take.
//!
//! What counts is what the index needs beside its mapped files, which the system drops and reads again as it likes. It is estimated
//! from the rows, by one rule for loading and for following: what was loaded can be held.

use parking_lot::Mutex;
use serde::Serialize;

use crate::core::now_ms;

/// Main memory for a row beside the mapped files: lists, codes and tail (`make bench-engine` measures 43 bytes for codes of 32; the tail and
/// the merge of segments hold rows a second time).
pub(crate) const BYTES_PER_ROW: u64 = 128;
/// What a process needs before the first row.
pub(crate) const BASE_BYTES: u64 = 64 << 20;

/// More rows than the memory limit allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "its {rows} entries need about {} MiB of memory, the limit is {} MiB: give search more memory, or more shards",
    needed >> 20,
    limit >> 20
)]
pub struct MemoryError {
    /// Rows to hold.
    pub rows: u64,
    /// Bytes that they need.
    pub needed: u64,
    /// Bytes that there may be.
    pub limit: u64,
}

/// Why a shard takes no more, for as long as it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryPressure {
    /// Rows that the index held when it stopped.
    pub rows: u64,
    /// Bytes that these and the first change that does not fit need.
    pub needed_bytes: u64,
    /// Bytes that it may have.
    pub limit_bytes: u64,
    /// Unix milliseconds since when it takes no more.
    pub since_ms: i64,
}

/// The memory that a shard may take, and whether it is used up.
#[derive(Debug, Default)]
pub(crate) struct MemoryBudget {
    limit: Option<u64>,
    pressure: Mutex<Option<MemoryPressure>>,
}

impl MemoryBudget {
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Self { limit, pressure: Mutex::new(None) }
    }

    /// Whether `rows` can be held.
    pub(crate) fn check(&self, rows: u64) -> Result<(), MemoryError> {
        let needed = BASE_BYTES.saturating_add(rows.saturating_mul(BYTES_PER_ROW));
        match self.limit {
            Some(limit) if needed > limit => Err(MemoryError { rows, needed, limit }),
            _ => Ok(()),
        }
    }

    /// Whether so much is free beside `rows` that taking more is worth beginning again: room for all of `waiting`, or a twentieth of the limit.
    pub(crate) fn has_room(&self, rows: u64, waiting: u64) -> bool {
        let Some(limit) = self.limit else { return true };
        let most = limit.saturating_sub(BASE_BYTES) / BYTES_PER_ROW;
        rows + waiting.min(most / 20).max(1) <= most
    }

    /// Notes that no more can be taken; whether that is new.
    pub(crate) fn press(&self, rows: u64, error: MemoryError) -> bool {
        let mut pressure = self.pressure.lock();
        let since_ms = pressure.map_or_else(now_ms, |pressure| pressure.since_ms);
        let MemoryError { needed: needed_bytes, limit: limit_bytes, .. } = error;
        pressure.replace(MemoryPressure { rows, needed_bytes, limit_bytes, since_ms }).is_none()
    }

    /// Notes that more can be taken again.
    pub(crate) fn relieve(&self) {
        *self.pressure.lock() = None;
    }

    pub(crate) fn pressure(&self) -> Option<MemoryPressure> {
        *self.pressure.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_the_limit_says_what_to_do() {
        let budget = MemoryBudget::new(Some(BASE_BYTES + 1_000 * BYTES_PER_ROW));
        assert_eq!(budget.check(1_000), Ok(()));
        let error = budget.check(1_001).unwrap_err();
        assert!(error.to_string().contains("more shards"), "{error}");
        assert_eq!(MemoryBudget::new(None).check(u64::MAX), Ok(()));
    }

    #[test]
    fn a_little_room_is_no_reason_to_begin_again_unless_it_suffices() {
        let budget = MemoryBudget::new(Some(BASE_BYTES + 1_000 * BYTES_PER_ROW));
        assert!(!budget.has_room(960, 500), "40 free, 500 wait");
        assert!(budget.has_room(960, 30), "40 free, 30 wait");
        assert!(budget.has_room(950, 500), "a twentieth is free");
        assert!(!budget.has_room(1_000, 0));
    }

    #[test]
    fn pressure_is_new_once_and_keeps_its_beginning() {
        let budget = MemoryBudget::new(Some(1));
        let error = budget.check(5).unwrap_err();
        assert!(budget.press(4, error));
        let since = budget.pressure().unwrap().since_ms;
        assert!(!budget.press(3, error));
        assert_eq!(budget.pressure().unwrap().since_ms, since);
        budget.relieve();
        assert_eq!(budget.pressure(), None);
    }
}
