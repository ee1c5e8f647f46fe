//! The writer thread: merges the writes that wait into one durable commit.
//!
//! Guarantees: writes are applied in the order in which they were handed over; an answer is given after the
//! commit that holds the write was synced to the disk. While one commit runs, the next batch gathers, so that
//! many small writers share an fsync and a lonely one does not wait for company.
//!
//! A write that was handed over is done even if its caller stops waiting.
//!
//! Measured with the example `throughput` (two cores shared with other work, load above 10; images a second, one
//! caller and 64 at a time): putting 30 KB and a vector 66 to 97 and 1,190 to 2,660; putting 528 KB 51 to 98 and 200
//! to 560; publishing 30 KB 68 to 79 and 1,420 to 3,040.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use redb::StorageError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::database::{DatabaseSlot, Problem, write};
use super::tables::Tables;

/// Most writes in one commit.
const BATCH_WRITES: usize = 1024;
/// Most bytes of content in one commit, but for a single larger write.
const BATCH_BYTES: usize = 64 << 20;
/// Most KiB of content that wait; further writers wait outside.
const QUEUED_KIB: u32 = 256 << 10;

/// One write, before its result's type is forgotten.
trait Job: Send {
    fn bytes(&self) -> usize;
    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), StorageError>;
    fn finish(self: Box<Self>, outcome: Result<(), Arc<Problem>>);
}

struct TypedJob<T, W, A> {
    bytes: usize,
    work: Option<W>,
    after: A,
    result: Option<T>,
    answer: oneshot::Sender<Result<T, Arc<Problem>>>,
    _room: OwnedSemaphorePermit,
}

impl<T, W, A> Job for TypedJob<T, W, A>
where
    T: Send,
    W: FnOnce(&mut Tables<'_>) -> Result<T, StorageError> + Send,
    A: FnOnce(&T) + Send,
{
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn apply(&mut self, tables: &mut Tables<'_>) -> Result<(), StorageError> {
        if let Some(work) = self.work.take() {
            self.result = Some(work(tables)?);
        }
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), Arc<Problem>>) {
        let answer = match (outcome, self.result) {
            (Ok(()), Some(result)) => {
                (self.after)(&result);
                Ok(result)
            }
            (Ok(()), None) => Err(Arc::new(Problem::Closed)),
            (Err(problem), _) => Err(problem),
        };
        // The caller may have stopped waiting; the write is done all the same.
        let _ = self.answer.send(answer);
    }
}

/// Hands writes to the thread.
pub(crate) struct Writer {
    jobs: Mutex<Option<mpsc::UnboundedSender<Box<dyn Job>>>>,
    room: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(slot: Arc<DatabaseSlot>) -> Result<Self, Problem> {
        let (jobs, waiting) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("medindex-store".into())
            .spawn(move || run(&slot, waiting))
            .map_err(StorageError::Io)?;
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            room: Arc::new(Semaphore::new(QUEUED_KIB as usize)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Has `work` done in a transaction of about `bytes` bytes; returns its result once that is durable. `after`
    /// runs then too, whether or not the caller still waits.
    ///
    /// `work` must not write before it is sure that it will return `Ok`: others share its transaction.
    pub(crate) async fn write<T, W, A>(&self, bytes: usize, work: W, after: A) -> Result<T, Arc<Problem>>
    where
        T: Send + 'static,
        W: FnOnce(&mut Tables<'_>) -> Result<T, StorageError> + Send + 'static,
        A: FnOnce(&T) + Send + 'static,
    {
        let closed = || Arc::new(Problem::Closed);
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, QUEUED_KIB);
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await.map_err(|_| closed())?;
        let (answer, outcome) = oneshot::channel();
        let job = TypedJob { bytes, work: Some(work), after, result: None, answer, _room: room };
        match &*self.jobs.lock() {
            Some(jobs) => jobs.send(Box::new(job)).map_err(|_| closed())?,
            None => return Err(closed()),
        }
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Finishes the writes that wait, then stops the thread. Blocks.
    pub(crate) fn stop(&self) {
        self.jobs.lock().take();
        self.room.close();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer thread panicked");
        }
    }
}

fn run(slot: &DatabaseSlot, mut waiting: mpsc::UnboundedReceiver<Box<dyn Job>>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        while batch.len() < BATCH_WRITES && bytes < BATCH_BYTES {
            let Ok(job) = waiting.try_recv() else { break };
            bytes += job.bytes();
            batch.push(job);
        }
        tracing::trace!(writes = batch.len(), bytes, "committing a batch");
        let outcome = commit(slot, &mut batch).map_err(Arc::new);
        for job in batch {
            job.finish(outcome.clone());
        }
    }
}

/// Applies a batch in one transaction and syncs it.
fn commit(slot: &DatabaseSlot, batch: &mut [Box<dyn Job>]) -> Result<(), Problem> {
    slot.with(|database| {
        write(database, |tables| {
            for job in batch {
                job.apply(tables)?;
            }
            Ok(())
        })
    })
}
