//! Requests that are tried again while that may help.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt as _;

use super::connection::Client;
use super::faults::fault_of;
use super::options::HbaseOptions;
use super::pool::Pool;
use crate::fault::Fault;

/// The first wait before a repetition, on average half of it; later ones double.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Calls one table.
#[derive(Clone)]
pub(crate) struct Table {
    pool: Arc<Pool>,
    /// `namespace:name`.
    pub(crate) name: Arc<str>,
    patience: Duration,
}

impl Table {
    /// The table called `name` in the options' namespace.
    pub(crate) fn new(pool: &Arc<Pool>, options: &HbaseOptions, name: &str) -> Self {
        let name = format!("{}:{name}", options.namespace).into();
        Self { pool: Arc::clone(pool), name, patience: options.patience }
    }

    /// Its name as Thrift 1 takes it.
    pub(crate) fn wire_name(&self) -> Vec<u8> {
        self.name.as_bytes().to_vec()
    }

    /// Place, for faults.
    pub(crate) fn place(&self) -> String {
        format!("table {} of HBase at {}", self.name, self.pool.addresses())
    }

    /// How long a request is tried again.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Runs `work`, which may happen more than once, until it succeeds, fails for good, or the patience has ended.
    pub(crate) async fn call<T, F>(&self, work: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: Fn(&mut Client) -> thrift::Result<T> + Send + Sync + 'static,
    {
        let work = Arc::new(work);
        let mut waits = Waits::new(self.patience);
        loop {
            let once = Arc::clone(&work);
            let fault = match self.pool.run(move |client| once(client)).await {
                Ok(value) => return Ok(value),
                Err(error) => fault_of(&self.name, error),
            };
            if !fault.is_transient() || !waits.wait().await {
                return Err(fault);
            }
            tracing::debug!(table = %self.name, %fault, "tried again");
        }
    }
}

/// Waits between repetitions: longer and longer, of random length, so that many callers do not come back at once.
pub(crate) struct Waits {
    next: Duration,
    end: Instant,
}

impl Waits {
    /// Waits that end after `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { next: FIRST_WAIT, end: Instant::now() + patience }
    }

    /// Waits; `false`, at once, when the patience would end before.
    pub(crate) async fn wait(&mut self) -> bool {
        let wait = self.next.mul_f64(rand::rng().random_range(0.25..1.0));
        if Instant::now() + wait > self.end {
            return false;
        }
        tokio::time::sleep(wait).await;
        self.next = (self.next * 2).min(LONGEST_WAIT);
        true
    }
}
