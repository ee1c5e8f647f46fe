//! Computing once what many ask for at the same time.
//!
//! Guarantee: while a computation for a key runs, others that ask for the key wait for it and share its value. When it
//! fails, or its caller goes away, the next one waiting computes; an error is never shared. Nothing is kept afterwards: that is
//! the cache's job.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

/// Runs at most one computation a key at a time.
pub(crate) struct SingleFlight<T> {
    running: Mutex<HashMap<String, Arc<OnceCell<T>>>>,
}

impl<T: Clone> SingleFlight<T> {
    pub(crate) fn new() -> Self {
        Self { running: Mutex::new(HashMap::new()) }
    }

    /// The value of `key`, from a computation that already runs or from `compute`.
    pub(crate) async fn run<E, F>(&self, key: &str, compute: impl FnOnce() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let flight = Arc::clone(self.running.lock().entry(key.to_owned()).or_default());
        let landing = Landing { flights: self, key, flight: &flight };
        let value = flight.get_or_try_init(compute).await.cloned();
        drop(landing);
        value
    }
}

/// Removes a finished flight, also when its caller is dropped half-way.
struct Landing<'a, T> {
    flights: &'a SingleFlight<T>,
    key: &'a str,
    flight: &'a Arc<OnceCell<T>>,
}

impl<T> Drop for Landing<'_, T> {
    fn drop(&mut self) {
        let mut running = self.flights.running.lock();
        // The map and this caller hold one reference each: nobody else waits any more.
        let last = Arc::strong_count(self.flight) <= 2;
        let same = running.get(self.key).is_some_and(|flight| Arc::ptr_eq(flight, self.flight));
        if same && (last || self.flight.initialized()) {
            running.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn fifty_callers_share_one_computation() {
        let flights = SingleFlight::new();
        let computed = AtomicUsize::new(0);
        let gate = tokio::sync::Barrier::new(50);
        let callers = (0..50).map(|_| async {
            gate.wait().await;
            flights
                .run("key", || async {
                    tokio::task::yield_now().await;
                    Ok::<_, ()>(computed.fetch_add(1, Ordering::SeqCst))
                })
                .await
        });
        let values = futures::future::join_all(callers).await;
        assert!(values.iter().all(|value| *value == Ok(0)));
        assert_eq!(computed.load(Ordering::SeqCst), 1);
        assert!(flights.running.lock().is_empty());
    }

    #[tokio::test]
    async fn an_error_is_not_shared_with_the_next_caller() {
        let flights = SingleFlight::<u32>::new();
        assert_eq!(flights.run("key", || async { Err::<u32, _>("broken") }).await, Err("broken"));
        assert_eq!(flights.run("key", || async { Ok::<_, &str>(7) }).await, Ok(7));
        assert!(flights.running.lock().is_empty());
    }

    #[tokio::test]
    async fn a_dropped_caller_leaves_nothing_behind() {
        let flights = SingleFlight::<u32>::new();
        let never = flights.run("key", std::future::pending::<Result<u32, ()>>);
        drop(futures::future::select(Box::pin(never), Box::pin(tokio::task::yield_now())).await);
        assert!(flights.running.lock().is_empty());
    }
}
