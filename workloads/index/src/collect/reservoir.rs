//! A buffer of about `2k` candidates, cut back to the `k` nearest by selection whenever it fills.

use super::{Distance, by_distance};

/// The `k` nearest candidates among up to `2k` buffered ones: cheaper than a heap for large `k`, because most
/// candidates are appended and a linear-time selection (Hoare's find) is paid once in `k` appends.
#[derive(Clone, Debug)]
pub struct Reservoir<D, T> {
    k: usize,
    capacity: usize,
    threshold: D,
    candidates: Vec<(D, T)>,
}

impl<D: Distance, T: Copy> Reservoir<D, T> {
    /// Keeps the `k` nearest; `k = 0` keeps none.
    pub fn new(k: usize) -> Self {
        let capacity = (2 * k).next_multiple_of(16).max(16);
        Self { k, capacity, threshold: D::WORST, candidates: Vec::with_capacity(capacity.min(1 << 17)) }
    }

    /// Candidates buffered, at most `2k` rounded up to 16.
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Whether nothing is buffered.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// An upper bound of the `k`-th distance, tightened at each cut.
    #[inline]
    pub fn threshold(&self) -> D {
        self.threshold
    }

    /// Offers a candidate; returns the threshold after it.
    #[inline]
    pub fn push(&mut self, distance: D, item: T) -> D {
        if distance < self.threshold {
            self.candidates.push((distance, item));
            if self.candidates.len() >= self.capacity {
                self.cut();
            }
        }
        self.threshold
    }

    /// Drops all but the `k` nearest and tightens the threshold to the `k`-th distance.
    pub fn cut(&mut self) {
        if self.k == 0 {
            self.candidates.clear();
        } else if self.candidates.len() >= self.k {
            let (_, kth, _) = self.candidates.select_nth_unstable_by(self.k - 1, by_distance);
            self.threshold = kth.0;
            self.candidates.truncate(self.k);
        }
    }

    /// The candidates buffered, in no order; the `k` nearest are among them.
    pub fn as_slice(&self) -> &[(D, T)] {
        &self.candidates
    }

    /// The `k` nearest, ascending by distance.
    pub fn into_sorted(mut self) -> Vec<(D, T)> {
        self.cut();
        self.candidates.sort_by(by_distance);
        self.candidates
    }
}
