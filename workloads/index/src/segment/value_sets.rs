//! For a field of few values: the set of rows of each value, so that a filter need not read the column.

use crate::filter::bitmap::Bitmap;
use crate::segment::integers::Integers;

/// The sets are kept while they take at most this many bytes a row; otherwise the mapped column is scanned.
const MOST_BYTES_PER_ROW: usize = 2;

#[derive(Debug)]
enum RowSet {
    /// Many rows: a bit for each row of the segment.
    Dense(Bitmap),
    /// Few rows, ascending.
    Sparse(Vec<u32>),
}

/// The set of rows of each value of a field.
#[derive(Debug)]
pub(crate) struct ValueSets {
    sets: Vec<RowSet>,
}

impl ValueSets {
    /// The sets of `values` values over `codes` (0 for no value, else the value + 1); `None` when they would take
    /// too much memory.
    pub(crate) fn build(codes: &Integers, values: usize, rows: usize) -> Option<Self> {
        let mut counts = vec![0; values];
        for code in (0..rows).map(|row| codes.get(row) as usize).filter(|&code| code != 0) {
            counts[code - 1] += 1;
        }
        let dense_bytes = rows.div_ceil(8);
        let bytes: usize = counts.iter().map(|count| dense_bytes.min(count * 4)).sum();
        if bytes > rows * MOST_BYTES_PER_ROW {
            return None;
        }
        let empty = |&count: &usize| {
            if count * 4 < dense_bytes {
                RowSet::Sparse(Vec::with_capacity(count))
            } else {
                RowSet::Dense(Bitmap::none(rows))
            }
        };
        let mut sets: Vec<RowSet> = counts.iter().map(empty).collect();
        for row in 0..rows {
            let code = codes.get(row) as usize;
            if code != 0 {
                match &mut sets[code - 1] {
                    RowSet::Dense(bitmap) => bitmap.insert(row),
                    RowSet::Sparse(list) => list.push(row as u32),
                }
            }
        }
        Some(Self { sets })
    }

    /// Adds the rows of the value to `found`.
    pub(crate) fn add_to(&self, value: usize, found: &mut Bitmap) {
        match &self.sets[value] {
            RowSet::Dense(bitmap) => found.or(bitmap),
            RowSet::Sparse(list) => list.iter().for_each(|&row| found.insert(row as usize)),
        }
    }

    /// Main memory held, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let bytes = |set: &RowSet| match set {
            RowSet::Dense(bitmap) => bitmap.memory_bytes(),
            RowSet::Sparse(list) => list.len() as u64 * 4,
        };
        self.sets.iter().map(bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_and_rare_values_are_found_alike() {
        let codes: Vec<u64> =
            (0..1_000).map(|row| if row % 500 == 3 { 2 } else { u64::from(row % 2 == 0) }).collect();
        let sets = ValueSets::build(&Integers::narrow(&codes), 2, codes.len()).unwrap();
        assert!(matches!(sets.sets[0], RowSet::Dense(_)) && matches!(sets.sets[1], RowSet::Sparse(_)));
        for value in 0..2 {
            let mut found = Bitmap::none(codes.len());
            sets.add_to(value, &mut found);
            let expected: Vec<usize> =
                (0..codes.len()).filter(|&row| codes[row] == value as u64 + 1).collect();
            assert_eq!(found.ones().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_field_of_very_many_values_is_left_to_its_column() {
        let codes: Vec<u64> = (1..=1_000).collect();
        assert!(ValueSets::build(&Integers::narrow(&codes), 1_000, codes.len()).is_none());
    }
}
