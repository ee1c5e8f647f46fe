//! A set of rows of one segment, a bit for each row.

/// A set of rows out of `0..len`, as 64-bit words; bits beyond `len` are zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

impl Bitmap {
    /// The empty set out of `0..len`.
    pub(crate) fn none(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }

    /// The full set `0..len`.
    pub(crate) fn all(len: usize) -> Self {
        let mut bitmap = Self { words: vec![u64::MAX; len.div_ceil(64)], len };
        bitmap.clear_beyond_len();
        bitmap
    }

    /// The set with these words; `None` when there are too few or too many, or a bit beyond `len` is set.
    pub(crate) fn from_words(words: Vec<u64>, len: usize) -> Option<Self> {
        let bitmap = Self { words, len };
        let mut cleared = bitmap.clone();
        cleared.clear_beyond_len();
        (bitmap.words.len() == len.div_ceil(64) && cleared == bitmap).then_some(bitmap)
    }

    /// The set of the rows for which `contains` holds.
    pub(crate) fn from_fn(len: usize, mut contains: impl FnMut(usize) -> bool) -> Self {
        let mut words = Vec::with_capacity(len.div_ceil(64));
        for start in (0..len).step_by(64) {
            let mut word = 0;
            for row in start..(start + 64).min(len) {
                word |= u64::from(contains(row)) << (row - start);
            }
            words.push(word);
        }
        Self { words, len }
    }

    fn clear_beyond_len(&mut self) {
        if !self.len.is_multiple_of(64)
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << (self.len % 64)) - 1;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.words.len() as u64 * 8
    }

    #[inline]
    pub(crate) fn contains(&self, row: usize) -> bool {
        self.words[row / 64] >> (row % 64) & 1 == 1
    }

    #[inline]
    pub(crate) fn insert(&mut self, row: usize) {
        debug_assert!(row < self.len);
        self.words[row / 64] |= 1 << (row % 64);
    }

    /// How many rows are in the set.
    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// How many rows of `start..end` are in the set.
    pub(crate) fn count_range(&self, start: usize, end: usize) -> usize {
        if start >= end {
            return 0;
        }
        let (first, last) = (start / 64, (end - 1) / 64);
        let head = u64::MAX << (start % 64);
        let tail = u64::MAX >> (63 - (end - 1) % 64);
        if first == last {
            return (self.words[first] & head & tail).count_ones() as usize;
        }
        let middle: u32 = self.words[first + 1..last].iter().map(|word| word.count_ones()).sum();
        let ends = (self.words[first] & head).count_ones() + (self.words[last] & tail).count_ones();
        (middle + ends) as usize
    }

    /// Bits `start..start + 32` as a word; bits beyond `len` are zero.
    #[inline]
    pub(crate) fn word32(&self, start: usize) -> u32 {
        let (word, shift) = (start / 64, start % 64);
        let low = self.words.get(word).map_or(0, |bits| bits >> shift);
        let high =
            if shift > 32 { self.words.get(word + 1).map_or(0, |bits| bits << (64 - shift)) } else { 0 };
        (low | high) as u32
    }

    /// The rows in the set, ascending.
    pub(crate) fn ones(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    index * 64 + bit
                })
            })
        })
    }

    pub(crate) fn and(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
    }

    pub(crate) fn and_not(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= !other;
        }
    }

    pub(crate) fn or(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    pub(crate) fn invert(&mut self) {
        for word in &mut self.words {
            *word = !*word;
        }
        self.clear_beyond_len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_counts_the_rows_in_it() {
        let bitmap = Bitmap::from_fn(200, |row| row % 3 == 0);
        for (start, end) in [(0, 0), (0, 1), (1, 3), (0, 64), (63, 65), (64, 128), (5, 200), (190, 200)] {
            let expected = (start..end).filter(|row| row % 3 == 0).count();
            assert_eq!(bitmap.count_range(start, end), expected, "{start}..{end}");
        }
        assert_eq!(bitmap.count(), 67);
    }

    #[test]
    fn thirty_two_bits_can_start_anywhere() {
        let bitmap = Bitmap::from_fn(150, |row| row % 5 == 1);
        for start in 0..150 {
            let expected = (0..32)
                .filter(|bit| start + bit < 150 && (start + bit) % 5 == 1)
                .fold(0, |w, bit| w | 1 << bit);
            assert_eq!(bitmap.word32(start), expected, "{start}");
        }
    }

    #[test]
    fn inverting_leaves_no_row_beyond_the_end() {
        let mut bitmap = Bitmap::none(70);
        bitmap.insert(3);
        bitmap.invert();
        assert_eq!(bitmap.count(), 69);
        assert_eq!(bitmap.ones().next(), Some(0));
        assert!(!bitmap.contains(3));
        assert_eq!(Bitmap::all(70).count(), 70);
    }

    #[test]
    fn words_with_bits_beyond_the_end_are_refused() {
        assert!(Bitmap::from_words(vec![1 << 5], 5).is_none());
        assert!(Bitmap::from_words(vec![1, 1], 5).is_none());
        assert!(Bitmap::from_words(vec![1 << 4], 5).is_some());
    }
}
