//! Logs go to standard error, in colour on a terminal only.

use medindex_logging::parse_filter;

use crate::failure::Failure;
use crate::output::stderr_is_terminal;

/// Starts logging at `level`, a level (`error`, `warn`, `info`, `debug`, `trace`) or filter directives.
pub(crate) fn start(level: &str) -> Result<(), Failure> {
    let filter = parse_filter(level).map_err(|error| Failure::usage(format!("--log {error}")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(stderr_is_terminal())
        .with_target(false)
        .try_init()
        .map_err(|error| Failure::other(format!("cannot start logging: {error}")))
}
