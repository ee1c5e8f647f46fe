//! What kind of failure an error is, so that HTTP can choose a status and the command line an exit code.

/// Kind of a failure, as a caller needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request makes no sense: mend it and send it again.
    BadRequest,
    /// What it names is not here.
    NotFound,
    /// It is larger than a limit in the settings.
    TooLarge,
    /// The image cannot be read.
    Unprocessable,
    /// It does not fit the present state, such as two trainings at once.
    Conflict,
    /// A backend does not answer or has no room; trying again later can help.
    Unavailable,
    /// A fault of ours or of the stored data.
    Internal,
}

/// An error that knows its [`ErrorKind`].
pub trait Classified: std::error::Error {
    /// Kind of this error.
    fn kind(&self) -> ErrorKind;

    /// The option that raises the limit over which an image is, such as `--max-pixels`; every program that takes images has it under this name.
    /// `None` when no limit refused an image, or one that is no setting.
    fn limit_option(&self) -> Option<&'static str> {
        None
    }

    /// How to raise the limit over which an image is, to be put behind the message; empty when there is none.
    fn limit_advice(&self) -> String {
        self.limit_option().map_or_else(String::new, |option| format!("; {option} raises the limit"))
    }
}
