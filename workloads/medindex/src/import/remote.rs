//! Importing through a running server: uploads by a few threads, then waiting until everything is searchable.
//!
//! The same guarantee as without a server: when it returns, every file is searchable, was there before, or is listed with the
//! reason. A server that is busy is asked again for a minute; one that goes away for longer than a restart takes ends the import, and one that
//! is not there at all ends it before a file is read. Starting again goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use medindex_pipeline::{ImportItem, ImportProgress, LabelOutcome};
use medindex_sources::{Items, Refusal};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::summary::Summary;
use crate::commands::from_json;
use crate::failure::{Code, Failure};
use crate::service::remote::Remote;

/// Uploads at the same time: enough to fill the server's batches.
const UPLOADS: usize = 4;
/// How often a busy server is asked again, and how long is waited between.
const RETRIES: u32 = 60;
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often in a row a server that does not answer at all is asked again.
const RESTART_RETRIES: u32 = 5;
/// Answered by any server that runs, busy or not.
const ALIVE: &str = "/healthz";
/// Time between two looks at an image that is not searchable yet.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Images may take this long in all to become searchable after the last upload made progress.
const SILENCE: Duration = Duration::from_mins(5);

#[derive(Deserialize)]
struct Accepted {
    id: String,
    duplicate: bool,
    status: String,
    label: Option<LabelOutcome>,
}

#[derive(Deserialize)]
struct Details {
    status: String,
    reason: Option<String>,
}

/// Imports `items` through `server`.
pub(crate) async fn import(
    server: Remote,
    items: Items,
    progress: Arc<dyn Fn(&ImportProgress) + Send + Sync>,
    stop: CancellationToken,
) -> Result<Summary, Failure> {
    let started = Instant::now();
    server.get(ALIVE).await?;
    let shared = Arc::new(Shared { items: Mutex::new(items), state: Mutex::new(State::default()), progress });
    let uploads: Vec<_> = (0..UPLOADS)
        .map(|_| {
            let (server, shared) = (server.clone(), Arc::clone(&shared));
            tokio::task::spawn_blocking(move || shared.upload_all(&server))
        })
        .collect();
    for upload in uploads {
        join(upload.await)?;
    }
    let waiting = Arc::clone(&shared);
    join(tokio::task::spawn_blocking(move || waiting.wait_all(&server, &stop)).await)?;
    let state = std::mem::take(&mut *shared.state.lock());
    Ok(Summary {
        stored: state.counts.stored,
        duplicates: state.counts.duplicates,
        labels_set: state.counts.labels_set,
        labels_kept: state.counts.labels_kept,
        failed: state.failed,
        waiting: state.waiting.len() as u64,
        interrupted: !state.waiting.is_empty(),
        seconds: started.elapsed().as_secs_f64(),
        ..Summary::default()
    })
}

fn join(outcome: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    outcome.map_err(|error| Failure::caused_by(Code::Other, "the import stopped", &error))?
}

struct Shared {
    items: Mutex<Items>,
    state: Mutex<State>,
    progress: Arc<dyn Fn(&ImportProgress) + Send + Sync>,
}

#[derive(Default)]
struct State {
    counts: ImportProgress,
    failed: Vec<Refusal>,
    /// Accepted images that are not known to be searchable yet.
    waiting: Vec<(String, String)>,
}

impl Shared {
    fn upload_all(&self, server: &Remote) -> Result<(), Failure> {
        loop {
            let next = self.items.lock().next();
            let Some(ImportItem { name, label, read, sidecar: _ }) = next else { return Ok(()) };
            match read() {
                Err(error) => self.fail(name, error.to_string()),
                Ok(bytes) => match upload(server, &name, label.as_deref(), &bytes) {
                    Ok(accepted) => self.accept(name, accepted),
                    Err(failure) if failure.code == Code::Refused => self.fail(name, failure.message),
                    Err(failure) => return Err(failure),
                },
            }
        }
    }

    fn accept(&self, name: String, accepted: Accepted) {
        let mut state = self.state.lock();
        state.counts.seen += 1;
        match accepted.label {
            Some(LabelOutcome::Set) => state.counts.labels_set += 1,
            Some(LabelOutcome::Kept) => state.counts.labels_kept += 1,
            None => {}
        }
        if accepted.duplicate && accepted.status != "received" {
            state.counts.duplicates += 1;
        } else {
            state.waiting.push((accepted.id, name));
        }
        self.report(&mut state);
    }

    fn fail(&self, name: String, reason: String) {
        let mut state = self.state.lock();
        state.counts.seen += 1;
        state.counts.failed += 1;
        state.failed.push(Refusal { name, reason });
        self.report(&mut state);
    }

    fn report(&self, state: &mut State) {
        state.counts.waiting = state.waiting.len() as u64;
        (self.progress)(&state.counts);
    }

    /// Waits until every accepted image is searchable or failed, or the person wants to stop: then those that are left stay in the list.
    fn wait_all(&self, server: &Remote, stop: &CancellationToken) -> Result<(), Failure> {
        let mut waiting = std::mem::take(&mut self.state.lock().waiting);
        waiting.sort();
        let before = waiting.len();
        waiting.dedup_by(|one, other| one.0 == other.0);
        self.state.lock().counts.duplicates += (before - waiting.len()) as u64;
        let mut waiting = waiting.into_iter();
        while let Some((id, name)) = waiting.next() {
            let begun = Instant::now();
            loop {
                if stop.is_cancelled() {
                    self.state.lock().waiting = std::iter::once((id, name)).chain(waiting).collect();
                    return Ok(());
                }
                let details: Details = from_json(&server.get_now(&format!("/api/v1/images/{id}"))?)?;
                match details.status.as_str() {
                    "indexed" => break self.stored(),
                    "received" if begun.elapsed() > SILENCE => {
                        let message = format!(
                            "{name} is still not searchable; look at `medindex status` of the server"
                        );
                        return Err(Failure::new(Code::Unavailable, message));
                    }
                    "received" => std::thread::sleep(LOOK_AGAIN),
                    _ => {
                        break self.fail(name, details.reason.unwrap_or_else(|| "it was deleted".to_owned()));
                    }
                }
            }
        }
        Ok(())
    }

    fn stored(&self) {
        let mut state = self.state.lock();
        state.counts.stored += 1;
        self.report(&mut state);
    }
}

fn upload(server: &Remote, name: &str, label: Option<&str>, bytes: &[u8]) -> Result<Accepted, Failure> {
    let (mut tries, mut gone) = (0, 0);
    loop {
        let failure = match server.upload(name, label, bytes) {
            Err(failure) if failure.code == Code::Unavailable => failure,
            outcome => return from_json(&outcome?),
        };
        tries += 1;
        gone = if server.get_now(ALIVE).is_ok() { 0 } else { gone + 1 };
        if tries > RETRIES || gone > RESTART_RETRIES {
            return Err(failure);
        }
        std::thread::sleep(RETRY_AFTER);
    }
}
