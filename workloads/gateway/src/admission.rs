//! How many files may be in memory at the same time.
//!
//! Back-pressure instead of memory without bounds: a request that does not fit is refused at once with 503 and
//! `Retry-After`. Memory is counted as the bytes arrive, so a false `Content-Length` gains nothing.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::{Problem, ProblemKind};

/// Bytes of one unit of memory.
const UNIT: u64 = 64 << 10;

/// Bounds on requests that carry files.
#[derive(Debug)]
pub(crate) struct Admission {
    requests: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

/// Right to be worked on, given back when dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    _request: OwnedSemaphorePermit,
    memory: OwnedSemaphorePermit,
    all_memory: Arc<Semaphore>,
    bytes: u64,
}

impl Admission {
    /// Admits `requests` at a time, with at most `memory` bytes of files together.
    pub(crate) fn new(requests: usize, memory: u64) -> Self {
        let units = usize::try_from(memory.div_ceil(UNIT)).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            requests: Arc::new(Semaphore::new(requests.clamp(1, Semaphore::MAX_PERMITS))),
            memory: Arc::new(Semaphore::new(units.clamp(1, Semaphore::MAX_PERMITS))),
        }
    }

    /// Admits one more request.
    pub(crate) fn enter(&self) -> Result<Admitted, Problem> {
        let request =
            Arc::clone(&self.requests).try_acquire_owned().map_err(|_| busy("files are being read"))?;
        let memory =
            Arc::clone(&self.memory).try_acquire_many_owned(0).map_err(|_| busy("memory is used up"))?;
        Ok(Admitted { _request: request, memory, all_memory: Arc::clone(&self.memory), bytes: 0 })
    }
}

impl Admitted {
    /// Takes room for `bytes` more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        self.bytes += bytes as u64;
        let needed = self.bytes.div_ceil(UNIT) as usize;
        let missing = needed.saturating_sub(self.memory.num_permits());
        if missing == 0 {
            return Ok(());
        }
        let more = u32::try_from(missing)
            .ok()
            .and_then(|missing| Arc::clone(&self.all_memory).try_acquire_many_owned(missing).ok())
            .ok_or_else(|| busy("files in memory"))?;
        self.memory.merge(more);
        Ok(())
    }
}

fn busy(with: &str) -> Problem {
    Problem::new(
        ProblemKind::Overloaded,
        format!("too many uploads at the same time ({with}); send it again in a moment"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_too_many_is_refused_until_one_ends() {
        let admission = Admission::new(1, UNIT);
        let first = admission.enter().unwrap();
        assert_eq!(admission.enter().unwrap_err().kind(), ProblemKind::Overloaded);
        drop(first);
        assert!(admission.enter().is_ok());
    }

    #[test]
    fn memory_is_counted_in_all_and_given_back() {
        let admission = Admission::new(4, 4 * UNIT);
        let mut first = admission.enter().unwrap();
        let mut second = admission.enter().unwrap();
        for _ in 0..3 {
            first.grow(UNIT as usize).unwrap();
        }
        second.grow(1).unwrap();
        second.grow(UNIT as usize - 1).unwrap();
        assert!(second.grow(1).is_err(), "the fifth unit does not fit");
        drop(first);
        assert!(second.grow(1).is_ok());
    }
}
