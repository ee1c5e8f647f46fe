//! The log on standard error: one JSON object a line for machines, or text for people.

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for people.
    Text,
}

/// Why the log cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoggingError {
    /// The level is none.
    #[error(
        "--log '{0}' is neither a level (off, error, warn, info, debug, trace) nor TARGET=LEVEL, several with commas between"
    )]
    ParseLevel(String),
    /// A log is there already.
    #[error("cannot start logging: {0}")]
    Start(String),
}

/// Starts the log at `level`.
///
/// # Errors
/// [`LoggingError`].
pub fn start(level: &str, format: LogFormat) -> Result<(), LoggingError> {
    let filter = parse_filter(level)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => log.json().flatten_event(true).try_init(),
        LogFormat::Text => log.with_ansi(false).try_init(),
    }
    .map_err(|error| LoggingError::Start(error.to_string()))
}

/// The filter itself would take a misspelt level for the name of a target.
fn parse_filter(text: &str) -> Result<EnvFilter, LoggingError> {
    let wrong = || LoggingError::ParseLevel(text.to_owned());
    let names_level = |directive: &str| {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        !level.is_empty() && level.parse::<LevelFilter>().is_ok()
    };
    if !text.split(',').all(names_level) {
        return Err(wrong());
    }
    EnvFilter::try_new(text).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::parse_filter;

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_target() {
        for good in ["off", "INFO", "info,medindex_pipeline=debug"] {
            assert!(parse_filter(good).is_ok(), "{good}");
        }
        for wrong in ["inof", "bogus=", "", "medindex=loud"] {
            assert!(parse_filter(wrong).is_err(), "{wrong}");
        }
    }
}
