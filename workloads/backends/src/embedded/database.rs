//! The database file: opened, reopened after an error, its errors named.
//!
//! After an I/O error the database refuses everything until it is opened anew. The slot does that by itself at
//! the next use, so that a full disk needs space and not a restart.

use std::any::Any;
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};

use parking_lot::RwLock;
use redb::{
    Builder, CommitError, Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageError,
    TableError, TransactionError,
};
use scopeguard::ScopeGuard;

use super::tables::{LAYOUT_VERSION, Tables, layout_version};
use crate::fault::Fault;

/// Everything the database can report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error(transparent)]
    Storage(StorageError),
    #[error("another process has it open")]
    InUse,
    #[error("its tables have the layout {0} of a later release")]
    NewerLayout(u64),
    /// No release wrote such a file.
    #[error("its header names the old file format {0}")]
    UpgradeRequired(u8),
    #[error("reading it broke off: {0}")]
    Panicked(String),
    #[error("it is closed")]
    Closed,
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<DatabaseError> for Problem {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            DatabaseError::Storage(error) => Self::Storage(error),
            DatabaseError::UpgradeRequired(version) => Self::UpgradeRequired(version),
            other => Self::Storage(StorageError::Corrupted(other.to_string())),
        }
    }
}

impl From<TransactionError> for Problem {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => Self::Storage(error),
            other => Self::Storage(StorageError::Corrupted(other.to_string())),
        }
    }
}

impl From<TableError> for Problem {
    fn from(error: TableError) -> Self {
        Self::Storage(super::tables::damaged(error))
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => Self::Storage(error),
            other => Self::Storage(StorageError::Corrupted(other.to_string())),
        }
    }
}

impl Problem {
    /// The problem as a fault of the store in `folder`.
    pub(crate) fn into_fault(self, folder: &Path) -> Fault {
        let place = format!("the store in {}", folder.display());
        match self {
            Self::InUse => Fault::InUse { place: folder.display().to_string() },
            Self::Closed | Self::Storage(StorageError::DatabaseClosed) => Fault::Closed { place },
            Self::NewerLayout(version) => Fault::NewerSchema {
                place,
                found: format!("layout {version}"),
                supported: format!("layout {LAYOUT_VERSION}"),
            },
            Self::Storage(StorageError::Io(error)) => io_fault(place, error),
            Self::Storage(StorageError::Corrupted(found)) => Fault::Corrupted { place, source: found.into() },
            other if other.is_damage() => Fault::Corrupted { place, source: Box::new(other) },
            other => Fault::Failed { place, source: Box::new(other) },
        }
    }

    /// Whether the file is not as it was written.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Storage(StorageError::Io(error)) => is_damage(error.kind()),
            Self::Storage(StorageError::Corrupted(_)) | Self::Panicked(_) | Self::UpgradeRequired(_) => true,
            _ => false,
        }
    }

    /// The same problem once more, for the next of several that it concerns.
    pub(crate) fn repeat(&self) -> Self {
        match self {
            Self::InUse => Self::InUse,
            Self::NewerLayout(version) => Self::NewerLayout(*version),
            Self::UpgradeRequired(version) => Self::UpgradeRequired(*version),
            Self::Panicked(message) => Self::Panicked(message.clone()),
            Self::Closed => Self::Closed,
            Self::Storage(error) => Self::Storage(match error {
                StorageError::Io(error) => StorageError::Io(io::Error::new(error.kind(), error.to_string())),
                StorageError::Corrupted(reason) => StorageError::Corrupted(reason.clone()),
                StorageError::ValueTooLarge(bytes) => StorageError::ValueTooLarge(*bytes),
                StorageError::DatabaseClosed => StorageError::DatabaseClosed,
                StorageError::LockPoisoned(place) => StorageError::LockPoisoned(place),
                _ => StorageError::PreviousIo,
            }),
        }
    }

    /// Whether the database must be opened anew before it can be used again.
    fn needs_reopening(&self) -> bool {
        matches!(
            self,
            Self::Panicked(_)
                | Self::Storage(
                    StorageError::Io(_)
                        | StorageError::PreviousIo
                        | StorageError::LockPoisoned(_)
                        | StorageError::DatabaseClosed
                )
        )
    }
}

/// An I/O error as a fault.
pub(crate) fn io_fault(place: String, error: io::Error) -> Fault {
    use io::ErrorKind::{
        FileTooLarge, IsADirectory, NotADirectory, NotFound, PermissionDenied, QuotaExceeded,
        ReadOnlyFilesystem, StorageFull,
    };
    let source = Box::new(error);
    match source.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => Fault::DiskFull { place, source },
        kind if is_damage(kind) => Fault::Corrupted { place, source },
        PermissionDenied | ReadOnlyFilesystem | NotFound | IsADirectory | NotADirectory => {
            Fault::Inaccessible { place, source }
        }
        _ => Fault::Failed { place, source },
    }
}

/// Whether an I/O error means that a file is not as it was written.
fn is_damage(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// The database, while it is open.
pub(crate) struct DatabaseSlot {
    path: PathBuf,
    cache_bytes: usize,
    state: RwLock<State>,
    /// The first damage that was met.
    damage: OnceLock<String>,
}

enum State {
    Open(Database),
    /// An I/O error came: to be opened anew at the next use.
    Broken,
    Closed,
}

impl DatabaseSlot {
    /// Opens the database at `path`, or makes it.
    pub(crate) fn open(path: PathBuf, cache_bytes: usize) -> Result<Self, Problem> {
        let database = open_or_create(&path, cache_bytes)?;
        let state = RwLock::new(State::Open(database));
        Ok(Self { path, cache_bytes, state, damage: OnceLock::new() })
    }

    /// Runs `work` on the database; a panic inside is a problem like any other.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Problem>) -> Result<T, Problem> {
        self.reopen_if_broken()?;
        let state = self.state.read();
        let database = match &*state {
            State::Open(database) => database,
            State::Broken => return Err(StorageError::PreviousIo.into()),
            State::Closed => return Err(Problem::Closed),
        };
        let outcome = guard(|| work(database));
        drop(state);
        if let Err(problem) = &outcome
            && problem.is_damage()
        {
            self.damage.get_or_init(|| problem.to_string());
        }
        if let Err(problem) = &outcome
            && problem.needs_reopening()
        {
            tracing::error!(?problem, path = %self.path.display(), "the store is opened anew after an error");
            let mut state = self.state.write();
            if matches!(*state, State::Open(_))
                && let State::Open(database) = std::mem::replace(&mut *state, State::Broken)
            {
                discard(database);
            }
        }
        outcome
    }

    /// Runs `work` in a read transaction.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        self.with(|database| work(&database.begin_read()?))
    }

    /// The first damage that was met since it was opened.
    pub(crate) fn damage(&self) -> Option<&str> {
        self.damage.get().map(String::as_str)
    }

    /// Closes the database; every later use is refused.
    pub(crate) fn close(&self) {
        let open = std::mem::replace(&mut *self.state.write(), State::Closed);
        let State::Open(database) = open else { return };
        if self.damage().is_some() {
            discard(database);
            return;
        }
        // Closing writes, and may meet damage as any other use does.
        if catch_quietly(|| drop(database)).is_err() {
            tracing::error!(path = %self.path.display(), "the store is damaged and could not be closed well");
        }
    }

    fn reopen_if_broken(&self) -> Result<(), Problem> {
        if !matches!(*self.state.read(), State::Broken) {
            return Ok(());
        }
        let mut state = self.state.write();
        if matches!(*state, State::Broken) {
            *state = State::Open(open_existing(&self.path, self.cache_bytes)?);
            tracing::info!(path = %self.path.display(), "the store is open again");
        }
        Ok(())
    }
}

/// Runs `work`; a panic, which the database raises on some kinds of damage, becomes a problem.
pub(super) fn guard<T>(work: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    catch_quietly(work).unwrap_or_else(|panic| Err(Problem::Panicked(panic_message(panic.as_ref()))))
}

/// Closes a damaged database without a write, as a kill would leave it: the next one that opens it puts right what there is to put right.
///
/// Closed as usual, redb would record which pages are free, for which it reads damaged ones. It panics on some of them, and once more while it cleans up
/// behind that, which ends the process. While a panic unwinds it writes nothing (`close_database` in its `db.rs`), so it is dropped in one.
pub(super) fn discard(database: Database) {
    let _ = catch_quietly(move || {
        let _closed = contain(database);
        resume_unwind(Box::new(()))
    });
}

/// What redb opened. A panic while it is dropped goes no further: in the course of another panic it would end the process.
pub(super) type Contained<T> = ScopeGuard<T, fn(T)>;

pub(super) fn contain<T>(opened: T) -> Contained<T> {
    scopeguard::guard(opened, |opened| {
        let _ = catch_quietly(|| drop(opened));
    })
}

thread_local! {
    /// Whether a panic of this thread is caught and told as a problem, so that nothing is to be printed about it.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Catches a panic of `work` without the message that the standard library prints; other threads' are printed.
fn catch_quietly<T>(work: impl FnOnce() -> T) -> std::thread::Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                print(panic);
            }
        }));
    });
    let before = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    outcome
}

/// What a panic says, without what it says of the program that raised it.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
    let found = text.strip_prefix("internal error: entered unreachable code").unwrap_or(text);
    match found.trim_start_matches(':').trim() {
        "" => "its pages contradict each other".to_owned(),
        found => found.to_owned(),
    }
}

pub(super) fn open_or_create(path: &Path, cache_bytes: usize) -> Result<Database, Problem> {
    if path.try_exists().map_err(StorageError::Io)? {
        return open_existing(path, cache_bytes);
    }
    // Made under another name first: a file with the right name is always a whole database, so that an empty one
    // is known to be damaged and never quietly begun anew.
    let unfinished = path.with_extension("new");
    remove_if_there(&unfinished)?;
    let database = guard(|| {
        let database = Builder::new().set_cache_size(cache_bytes).create(&unfinished)?;
        write(&database, |tables| {
            tables.ensure_layout()?;
            Ok(())
        })?;
        Ok(database)
    })?;
    std::fs::rename(&unfinished, path).map_err(StorageError::Io)?;
    sync_folder(path).map_err(StorageError::Io)?;
    Ok(database)
}

pub(super) fn remove_if_there(path: &Path) -> Result<(), Problem> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::Io(error).into()),
        _ => Ok(()),
    }
}

/// Makes the name of a new file durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn open_existing(path: &Path, cache_bytes: usize) -> Result<Database, Problem> {
    let length = std::fs::metadata(path).map_err(StorageError::Io)?.len();
    if length == 0 {
        return Err(StorageError::Corrupted("the file is empty".into()).into());
    }
    let database = guard(|| Ok(Builder::new().set_cache_size(cache_bytes).open(path)?))?;
    match guard(|| Ok(layout_version(&database.begin_read()?)?)) {
        Ok(version) if version > LAYOUT_VERSION => Err(Problem::NewerLayout(version)),
        Ok(_) => Ok(database),
        Err(problem) => {
            discard(database);
            Err(problem)
        }
    }
}

/// Runs `work` in a write transaction of its own, and syncs it.
pub(super) fn write(
    database: &Database,
    work: impl FnOnce(&mut Tables<'_>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut transaction = contain(database.begin_write()?);
    // A kill must not cost a walk through the whole file at the next start.
    transaction.set_quick_repair(true);
    let mut tables = Tables::open(&transaction)?;
    work(&mut tables)?;
    drop(tables);
    ScopeGuard::into_inner(transaction).commit()?;
    Ok(())
}
