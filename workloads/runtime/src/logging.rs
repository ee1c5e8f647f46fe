//! The log of a program of the cluster, as its settings have it.

use medindex_logging::{Log, LogOptions};
pub use medindex_logging::{LogError, LogFormat};

use crate::arguments::OperationArguments;

/// Starts the log and the traces of `program`. Keep what it returns until the program ends.
///
/// # Errors
/// [`LogError`].
pub fn start(program: &'static str, arguments: &OperationArguments) -> Result<Log, LogError> {
    medindex_logging::start(LogOptions {
        program,
        instance: crate::process_name(program),
        level: &arguments.log,
        format: arguments.log_format,
        otlp_endpoint: arguments.otlp_endpoint.as_deref(),
    })
}
