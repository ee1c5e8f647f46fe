//! SIGTERM and Ctrl-C: the first asks the program to end in order, the second ends it at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit status of a program that was ended by a second signal.
const ENDED_AT_ONCE: i32 = 130;

/// A token that the first signal cancels.
///
/// # Errors
/// When the process may not listen to signals.
pub fn stop_on_signals() -> io::Result<CancellationToken> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                tracing::info!("stopping: finishing what is in flight");
                stop.cancel();
            }
        }
        std::process::exit(ENDED_AT_ONCE);
    });
    Ok(token)
}
