//! How much main memory files may take while they are looked into and decoded, all requests of a process together.
//!
//! A small upload can decode to a gigabyte. Who decodes takes room for what the file may need first, and waits, first come
//! first served, while others have it. A file that needs more than there is gets all of it, alone. Guarantee: the rooms given
//! out never pass the total. Assumption: who waits is on a thread that may block, and holds no other room.

use parking_lot::{Condvar, Mutex};
use rayon::prelude::*;

/// The memory that files may be decoded in.
#[derive(Debug)]
pub(crate) struct DecodeMemory {
    total: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: u64,
    /// Number of the next who waits, and of who is served next.
    arriving: u64,
    serving: u64,
}

/// Memory that its holder may use; given back when dropped.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    memory: &'a DecodeMemory,
    bytes: u64,
}

impl DecodeMemory {
    /// At most `total` bytes at the same time.
    pub(crate) fn new(total: u64) -> Self {
        let state = State { free: total, arriving: 0, serving: 0 };
        Self { total, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Bytes in all.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Waits for room. Blocks the thread: never call it from within the pool of rayon, whose threads those who have room may need.
    pub(crate) fn wait(&self, bytes: u64) -> Room<'_> {
        let bytes = bytes.min(self.total);
        let mut state = self.state.lock();
        let mine = state.arriving;
        state.arriving += 1;
        while state.serving != mine || state.free < bytes {
            self.changed.wait(&mut state);
        }
        state.serving += 1;
        state.free -= bytes;
        drop(state);
        // The next may fit as well.
        self.changed.notify_all();
        Room { memory: self, bytes }
    }

    /// Room, if it is free and nobody waits.
    pub(crate) fn try_take(&self, bytes: u64) -> Option<Room<'_>> {
        let bytes = bytes.min(self.total);
        let mut state = self.state.lock();
        if state.serving != state.arriving || state.free < bytes {
            return None;
        }
        state.free -= bytes;
        Some(Room { memory: self, bytes })
    }

    /// Works on every item on all cores, as many at a time as there is room for; answers in their order. Blocks the thread.
    pub(crate) fn work_on<T: Send, R: Send>(
        &self,
        items: Vec<T>,
        cost: impl Fn(&T) -> u64 + Sync,
        work: impl Fn(T) -> R + Sync,
    ) -> Vec<R> {
        let mut slots: Vec<Slot<T, R>> = items.into_iter().map(Slot::Waiting).collect();
        // Each round does one item at least, in room that was waited for outside of the pool.
        while let Some(needed) = slots.iter().find_map(|slot| slot.waiting().map(&cost)) {
            let waited = Mutex::new(Some(self.wait(needed)));
            slots.par_iter_mut().for_each(|slot| {
                let Some(needed) = slot.waiting().map(&cost) else { return };
                let own = waited.lock().take_if(|room| room.bytes >= needed.min(self.total));
                if let Some(_room) = own.or_else(|| self.try_take(needed)) {
                    slot.fill(&work);
                }
            });
        }
        slots.into_iter().filter_map(Slot::done).collect()
    }
}

/// An item that is worked on.
enum Slot<T, R> {
    Waiting(T),
    Done(R),
    /// Its work ended by a panic, which ends the whole.
    Taken,
}

impl<T, R> Slot<T, R> {
    fn waiting(&self) -> Option<&T> {
        if let Self::Waiting(item) = self { Some(item) } else { None }
    }

    fn done(self) -> Option<R> {
        if let Self::Done(result) = self { Some(result) } else { None }
    }

    fn fill(&mut self, work: impl Fn(T) -> R) {
        if let Self::Waiting(item) = std::mem::replace(self, Self::Taken) {
            *self = Self::Done(work(item));
        }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.memory.state.lock().free += self.bytes;
        self.memory.changed.notify_all();
    }
}

/// Cuts `items` into portions of at most `limit` by weight, in their order; what weighs more is a portion of its own.
pub(crate) fn portions<T>(items: Vec<T>, limit: u64, weight: impl Fn(&T) -> u64) -> Vec<Vec<T>> {
    let mut portions: Vec<Vec<T>> = Vec::new();
    let mut weighs = 0_u64;
    for item in items {
        let more = weight(&item);
        match portions.last_mut() {
            Some(portion) if weighs.saturating_add(more) <= limit => {
                portion.push(item);
                weighs += more;
            }
            _ => {
                portions.push(vec![item]);
                weighs = more;
            }
        }
    }
    portions
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn all_items_are_worked_on_and_never_more_at_a_time_than_fit() {
        let memory = DecodeMemory::new(100);
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let items: Vec<u64> = (0..200).map(|number| number * 37 % 150).collect();
        let work = |item: u64| {
            let taken = item.min(100);
            most.fetch_max(now.fetch_add(taken, Ordering::SeqCst) + taken, Ordering::SeqCst);
            // Work that needs the pool itself.
            let sum: u64 = (0..1_000_u64).into_par_iter().sum();
            now.fetch_sub(taken, Ordering::SeqCst);
            item + sum
        };
        let run = || memory.work_on(items.clone(), |item| *item, work);
        let done = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let expected: Vec<u64> = items.iter().map(|item| item + 499_500).collect();
        assert!(done.iter().all(|each| *each == expected));
        assert!(most.load(Ordering::SeqCst) <= 100);
        assert_eq!(memory.state.lock().free, 100, "all is given back");
    }

    #[test]
    fn who_waits_for_much_is_not_passed_by_those_who_want_little() {
        let memory = DecodeMemory::new(10);
        let held = memory.wait(5);
        std::thread::scope(|scope| {
            let large = scope.spawn(|| drop(memory.wait(50)));
            let somebody_waits = || {
                let state = memory.state.lock();
                state.arriving != state.serving
            };
            while !somebody_waits() {
                std::thread::yield_now();
            }
            assert!(memory.try_take(1).is_none(), "the large one is first");
            drop(held);
            large.join().unwrap();
        });
        assert!(memory.try_take(10).is_some());
    }

    #[test]
    fn portions_keep_the_order_and_a_heavy_item_is_alone() {
        assert_eq!(
            portions(vec![1, 2, 3, 9, 1, 1], 5, |weight| *weight),
            [vec![1, 2], vec![3], vec![9], vec![1, 1]]
        );
        assert!(portions(Vec::<u64>::new(), 5, |weight| *weight).is_empty());
    }
}
