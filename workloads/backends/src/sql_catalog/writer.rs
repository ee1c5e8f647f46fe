//! The catalog's one writer: merges the writes that wait into one durable transaction.
//!
//! Guarantees: writes happen in the order in which they were handed over, each whole or not at all; an answer
//! is given after the commit. If a merged transaction fails, it is rolled back and each write tried alone, so
//! that one bad write spoils no other.
//!
//! A connection on which a transaction could not be begun, committed or rolled back is thrown away: the database
//! may have ended the transaction by itself (`SQLite` does when the disk is full), `sqlx` then counts one too
//! many, and later commits would only release savepoints inside a transaction that nobody ends.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use sqlx::{AnyConnection, AnyPool, Connection};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::faults::Dialect;
use super::pools::{give_back, is_out_of_reach, same_failure, throw_away, within};
use crate::catalog::{CatalogError, Result};
use crate::fault::Fault;

/// Most writes in one transaction.
const BATCH_WRITES: usize = 512;
/// Most writes that wait; further ones wait outside.
const QUEUED_WRITES: usize = 4096;

/// A write to the catalog. It may be run more than once; only the last run counts.
#[async_trait]
pub(super) trait Write: Send + Sync + 'static {
    /// What it answers.
    type Output: Send;
    /// What it writes, for error messages.
    const WHAT: &'static str;

    /// Does it on a connection that is in a transaction.
    async fn run(&self, connection: &mut AnyConnection) -> Result<Self::Output, WriteError>;
}

/// Why a write failed.
pub(super) enum WriteError {
    /// The database refused.
    Database(sqlx::Error),
    /// The write itself cannot be done.
    Refused(CatalogError),
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<CatalogError> for WriteError {
    fn from(error: CatalogError) -> Self {
        Self::Refused(error)
    }
}

/// A write whose type of answer is forgotten.
#[async_trait]
trait Job: Send {
    fn what(&self) -> &'static str;
    async fn run(&mut self, connection: &mut AnyConnection) -> Result<(), WriteError>;
    fn finish(self: Box<Self>, outcome: Result<()>);
}

struct TypedJob<W: Write> {
    write: W,
    output: Option<W::Output>,
    answer: oneshot::Sender<Result<W::Output>>,
}

#[async_trait]
impl<W: Write> Job for TypedJob<W> {
    fn what(&self) -> &'static str {
        W::WHAT
    }

    async fn run(&mut self, connection: &mut AnyConnection) -> Result<(), WriteError> {
        self.output = Some(self.write.run(connection).await?);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<()>) {
        // The caller may have stopped waiting; the write is done all the same.
        let _ = match (outcome, self.output) {
            (Ok(()), Some(output)) => self.answer.send(Ok(output)),
            (Ok(()), None) => Ok(()),
            (Err(error), _) => self.answer.send(Err(error)),
        };
    }
}

/// Hands writes to the task that does them.
pub(super) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    task: Mutex<Option<JoinHandle<()>>>,
    place: String,
}

impl Writer {
    /// Starts the task; `pool` has one connection.
    pub(super) fn start(pool: AnyPool, dialect: Arc<Dialect>) -> Self {
        let (jobs, waiting) = mpsc::channel(QUEUED_WRITES);
        let place = dialect.place.clone();
        let task = tokio::spawn(run(pool, dialect, waiting));
        Self { jobs: Mutex::new(Some(jobs)), task: Mutex::new(Some(task)), place }
    }

    /// Does a write, durably.
    pub(super) async fn write<W: Write>(&self, write: W) -> Result<W::Output> {
        let closed =
            || CatalogError::Write { what: W::WHAT, source: Fault::Closed { place: self.place.clone() } };
        let (answer, outcome) = oneshot::channel();
        let jobs = self.jobs.lock().clone().ok_or_else(closed)?;
        let job = TypedJob { write, output: None, answer };
        jobs.send(Box::new(job)).await.map_err(|_| closed())?;
        drop(jobs);
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Finishes the writes that wait, then stops the task.
    pub(super) async fn stop(&self) {
        self.jobs.lock().take();
        let task = self.task.lock().take();
        if let Some(task) = task
            && task.await.is_err_and(|error| error.is_panic())
        {
            tracing::error!("the catalog's writer task panicked");
        }
    }
}

async fn run(pool: AnyPool, dialect: Arc<Dialect>, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH_WRITES).await > 0 {
        match run_together(&pool, &dialect, &mut batch).await {
            Ok(()) => batch.drain(..).for_each(|job| job.finish(Ok(()))),
            Err(WriteError::Database(error)) if is_out_of_reach(&error) => {
                // Trying each alone would only make all wait longer.
                for job in batch.drain(..) {
                    let failure = dialect.write_error(job.what(), same_failure(&error));
                    job.finish(Err(failure));
                }
            }
            Err(failure) if batch.len() == 1 => {
                if let Some(job) = batch.pop() {
                    let what = job.what();
                    job.finish(Err(explain(&dialect, what, failure)));
                }
            }
            Err(_) => {
                for job in batch.drain(..) {
                    run_alone(&pool, &dialect, job).await;
                }
            }
        }
    }
}

async fn run_alone(pool: &AnyPool, dialect: &Dialect, mut job: Box<dyn Job>) {
    let what = job.what();
    let outcome = run_together(pool, dialect, std::slice::from_mut(&mut job)).await;
    job.finish(outcome.map_err(|failure| explain(dialect, what, failure)));
}

fn explain(dialect: &Dialect, what: &'static str, failure: WriteError) -> CatalogError {
    match failure {
        WriteError::Database(error) => dialect.write_error(what, error),
        WriteError::Refused(error) => error,
    }
}

/// Does all in one transaction; after an error none was done. A transaction that lost against another one is
/// tried again.
async fn run_together(
    pool: &AnyPool,
    dialect: &Dialect,
    batch: &mut [Box<dyn Job>],
) -> Result<(), WriteError> {
    let mut attempt = 0;
    loop {
        let outcome = run_once(pool, dialect, batch).await;
        let pause = match &outcome {
            Err(WriteError::Database(sqlx::Error::Database(error))) => {
                (dialect.pause_before_retry)(error.as_ref(), attempt)
            }
            _ => None,
        };
        let Some(pause) = pause else { return outcome };
        tokio::time::sleep(pause).await;
        attempt += 1;
    }
}

async fn run_once(pool: &AnyPool, dialect: &Dialect, batch: &mut [Box<dyn Job>]) -> Result<(), WriteError> {
    let mut connection = pool.acquire().await?;
    let outcome = within(dialect, async { Ok(transact(&mut connection, batch).await) }).await;
    let outcome = outcome.unwrap_or_else(Outcome::Unknown);
    match outcome {
        Outcome::Committed => Ok(()),
        Outcome::RolledBack(failure) => {
            let error = match &failure {
                WriteError::Database(error) => Some(error),
                WriteError::Refused(_) => None,
            };
            give_back(connection, dialect, error);
            Err(failure)
        }
        Outcome::Unknown(error) => {
            throw_away(connection, dialect).await;
            Err(error.into())
        }
    }
}

/// How a transaction ended.
enum Outcome {
    Committed,
    /// Nothing was done, and the connection is out of the transaction.
    RolledBack(WriteError),
    /// Beginning, committing or rolling back failed: the connection may be in the transaction still.
    Unknown(sqlx::Error),
}

/// Commits, unless a write fails or cannot be done; then it is rolled back.
async fn transact(connection: &mut AnyConnection, batch: &mut [Box<dyn Job>]) -> Outcome {
    let mut transaction = match connection.begin().await {
        Ok(transaction) => transaction,
        Err(error) => return Outcome::Unknown(error),
    };
    for job in batch {
        if let Err(failure) = job.run(&mut transaction).await {
            return match (transaction.rollback().await, failure) {
                (Ok(()), failure) => Outcome::RolledBack(failure),
                // The database may have rolled back by itself and say so: the first error is the one to tell.
                (Err(_), WriteError::Database(error)) | (Err(error), WriteError::Refused(_)) => {
                    Outcome::Unknown(error)
                }
            };
        }
    }
    match transaction.commit().await {
        Ok(()) => Outcome::Committed,
        Err(error) => Outcome::Unknown(error),
    }
}
