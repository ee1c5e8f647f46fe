//! What the ports promise, as code: a suite of named checks for each, which every adapter runs unchanged.
//!
//! A suite asks for [`Place`]s, new and empty ones, opens adapters over them and checks what the port's module
//! documents. `run` panics at the end with the names of all checks that failed, and why.
//!
//! Checks wait for conditions with deadlines and never count on an order between partitions, on offsets without
//! gaps or on immediate rebalances, so that they hold for servers as for the embedded adapters.

// A suite is test code, wherever it is compiled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_errors_doc)]

pub mod cache;
pub mod catalog;
pub mod image_store;
pub mod queue;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

/// Longest that a check may take.
const CHECK_TIMEOUT: Duration = Duration::from_mins(2);

/// Where an adapter keeps its things: a folder, a namespace on a server.
#[async_trait]
pub trait Place<P: ?Sized>: Send + Sync {
    /// Opens an adapter over the place, the first time or after [`Place::close`].
    async fn open(&self) -> Arc<P>;

    /// Shuts down what was opened, as at the end of a process. The adapter given is not used any more.
    async fn close(&self, port: Arc<P>);
}

/// Makes places for checks.
#[async_trait]
pub trait Factory<P: ?Sized>: Send + Sync {
    /// A new, empty place.
    async fn place(&self) -> Arc<dyn Place<P>>;
}

type Run<P> = fn(Arc<dyn Place<P>>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// A named check.
pub struct Check<P: ?Sized> {
    /// What holds, as a sentence.
    pub name: &'static str,
    run: Run<P>,
}

/// Makes the list of a suite's checks; each function's name is the check's.
macro_rules! checks {
    ($port:ty: $($check:ident),+ $(,)?) => {
        /// The checks of this suite.
        pub fn checks() -> Vec<super::Check<$port>> {
            vec![$(super::Check { name: stringify!($check), run: |place| Box::pin($check(place)) }),+]
        }

        /// Runs all checks, each in a place of its own.
        ///
        /// # Panics
        /// If a check failed, with the names of all that did.
        pub async fn run(factory: impl super::Factory<$port>) {
            super::run_checks(checks(), &factory).await;
        }
    };
}
pub(crate) use checks;

async fn run_checks<P: ?Sized + Send + Sync + 'static>(checks: Vec<Check<P>>, factory: &impl Factory<P>) {
    let count = checks.len();
    let mut failures = Vec::new();
    for check in checks {
        let place = factory.place().await;
        let task = tokio::spawn((check.run)(place));
        let abort = task.abort_handle();
        match tokio::time::timeout(CHECK_TIMEOUT, task).await {
            Ok(Ok(())) => tracing::info!(check = check.name, "holds"),
            Ok(Err(error)) => failures.push(format!("{}: {}", check.name, reason(error))),
            Err(_) => {
                abort.abort();
                failures.push(format!("{}: not done within {CHECK_TIMEOUT:?}", check.name));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count} checks failed:\n  {}", failures.len(), failures.join("\n  "));
}

fn reason(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "cancelled".to_owned() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked".to_owned())
}

/// Closes an adapter and opens its place again, as a restart does.
async fn restart<P: ?Sized>(place: &Arc<dyn Place<P>>, port: Arc<P>) -> Arc<P> {
    place.close(port).await;
    place.open().await
}

/// Bytes that differ from place to place and from seed to seed.
fn pattern(length: usize, seed: u64) -> bytes::Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(next).collect::<Vec<u8>>().into()
}
