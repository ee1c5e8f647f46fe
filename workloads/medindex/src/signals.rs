//! Ctrl-C and SIGTERM: the first one asks a command to finish what it has begun, the second one ends it at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::{Code, Failure};
use crate::output::note;

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

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A token that the first signal cancels, with `message` on standard error; the second signal ends the process.
pub(crate) fn stop_token(message: &'static str) -> Result<CancellationToken, Failure> {
    let signals = StopSignals::listen()?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        signals.wait(message).await;
        cancelled.cancel();
    });
    Ok(token)
}
