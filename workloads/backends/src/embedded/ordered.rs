//! Keys in the order that a table has them in.
//!
//! The database does not compare what it finds while it reads on: a damaged page can lead a reader back to where it was. Guarantee: a reader
//! that has every key checked here comes to an end, and meets nothing that lies outside of what it asked for.

use redb::StorageError;

/// Notes keys of any kind.
#[derive(Debug, Default)]
pub(super) struct Ascending<K>(Option<K>);

impl<K: Ord> Ascending<K> {
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// Notes a key, which is behind the one before.
    pub(super) fn check(&mut self, key: K) -> Result<(), StorageError> {
        if self.0.as_ref().is_some_and(|last| *last >= key) {
            return Err(out_of_order());
        }
        self.0 = Some(key);
        Ok(())
    }
}

/// Notes keys of bytes within bounds.
#[derive(Debug)]
pub(super) struct AscendingKeys<'a> {
    /// The least key that may come, and what was before it.
    least: Vec<u8>,
    begun: bool,
    /// What comes after all of them.
    past: &'a [u8],
}

impl<'a> AscendingKeys<'a> {
    /// Keys from `first` on, before `past`.
    pub(super) fn new(first: &[u8], past: &'a [u8]) -> Self {
        Self { least: first.to_vec(), begun: false, past }
    }

    /// Notes a key.
    pub(super) fn check(&mut self, key: &[u8]) -> Result<(), StorageError> {
        let is_behind = if self.begun { key > self.least.as_slice() } else { key >= self.least.as_slice() };
        if !is_behind || key >= self.past {
            return Err(out_of_order());
        }
        self.begun = true;
        self.least.clear();
        self.least.extend_from_slice(key);
        Ok(())
    }
}

/// What a key means that is not where it can be.
pub(super) fn out_of_order() -> StorageError {
    StorageError::Corrupted("a page of its tree holds keys that are out of order".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_there_before_or_lies_outside_is_damage() {
        let mut keys = AscendingKeys::new(b"b", b"y");
        for (key, is_fine) in
            [(b"b", true), (b"c", true), (b"c", false), (b"b", false), (b"d", true), (b"y", false)]
        {
            assert_eq!(keys.check(key).is_ok(), is_fine, "{key:?}");
        }
        assert!(AscendingKeys::new(b"b", b"y").check(b"a").is_err());
        let mut numbers = Ascending::new();
        assert!(numbers.check(1).is_ok() && numbers.check(5).is_ok() && numbers.check(5).is_err());
    }
}
