//! The end of a program: SIGTERM and Ctrl-C ask for it, the first to end in order, the second to end at once.
//!
//! Kubernetes kills a program 30 seconds after it asked. Everything has its time from the first signal on, so that all is over before that: what
//! is in flight has [`IN_FLIGHT_WITHIN`]; background tasks and last writes are cut off after 20 seconds; farewells to servers, and calls that hang,
//! get a few seconds more; after 25 the program ends, whatever it is at. Guarantees: nothing that was acknowledged depends on an end in order, which
//! only saves work; what is cut off is a warning in the log that says what it was.

use std::future::Future;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use medindex_pipeline::Core;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::operation::Readiness;

/// How long requests and calls in flight may take after the signal.
pub const IN_FLIGHT_WITHIN: Duration = Duration::from_secs(12);
/// When, after the signal, background tasks and last writes are cut off.
const TASKS_WITHIN: Duration = Duration::from_secs(20);
/// When, after the signal, the program ends whatever it is at.
const END_WITHIN: Duration = Duration::from_secs(25);
/// How long farewells to servers, and calls that were given up and go on, may take at the very end, and when that is over after the signal.
const LEAVE_WITHIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(24));
/// Exit status of a program that was cut off: by a second signal, or [`END_WITHIN`] after the first.
const CUT_OFF: i32 = 130;

/// When the first signal came.
static TOLD: OnceLock<Instant> = OnceLock::new();

/// Runs a program to its end, on threads of its own; `finish` makes an exit status of how it ended.
pub fn run_to_end<T>(program: impl Future<Output = T>, finish: impl FnOnce(T) -> ExitCode) -> ExitCode {
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Where standard error is gone, nobody is left to tell.
            let _ = writeln!(io::stderr(), "cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let status = finish(runtime.block_on(program));
    leave(runtime, LEAVE_WITHIN.0.min(left_of(LEAVE_WITHIN.1)));
    status
}

/// Waits for calls on threads for blocking work, such as the farewells to servers; whether all have ended.
fn leave(runtime: Runtime, within: Duration) -> bool {
    let begun = Instant::now();
    runtime.shutdown_timeout(within);
    let is_over = begun.elapsed() < within;
    if !is_over {
        tracing::warn!(
            seconds = within.as_secs(),
            "calls to servers, or computations, that go on are cut off"
        );
    }
    is_over
}

/// What is left of a time that began with the signal.
fn left_of(time: Duration) -> Duration {
    time.saturating_sub(TOLD.get().map_or(Duration::ZERO, Instant::elapsed))
}

/// A token that the first signal cancels. Once that came, the program ends in time whatever it is at; `readiness` says what that was.
///
/// # Errors
/// When the process may not listen to signals.
pub fn stop_on_signals(readiness: &Readiness) -> io::Result<CancellationToken> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let token = CancellationToken::new();
    let (stop, readiness) = (token.clone(), readiness.clone());
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                tracing::info!("stopping: finishing what is in flight");
                TOLD.get_or_init(Instant::now);
                stop.cancel();
                let readiness = readiness.clone();
                let watch = thread::Builder::new().spawn(move || end_in_time(&readiness));
                if let Err(error) = watch {
                    tracing::warn!(%error, "nobody watches that the program ends in time");
                }
            }
        }
        std::process::exit(CUT_OFF);
    });
    Ok(token)
}

/// Ends the process when its time is over. On a thread of its own: whatever hangs, hangs elsewhere.
fn end_in_time(readiness: &Readiness) {
    thread::sleep(END_WITHIN);
    let at = readiness.reason().unwrap_or_else(|| "at work".to_owned());
    tracing::warn!(at, seconds = END_WITHIN.as_secs(), "the program did not end in time and is cut off");
    std::process::exit(CUT_OFF);
}

/// Serves, and does `end` as soon as the program is told to stop, while calls in flight are finished. One that cannot serve ends as well.
pub async fn serve_and_end<S, E>(
    stop: &CancellationToken,
    readiness: &Readiness,
    serving: impl Future<Output = S>,
    end: impl Future<Output = E>,
) -> (S, E) {
    // On the heap, because it is large and would be moved.
    let serving = Box::pin(serving);
    let served = async {
        let served = serving.await;
        stop.cancel();
        served
    };
    let ended = async {
        stop.cancelled().await;
        readiness.unready("shutting down");
        end.await
    };
    tokio::join!(served, ended)
}

/// Waits for `end`, which ends the background tasks of `core` and does what comes after them; `None` when it takes too long and is cut off.
pub async fn end_tasks<T>(core: &Core, end: impl Future<Output = T>) -> Option<T> {
    let ended = timeout(left_of(TASKS_WITHIN), end).await.ok();
    if ended.is_none() {
        let tasks = core.running_tasks();
        let what = if tasks.is_empty() { "the last writes".to_owned() } else { tasks.join(", ") };
        tracing::warn!(
            what,
            seconds = TASKS_WITHIN.as_secs(),
            "background tasks did not end in time and are cut off"
        );
    }
    ended
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_program_leaves_at_once_when_nothing_hangs() {
        let begun = Instant::now();
        let program = async { tokio::task::spawn_blocking(|| 7_u8).await.unwrap() };
        let status = run_to_end(program, ExitCode::from);
        assert_eq!(format!("{status:?}"), format!("{:?}", ExitCode::from(7)));
        assert!(begun.elapsed() < LEAVE_WITHIN.0, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_call_that_hangs_does_not_keep_a_program() {
        let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
        let ((begin, begun), (release, hanging)) = (mpsc::channel(), mpsc::channel::<()>());
        runtime.spawn_blocking(move || {
            begin.send(()).unwrap();
            hanging.recv()
        });
        begun.recv().unwrap();
        assert!(!leave(runtime, Duration::from_millis(100)));
        drop(release);
    }
}
