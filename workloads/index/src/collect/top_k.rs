//! A bounded max-heap, for small `k`.

use super::{Distance, by_distance};

/// The `k` nearest candidates in a binary max-heap: the root is the `k`-th distance.
#[derive(Clone, Debug)]
pub struct TopK<D, T> {
    k: usize,
    heap: Vec<(D, T)>,
}

impl<D: Distance, T: Copy> TopK<D, T> {
    /// Keeps the `k` nearest; `k = 0` keeps none.
    pub fn new(k: usize) -> Self {
        Self { k, heap: Vec::with_capacity(k.min(1 << 16)) }
    }

    /// Candidates held, at most `k`.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The `k`-th distance, or [`Distance::WORST`] while fewer are known. With `k = 0` nothing may enter,
    /// and [`push`](Self::push) drops whatever is offered.
    #[inline]
    pub fn threshold(&self) -> D {
        if self.heap.len() < self.k { D::WORST } else { self.heap.first().map_or(D::WORST, |root| root.0) }
    }

    /// Offers a candidate; returns the threshold after it.
    #[inline]
    pub fn push(&mut self, distance: D, item: T) -> D {
        if self.heap.len() < self.k {
            self.heap.push((distance, item));
            self.sift_up();
        } else if self.heap.first().is_some_and(|root| distance < root.0) {
            self.heap[0] = (distance, item);
            self.sift_down();
        }
        self.threshold()
    }

    fn sift_up(&mut self) {
        let mut child = self.heap.len() - 1;
        while child > 0 {
            let parent = (child - 1) / 2;
            if self.heap[child].0 <= self.heap[parent].0 {
                break;
            }
            self.heap.swap(child, parent);
            child = parent;
        }
    }

    fn sift_down(&mut self) {
        let mut parent = 0;
        loop {
            let left = 2 * parent + 1;
            if left >= self.heap.len() {
                break;
            }
            let right = left + 1;
            let larger =
                if right < self.heap.len() && self.heap[right].0 > self.heap[left].0 { right } else { left };
            if self.heap[parent].0 >= self.heap[larger].0 {
                break;
            }
            self.heap.swap(parent, larger);
            parent = larger;
        }
    }

    /// The candidates held, in no order.
    pub fn as_slice(&self) -> &[(D, T)] {
        &self.heap
    }

    /// The candidates, ascending by distance.
    pub fn into_sorted(self) -> Vec<(D, T)> {
        let mut sorted = self.heap;
        sorted.sort_by(by_distance);
        sorted
    }
}
