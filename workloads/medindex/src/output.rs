//! Standard output: results and nothing else. Everything for people's eyes in passing goes to standard error.
//!
//! Guarantee: a reader that closes the pipe early (`medindex search … | head -1`) ends the command quietly.

use std::io::{ErrorKind, IsTerminal as _, Write};

use crate::failure::{Code, Failure};

/// Where a command writes its result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints `json` when JSON was asked for, else what `text` makes of it.
    pub(crate) fn result(
        self,
        json: &str,
        text: impl FnOnce(&str) -> Result<String, Failure>,
    ) -> Result<(), Failure> {
        if self.json { self.line(json) } else { self.block(&text(json)?) }
    }

    /// Prints `text` and a line's end.
    pub(crate) fn line(self, text: &str) -> Result<(), Failure> {
        self.block(&format!("{text}\n"))
    }

    /// Prints `text`, which ends with its own line's end.
    #[allow(clippy::unused_self)]
    pub(crate) fn block(self, text: &str) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            // The reader has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(error) => {
                Err(Failure::caused_by(Code::Storage, "cannot write to the standard output", &error))
            }
        }
    }
}

/// A line on standard error for the person watching; dropped when nobody can see it.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Whether standard error is a terminal, where a progress bar may redraw itself.
pub(crate) fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}
