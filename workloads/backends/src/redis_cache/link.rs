//! The connection that there is now, and the task that cares for there being one.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::RngExt;
use redis::RedisError;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::RedisOptions;
use super::connect::{Connection, connect};
use super::faults::{action_fault, connect_fault, ends_connection};
use crate::credentials::CredentialFiles;
use crate::fault::Fault;

/// Pause before the first new attempt to connect; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause between attempts, about: so long the cache stays out of use after the servers are back.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

struct State {
    connection: Option<Connection>,
    /// Number of the connection: a failure of an earlier one says nothing about this one.
    number: u64,
    failures: u32,
    /// Why there is no connection.
    reason: String,
}

struct Shared {
    options: RedisOptions,
    place: String,
    state: Mutex<State>,
    /// The connection was given up.
    lost: Notify,
}

/// A connection that is made anew, in the background, whenever it is lost.
pub(super) struct Link {
    shared: Arc<Shared>,
    keeper: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Link {
    /// Tries once to connect, and starts the task that goes on trying.
    pub(super) async fn open(options: RedisOptions) -> Result<Self, Fault> {
        let place = options.place();
        let files = CredentialFiles::new(options.tls.as_ref(), options.logins())?;
        let mut state = State { connection: None, number: 0, failures: 0, reason: String::new() };
        match connect(&options).await.map_err(|error| connect_fault(&place, error)) {
            Ok(connection) => state.connection = Some(connection),
            Err(fault) if fault.is_transient() => {
                tracing::warn!(%fault, "there is no cache for now");
                state.reason = reason(&fault);
            }
            Err(fault) => return Err(fault),
        }
        let shared = Arc::new(Shared { options, place, state: Mutex::new(state), lost: Notify::new() });
        let keeper = tokio::spawn(keep(Arc::clone(&shared), files)).abort_handle();
        Ok(Self { shared, keeper })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.shared.state.lock().connection.is_some()
    }

    /// Does an action on the connection that there is, or fails at once without one.
    pub(super) async fn run<T>(
        &self,
        action: impl AsyncFnOnce(Connection) -> Result<T, RedisError>,
    ) -> Result<T, Fault> {
        let (connection, number) = self.shared.connection()?;
        let timeout = self.shared.options.response_timeout;
        match tokio::time::timeout(timeout, action(connection)).await {
            Ok(Ok(value)) => {
                self.shared.succeeded(number);
                Ok(value)
            }
            Ok(Err(error)) => {
                let at_once = ends_connection(&error);
                let fault = action_fault(&self.shared.place, error);
                self.shared.failed(number, at_once, &fault);
                Err(fault)
            }
            Err(_) => {
                let source = format!("no answer within {timeout:?}").into();
                let fault = Fault::Unavailable { place: self.shared.place.clone(), source };
                self.shared.failed(number, false, &fault);
                Err(fault)
            }
        }
    }
}

impl Shared {
    fn connection(&self) -> Result<(Connection, u64), Fault> {
        let state = self.state.lock();
        match &state.connection {
            Some(connection) => Ok((connection.clone(), state.number)),
            None => {
                Err(Fault::Unavailable { place: self.place.clone(), source: state.reason.clone().into() })
            }
        }
    }

    fn succeeded(&self, number: u64) {
        let mut state = self.state.lock();
        if state.number == number {
            state.failures = 0;
        }
    }

    fn failed(&self, number: u64, at_once: bool, fault: &Fault) {
        let mut state = self.state.lock();
        if state.number != number || state.connection.is_none() {
            return;
        }
        state.failures += 1;
        if at_once || state.failures >= self.options.failures {
            tracing::warn!(%fault, "the cache is left out until it answers again");
            state.connection = None;
            state.reason = reason(fault);
            self.lost.notify_one();
        }
    }

    fn put(&self, connection: Connection) {
        let mut state = self.state.lock();
        state.connection = Some(connection);
        state.number += 1;
        state.failures = 0;
    }
}

/// What is said about the missing connection; the place is named by the fault that it becomes part of.
fn reason(fault: &Fault) -> String {
    match fault {
        Fault::Unavailable { source, .. } | Fault::Inaccessible { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

/// Connects whenever there is no connection, and once more when the files were renewed.
async fn keep(shared: Arc<Shared>, files: CredentialFiles) {
    loop {
        let is_connected = shared.state.lock().connection.is_some();
        if !is_connected {
            connect_again(&shared).await;
        }
        let lost = shared.lost.notified();
        if tokio::time::timeout(shared.options.check_files_every, lost).await.is_err() {
            renew(&shared, &files).await;
        }
    }
}

async fn connect_again(shared: &Shared) {
    let mut pause = FIRST_PAUSE;
    loop {
        match connect(&shared.options).await.map_err(|error| connect_fault(&shared.place, error)) {
            Ok(connection) => {
                tracing::info!(place = shared.place, "the cache answers again");
                return shared.put(connection);
            }
            Err(fault) => {
                let reason = reason(&fault);
                let mut state = shared.state.lock();
                if state.reason != reason {
                    tracing::warn!(%fault, "the cache cannot be reached; it is tried again");
                    state.reason = reason;
                }
            }
        }
        let jittered = pause.mul_f64(rand::rng().random_range(0.5..=1.0));
        tokio::time::sleep(jittered).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Connects with the renewed files; the connection that there is stays if that fails.
async fn renew(shared: &Shared, files: &CredentialFiles) {
    match files.changed() {
        Ok(false) => return,
        Ok(true) => {}
        Err(fault) => {
            tracing::warn!(%fault, "the cache's files cannot be read; the connection made with those before stays");
            return;
        }
    }
    match connect(&shared.options).await.map_err(|error| connect_fault(&shared.place, error)) {
        Ok(connection) => {
            tracing::info!(place = shared.place, "connected to the cache with the renewed files");
            shared.put(connection);
        }
        Err(fault) => {
            tracing::warn!(%fault, "the renewed files do not serve; the connection made with those before stays");
        }
    }
}
