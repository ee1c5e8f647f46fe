//! The log on standard error, one JSON object a line, and its level, which can be changed while the program runs.

use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Why the log cannot be started or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is none.
    #[error(
        "'{0}' is neither a level (off, error, warn, info, debug, trace) nor TARGET=LEVEL, several with commas between"
    )]
    ParseLevel(String),
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
        let filter = parse(text)?;
        self.0.reload(filter).map_err(|error| LogError::Change(error.to_string()))
    }
}

/// Starts the log.
///
/// # Errors
/// [`LogError`].
pub fn start(level: &str) -> Result<Level, LogError> {
    let (filter, handle) = reload::Layer::new(parse(level)?);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
    let started = Registry::default().with(filter).with(lines).try_init();
    started.map_err(|error| LogError::Change(error.to_string()))?;
    Ok(Level(Arc::new(handle)))
}

/// The filter itself would take a misspelt level for the name of a target.
fn parse(text: &str) -> Result<EnvFilter, LogError> {
    let wrong = || LogError::ParseLevel(text.to_owned());
    let names_level = |directive: &str| {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        !level.is_empty() && level.parse::<LevelFilter>().is_ok()
    };
    if !text.split(',').all(names_level) {
        return Err(wrong());
    }
    EnvFilter::try_new(text).map_err(|_| wrong())
}
