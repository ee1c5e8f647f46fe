//! The best `k` of a stream of candidates, with a running threshold that lets a scan skip the rest.
//!
//! Guarantees: a candidate strictly below [`threshold`](Collector::threshold) at the time it is offered is
//! kept, and the `k` smallest distances offered are always among those returned. A candidate that ties with
//! the `k`-th may be dropped. Distances must not be NaN (a NaN is never below a threshold, so never kept).

mod reservoir;
mod top_k;

pub use reservoir::Reservoir;
pub use top_k::TopK;

use std::cmp::Ordering;

/// A distance: smaller is nearer.
pub trait Distance: Copy + PartialOrd {
    /// A distance above all others: the threshold while fewer than `k` candidates are known.
    const WORST: Self;

    /// Total order, smallest first.
    fn order(&self, other: &Self) -> Ordering;
}

impl Distance for u32 {
    const WORST: Self = u32::MAX;

    #[inline]
    fn order(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }
}

impl Distance for f32 {
    const WORST: Self = f32::INFINITY;

    #[inline]
    fn order(&self, other: &Self) -> Ordering {
        self.total_cmp(other)
    }
}

/// Largest `k` for which a heap is used; above, a reservoir costs less for each candidate.
pub const HEAP_UP_TO: usize = 20;

/// A heap or a reservoir, whichever suits `k`.
#[derive(Clone, Debug)]
pub enum Collector<D, T> {
    /// For small `k`.
    Heap(TopK<D, T>),
    /// For large `k`.
    Reservoir(Reservoir<D, T>),
}

impl<D: Distance, T: Copy> Collector<D, T> {
    /// Keeps the `k` nearest.
    pub fn new(k: usize) -> Self {
        if k <= HEAP_UP_TO { Self::Heap(TopK::new(k)) } else { Self::Reservoir(Reservoir::new(k)) }
    }

    /// Only candidates strictly below this distance can still matter.
    #[inline]
    pub fn threshold(&self) -> D {
        match self {
            Self::Heap(heap) => heap.threshold(),
            Self::Reservoir(reservoir) => reservoir.threshold(),
        }
    }

    /// Offers a candidate; returns the threshold after it.
    #[inline]
    pub fn push(&mut self, distance: D, item: T) -> D {
        match self {
            Self::Heap(heap) => heap.push(distance, item),
            Self::Reservoir(reservoir) => reservoir.push(distance, item),
        }
    }

    /// The nearest candidates, ascending by distance.
    pub fn into_sorted(self) -> Vec<(D, T)> {
        match self {
            Self::Heap(heap) => heap.into_sorted(),
            Self::Reservoir(reservoir) => reservoir.into_sorted(),
        }
    }
}

#[inline]
pub(crate) fn by_distance<D: Distance, T>(a: &(D, T), b: &(D, T)) -> Ordering {
    a.0.order(&b.0)
}
