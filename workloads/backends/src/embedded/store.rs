//! The embedded store: image store and queue in one file of one folder.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{ReadTransaction, StorageError};
use tokio::sync::watch;

use super::consumer::Groups;
use super::database::{DatabaseSlot, Problem, io_fault};
use super::log;
use super::tables::Tables;
use super::writer::Writer;
use crate::fault::Fault;

/// Name of the database file in the data folder.
pub const STORE_FILE: &str = "store.redb";

/// Name of the file whose lock keeps a second process out.
pub const LOCK_FILE: &str = "store.lock";

/// Settings of the embedded store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Memory for pages that are read again and for writes on their way, in bytes.
    pub cache_bytes: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { cache_bytes: 128 << 20 }
    }
}

/// Image store and queue of the one-process profile. Cloning shares the store; it is closed when the last clone
/// is dropped, or by [`EmbeddedStore::close`].
#[derive(Clone)]
pub struct EmbeddedStore {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    folder: PathBuf,
    slot: Arc<DatabaseSlot>,
    writer: Writer,
    /// Told when a topic has grown.
    topics: Mutex<HashMap<Arc<str>, watch::Sender<u64>>>,
    pub(super) groups: Groups,
    lock: Mutex<Option<File>>,
}

impl EmbeddedStore {
    /// Opens the store in a folder, making both if they are missing.
    ///
    /// # Errors
    /// [`Fault::InUse`] if another process has it open, [`Fault::Corrupted`], [`Fault::NewerSchema`],
    /// [`Fault::Inaccessible`], [`Fault::DiskFull`].
    pub async fn open(folder: impl AsRef<Path>) -> Result<Self, Fault> {
        Self::open_with(folder, StoreOptions::default()).await
    }

    /// As [`EmbeddedStore::open`], with settings.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    pub async fn open_with(folder: impl AsRef<Path>, options: StoreOptions) -> Result<Self, Fault> {
        let folder = folder.as_ref().to_owned();
        run_blocking(move || open(folder, &options)).await
    }

    /// Writes the offsets of a topic's partitions again that damage took, from the messages that are left; returns how many.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read or written.
    pub async fn restore_offsets(&self, topic: &str) -> Result<u32, Fault> {
        let topic = topic.to_owned();
        self.write(64, move |tables| log::restore_offsets(tables, &topic), |_| ()).await
    }

    /// Moves a group past messages that damage took at the ends of a topic's partitions; returns of how many partitions. Nobody may consume meanwhile.
    ///
    /// # Errors
    /// [`Fault`] when the store cannot be read or written.
    pub async fn pass_lost(&self, topic: &str, group: &str) -> Result<u32, Fault> {
        let (topic, group) = (topic.to_owned(), group.to_owned());
        self.write(64, move |tables| log::pass_lost(tables, &topic, &group), |_| ()).await
    }

    /// The first damage that a read or a write met since the store was opened.
    pub fn damage(&self) -> Option<String> {
        self.shared.slot.damage().map(str::to_owned)
    }

    /// Finishes the writes that wait and closes the file; every later use is refused with [`Fault::Closed`].
    pub async fn close(&self) {
        let shared = Arc::clone(&self.shared);
        // Only a panic could fail here, and it was reported where it happened.
        let _ = tokio::task::spawn_blocking(move || shared.close()).await;
    }

    /// The folder that the store lies in.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// Runs `work` in a read transaction, off the async threads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Fault> {
        let shared = Arc::clone(&self.shared);
        run_blocking(move || shared.slot.read(work).map_err(|problem| problem.into_fault(&shared.folder)))
            .await
    }

    /// Has `work` written durably with others; see [`Writer::write`].
    pub(super) async fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, StorageError> + Send + 'static,
        after: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, Fault> {
        let outcome = self.shared.writer.write(bytes, work, after).await;
        outcome.map_err(|problem| match Arc::try_unwrap(problem) {
            Ok(problem) => problem.into_fault(&self.shared.folder),
            Err(shared) => shared.repeat().into_fault(&self.shared.folder),
        })
    }

    /// A receiver that changes when the topic grows.
    pub(super) fn watch_topic(&self, topic: &Arc<str>) -> watch::Receiver<u64> {
        self.shared.topic_sender(topic, watch::Sender::subscribe)
    }
}

impl Shared {
    fn topic_sender<T>(&self, topic: &Arc<str>, act: impl FnOnce(&watch::Sender<u64>) -> T) -> T {
        let mut topics = self.topics.lock();
        act(topics.entry(Arc::clone(topic)).or_insert_with(|| watch::Sender::new(0)))
    }

    /// Wakes those who wait for a topic.
    pub(super) fn wake_topic(&self, topic: &Arc<str>) {
        self.topic_sender(topic, |sender| sender.send_modify(|version| *version += 1));
    }

    fn close(&self) {
        self.writer.stop();
        self.slot.close();
        self.lock.lock().take();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

fn open(folder: PathBuf, options: &StoreOptions) -> Result<EmbeddedStore, Fault> {
    let lock = lock_folder(&folder)?;
    let slot = DatabaseSlot::open(folder.join(STORE_FILE), options.cache_bytes)
        .map_err(|problem| problem.into_fault(&folder))?;
    let slot = Arc::new(slot);
    let writer = Writer::start(Arc::clone(&slot)).map_err(|problem| problem.into_fault(&folder))?;
    let shared = Shared {
        folder,
        slot,
        writer,
        topics: Mutex::new(HashMap::new()),
        groups: Groups::default(),
        lock: Mutex::new(Some(lock)),
    };
    Ok(EmbeddedStore { shared: Arc::new(shared) })
}

/// Takes the folder for this process; the lock goes with the process, however it ends.
pub(super) fn lock_folder(folder: &Path) -> Result<File, Fault> {
    let place = || folder.display().to_string();
    std::fs::create_dir_all(folder).map_err(|error| io_fault(place(), error))?;
    let path = folder.join(LOCK_FILE);
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| io_fault(path.display().to_string(), error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Fault::InUse { place: place() }),
        Err(TryLockError::Error(error)) => Err(io_fault(path.display().to_string(), error)),
    }
}

/// Runs blocking work off the async threads.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Fault::Failed { place: "the embedded store".into(), source: Box::new(error) })
    })
}
