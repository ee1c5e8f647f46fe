//! The log on standard error, one JSON object a line, and its level, which can be changed while the program runs.

use std::sync::Arc;

use medindex_logging::{LevelError, parse_filter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Why the log cannot be started or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is none.
    #[error(transparent)]
    ParseLevel(#[from] LevelError),
    /// A log is there already, or is gone.
    #[error("the log cannot be started or changed: {0}")]
    Change(String),
}

/// Changes the level of the log.
#[derive(Clone)]
pub struct Level(Arc<reload::Handle<EnvFilter, Registry>>);

impl Level {
    /// From now on.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn set(&self, text: &str) -> Result<(), LogError> {
        let filter = parse_filter(text)?;
        self.0.reload(filter).map_err(|error| LogError::Change(error.to_string()))
    }
}

/// Starts the log.
///
/// # Errors
/// [`LogError`].
pub fn start(level: &str) -> Result<Level, LogError> {
    let (filter, handle) = reload::Layer::new(parse_filter(level)?);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
    let started = Registry::default().with(filter).with(lines).try_init();
    started.map_err(|error| LogError::Change(error.to_string()))?;
    Ok(Level(Arc::new(handle)))
}
