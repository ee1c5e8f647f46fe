//! Logs go to standard error, in colour on a terminal only.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::output::stderr_is_terminal;

/// Starts logging at `level`, a level (`error`, `warn`, `info`, `debug`, `trace`) or filter directives.
pub(crate) fn start(level: &str) -> Result<(), Failure> {
    let wrong = || {
        Failure::usage(format!(
            "--log '{level}' is neither a level (off, error, warn, info, debug, trace) nor TARGET=LEVEL, several with commas between"
        ))
    };
    if !level.split(',').all(names_level) {
        return Err(wrong());
    }
    let filter = EnvFilter::try_new(level).map_err(|_| wrong())?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(stderr_is_terminal())
        .with_target(false)
        .try_init()
        .map_err(|error| Failure::other(format!("cannot start logging: {error}")))
}

/// Whether a directive ends in a level. The filter itself would take a misspelt level for the name of a target.
fn names_level(directive: &str) -> bool {
    let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
    !level.is_empty() && level.parse::<LevelFilter>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::names_level;

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_target() {
        for good in ["off", "INFO", "medindex_pipeline=debug", "medindex_index::search=trace"] {
            assert!(names_level(good), "{good}");
        }
        for wrong in ["inof", "bogus=", "", "medindex=loud"] {
            assert!(!names_level(wrong), "{wrong}");
        }
    }
}
