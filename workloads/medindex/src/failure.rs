//! Why a command failed: one line that says what to do, and an exit code that scripts can rely on.
//!
//! The codes are documented in `docs/command-line.md` and do not change their meaning.

use std::error::Error;
use std::process::ExitCode;

use medindex_pipeline::{Classified, ErrorKind};
use medindex_sources::{SourceError, SourceErrorKind};
pub(crate) use medindex_sources::{describe, describe_io};

/// Exit code of a failed command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Code {
    /// Something else went wrong.
    Other = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// The image, file, folder or model is not there.
    NotFound = 3,
    /// The input was read and refused.
    Refused = 4,
    /// Another process has the data folder open, or the port is taken.
    InUse = 5,
    /// The data folder cannot be read or written: full, damaged or not permitted.
    Storage = 6,
    /// The server given with `--server` does not answer, or is not ready.
    Unavailable = 7,
    /// Stopped by Ctrl-C or SIGTERM after finishing what was accepted.
    Interrupted = 130,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        ExitCode::from(code as u8)
    }
}

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit code.
    pub(crate) code: Code,
    /// What is wrong and what to do, without the program's name.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::new(Code::Other, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// A failure with its cause chain: `action: cause: cause of the cause`.
    pub(crate) fn caused_by(code: Code, action: impl Into<String>, cause: &dyn Error) -> Self {
        Self::new(code, format!("{}: {}", action.into(), describe(cause)))
    }

    /// A failed file operation on `path`, with the code that fits its kind, and what to look at.
    pub(crate) fn file(action: &str, path: &std::path::Path, cause: &std::io::Error) -> Self {
        let (words, advice) = (describe_io(cause), advice_of_io(cause));
        Self::new(code_of_io(cause), format!("cannot {action} {}: {words}{advice}", path.display()))
    }

    /// A failure of one of the flows; the option that raises a limit is named.
    pub(crate) fn flow(error: &impl Classified) -> Self {
        Self::new(code_of(error.kind()), format!("{}{}", describe(error), error.limit_advice()))
    }

    /// The message on one line, whatever libraries put into it.
    pub(crate) fn line(&self) -> String {
        let mut line = String::with_capacity(self.message.len());
        for word in self.message.split_whitespace() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        line
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let code = match error.kind() {
            SourceErrorKind::Usage => Code::Usage,
            SourceErrorKind::NotFound => Code::NotFound,
            SourceErrorKind::Refused => Code::Refused,
        };
        let advice = match &error {
            SourceError::Read { is_missing: true, .. } => CHECK_PATH,
            SourceError::Read { .. } => CHECK_PERMISSIONS,
            _ => "",
        };
        Self::new(code, format!("{error}{advice}"))
    }
}

const CHECK_PATH: &str = "; check the path";
const CHECK_PERMISSIONS: &str = "; check the path and its permissions";

/// What to look at after a failed file operation, to be put behind what failed.
fn advice_of_io(cause: &std::io::Error) -> &'static str {
    match cause.kind() {
        std::io::ErrorKind::NotFound
        | std::io::ErrorKind::NotADirectory
        | std::io::ErrorKind::IsADirectory => CHECK_PATH,
        std::io::ErrorKind::PermissionDenied => CHECK_PERMISSIONS,
        _ => "",
    }
}

/// Exit code of a flow's error.
pub(crate) fn code_of(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::BadRequest | ErrorKind::TooLarge | ErrorKind::Unprocessable | ErrorKind::Conflict => {
            Code::Refused
        }
        ErrorKind::Unavailable | ErrorKind::Internal => Code::Storage,
    }
}

/// Exit code of a file operation's error.
pub(crate) fn code_of_io(cause: &std::io::Error) -> Code {
    match cause.kind() {
        std::io::ErrorKind::NotFound => Code::NotFound,
        _ => Code::Storage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the store")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_follow_the_error_on_one_line() {
        let cause = std::io::Error::other("disk\n  is gone");
        let failure = Failure::caused_by(Code::Storage, "cannot import", &Outer(cause));
        assert_eq!(failure.line(), "cannot import: cannot open the store: disk is gone");
    }

    #[test]
    fn a_missing_file_is_not_found() {
        let missing = std::fs::File::open("/nowhere/at/all").unwrap_err();
        assert_eq!(code_of_io(&missing), Code::NotFound);
        let failure = Failure::file("read", std::path::Path::new("/nowhere/at/all"), &missing);
        assert_eq!(failure.message, "cannot read /nowhere/at/all: No such file or directory; check the path");
    }

    #[test]
    fn a_file_that_may_not_be_read_is_told_with_what_to_check() {
        let read = |is_missing| SourceError::Read {
            path: "a.png".into(),
            reason: "Permission denied".to_owned(),
            is_missing,
        };
        let failure = Failure::from(read(false));
        assert_eq!(failure.code, Code::Refused);
        assert_eq!(
            failure.message,
            "cannot read a.png: Permission denied; check the path and its permissions"
        );
        assert!(Failure::from(read(true)).message.ends_with("; check the path"));
    }
}
