//! Processor time of this process.
//!
//! Engines run on one pinned core that other work may want too. Processor time leaves out what other
//! processes took, so that figures of a busy machine scatter less; on an idle machine it equals wall time.

use rustix::time::{ClockId, clock_gettime};

/// Processor seconds of all threads of this process.
pub(crate) fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Calls `work` until `seconds` of processor time have passed; processor seconds a call.
pub(crate) fn repeat<E>(seconds: f64, mut work: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let start = processor_seconds();
    let mut calls = 0_u32;
    loop {
        work()?;
        calls += 1;
        let elapsed = processor_seconds() - start;
        if elapsed >= seconds {
            return Ok(elapsed / f64::from(calls));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_work_is_called_until_the_time_is_used() {
        let mut calls = 0;
        let each = repeat::<()>(0.01, || {
            calls += 1;
            std::hint::black_box((0..10_000_u64).map(std::hint::black_box).sum::<u64>());
            Ok(())
        })
        .unwrap();
        assert!(calls > 0 && each * f64::from(calls) >= 0.01);
    }
}
