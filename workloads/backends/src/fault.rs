//! What can go wrong underneath every port: the machine, the disk, the server.
//!
//! A port's own error says which action failed; its source, a [`Fault`], says why and what to do, so that callers
//! decide the same way over every adapter: try again, tell the operator, or give up.

use std::error::Error;

use thiserror::Error;

/// Any error, boxed.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why an action on a backend failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Fault {
    /// No space is left for what had to be written.
    #[error("no space left in {place}: free or add space, then try again ({source})")]
    DiskFull {
        /// Folder or server.
        place: String,
        /// What was reported.
        #[source]
        source: BoxError,
    },
    /// What is stored is damaged.
    #[error(
        "{place} is damaged: restore it from a backup, or run `medindex repair`, which saves what can be read ({source})"
    )]
    Corrupted {
        /// File or server.
        place: String,
        /// What was found.
        #[source]
        source: BoxError,
    },
    /// Another process has the place open.
    #[error("{place} is in use by another process: stop that process, or choose another data folder")]
    InUse {
        /// Folder.
        place: String,
    },
    /// The files or folder may not be read or written by this user.
    #[error(
        "{place} cannot be used: {source}; check that it exists and that this user may read and write it"
    )]
    Inaccessible {
        /// File or folder.
        place: String,
        /// What was reported.
        #[source]
        source: BoxError,
    },
    /// What is stored was written by a later release.
    #[error(
        "{place} was written by a later release ({found}; this one knows {supported}): upgrade this program"
    )]
    NewerSchema {
        /// File or server.
        place: String,
        /// Version found.
        found: String,
        /// Highest version known.
        supported: String,
    },
    /// The backend does not answer just now; trying again later may succeed.
    #[error("{place} does not answer: {source}; it is tried again later")]
    Unavailable {
        /// File or server.
        place: String,
        /// What was reported.
        #[source]
        source: BoxError,
    },
    /// The backend was closed, or stopped after an earlier fault.
    #[error(
        "{place} is closed: it was shut down, or stopped after an earlier error; see the log, then restart"
    )]
    Closed {
        /// File or server.
        place: String,
    },
    /// Anything else.
    #[error("{place}: {source}")]
    Failed {
        /// File or server.
        place: String,
        /// What was reported.
        #[source]
        source: BoxError,
    },
}

impl Fault {
    /// Whether trying again, without anybody's doing, may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// Whether nothing will succeed until an operator has acted.
    pub fn needs_operator(&self) -> bool {
        !matches!(self, Self::Unavailable { .. } | Self::Failed { .. })
    }
}
