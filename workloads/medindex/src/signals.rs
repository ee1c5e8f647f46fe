//! Ctrl-C and SIGTERM: the first one asks a command to finish what it has begun, the second one ends it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Code, Failure};
use crate::output::note;

/// Whether the person asked to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Whether to stop.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Ctrl-C and SIGTERM, which no longer end the process once this exists.
#[derive(Debug)]
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Listens from now on; signals that come before [`Self::wait`] are kept.
    ///
    /// # Errors
    /// When the process may not listen to signals.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::caused_by(Code::Other, "cannot listen to signals", &error))
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for the next signal, says `message`, and lets the one after that end the process.
    pub(crate) async fn wait(mut self, message: &'static str) {
        self.next().await;
        note(message);
        tokio::spawn(async move {
            self.next().await;
            std::process::exit(Code::Interrupted as i32);
        });
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A flag that the first signal sets, with `message` on standard error; the second signal ends the process.
pub(crate) fn stop_flag(message: &'static str) -> Result<StopFlag, Failure> {
    let signals = StopSignals::listen()?;
    let flag = StopFlag::default();
    let set = flag.clone();
    tokio::spawn(async move {
        signals.wait(message).await;
        set.0.store(true, Ordering::Release);
    });
    Ok(flag)
}
