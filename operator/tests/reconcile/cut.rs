//! An operator that dies at one of its calls: before the call is made, or when it was done and nothing of the answer was seen.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use medindex_operator::external::ExternalError;
use medindex_operator::external::told::Observer;
use medindex_operator::program::calls::Moment;
use tokio::sync::Notify;

#[derive(Default)]
struct State {
    /// Calls so far.
    made: usize,
    /// Where it dies: at the call of this number, from 0.
    dies: Option<(usize, Moment)>,
    /// It died and has not started again.
    is_dead: bool,
    /// Names of the calls that were made.
    names: BTreeSet<String>,
}

/// Counts calls, and cuts the operator off at one of them.
#[derive(Default)]
pub(crate) struct Cut {
    state: Mutex<State>,
    died: Notify,
}

impl Cut {
    pub(crate) fn at(number: usize, moment: Moment) -> Self {
        let state = State { dies: Some((number, moment)), ..State::default() };
        Self { state: Mutex::new(state), died: Notify::new() }
    }

    /// Makes a call; never returns where the operator dies.
    pub(crate) async fn around<T>(&self, call: &str, work: impl Future<Output = T>) -> T {
        let number = {
            let mut state = self.state.lock().unwrap();
            state.names.insert(call.to_owned());
            state.made += 1;
            state.made - 1
        };
        if self.dies(number, Moment::Before) {
            pending::<()>().await;
        }
        let outcome = work.await;
        if self.dies(number, Moment::After) {
            pending::<()>().await;
        }
        outcome
    }

    fn dies(&self, number: usize, moment: Moment) -> bool {
        let mut state = self.state.lock().unwrap();
        let dies = state.dies == Some((number, moment));
        if dies {
            state.is_dead = true;
            self.died.notify_one();
        }
        dies
    }

    /// Waits until the operator dies.
    pub(crate) async fn died(&self) {
        self.died.notified().await;
    }

    /// Starts it again; whether it was dead.
    pub(crate) fn revive(&self) -> bool {
        std::mem::take(&mut self.state.lock().unwrap().is_dead)
    }

    pub(crate) fn made(&self) -> usize {
        self.state.lock().unwrap().made
    }

    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.state.lock().unwrap().names.clone()
    }
}

impl Observer for Cut {
    async fn around<T: Send>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, ExternalError>> + Send,
    ) -> Result<T, ExternalError> {
        Self::around(self, call, work).await
    }
}

/// Has Kafka fail one of the changes of topics that are asked of it.
pub(crate) struct FailsAt {
    /// The number of the change, from 0.
    number: usize,
    error: fn() -> ExternalError,
    asked: AtomicUsize,
}

impl FailsAt {
    pub(crate) fn change(number: usize, error: fn() -> ExternalError) -> Self {
        Self { number, error, asked: AtomicUsize::new(0) }
    }
}

impl Observer for FailsAt {
    async fn around<T: Send>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, ExternalError>> + Send,
    ) -> Result<T, ExternalError> {
        if call == "change_topic" && self.asked.fetch_add(1, Ordering::Relaxed) == self.number {
            return Err((self.error)());
        }
        work.await
    }
}
