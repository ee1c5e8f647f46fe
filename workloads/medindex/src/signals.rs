//! Ctrl-C and SIGTERM: the first one asks a command to finish what it has begun, the second one ends it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

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

/// Waits for Ctrl-C or SIGTERM.
///
/// # Errors
/// When the process may not listen to signals.
pub(crate) async fn wait_for_stop() -> Result<(), Failure> {
    let listen = |kind| {
        signal(kind).map_err(|error| Failure::caused_by(Code::Other, "cannot listen to signals", &error))
    };
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// A flag that the first signal sets, with `message` on standard error; the second signal ends the process.
pub(crate) fn stop_flag(message: &'static str) -> StopFlag {
    let flag = StopFlag::default();
    let set = flag.clone();
    tokio::spawn(async move {
        if wait_for_stop().await.is_err() {
            return;
        }
        set.0.store(true, Ordering::Release);
        note(message);
        if wait_for_stop().await.is_ok() {
            std::process::exit(Code::Interrupted as i32);
        }
    });
    flag
}
