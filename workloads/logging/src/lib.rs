//! The log of every program: its level, and for those of a cluster its form and the traces behind it.

#[cfg(feature = "traces")]
mod log;
#[cfg(feature = "traces")]
mod traces;

#[cfg(feature = "traces")]
pub use log::{Level, Log, LogError, LogFormat, LogOptions, start};
#[cfg(feature = "traces")]
pub use traces::TracesError;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// A text that is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is neither a level (off, error, warn, info, debug, trace) nor TARGET=LEVEL, several with commas between"
)]
pub struct LevelError(String);

/// The filter that a text stands for: a level (`error`, `warn`, `info`, `debug`, `trace`, `off`) or filter directives.
///
/// The filter itself would take a misspelt level for the name of a target.
///
/// # Errors
/// [`LevelError`].
pub fn parse_filter(text: &str) -> Result<EnvFilter, LevelError> {
    let wrong = || LevelError(text.to_owned());
    if !text.split(',').all(names_level) {
        return Err(wrong());
    }
    let quiet = DEPENDENCIES.iter().filter(|(target, _)| !text.contains(target));
    let quiet = quiet.map(|(target, level)| format!("{target}={level}"));
    let directives: Vec<String> = quiet.chain([text.to_owned()]).collect();
    EnvFilter::try_new(directives.join(",")).map_err(|_| wrong())
}

/// Libraries that log what they also return as an error, or what is of no use to who runs the program. Naming a target in the level gives it back.
const DEPENDENCIES: [(&str, &str); 1] = [("jpeg2k", "off")];

/// Whether a directive ends in a level.
fn names_level(directive: &str) -> bool {
    let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
    !level.is_empty() && level.parse::<LevelFilter>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_target() {
        for good in [
            "off",
            "INFO",
            "medindex_pipeline=debug",
            "medindex_index::search=trace",
            "info,medindex_pipeline=debug",
        ] {
            assert!(parse_filter(good).is_ok(), "{good}");
        }
        for wrong in ["inof", "bogus=", "", "medindex=loud"] {
            assert!(parse_filter(wrong).is_err(), "{wrong}");
        }
    }
}
