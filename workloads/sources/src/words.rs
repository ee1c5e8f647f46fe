//! Errors in words.

use std::error::Error;
use std::fmt::Write as _;

/// A file operation's error in words, without the operating system's error number.
pub fn describe_io(cause: &std::io::Error) -> String {
    let text = cause.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// An error and its causes, leaving out causes that its text contains already.
pub fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {words}");
        }
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_the_text_contains_is_not_repeated() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open: {0}")]
        struct Repeats(#[source] std::io::Error);
        assert_eq!(describe(&Repeats(std::io::Error::other("full"))), "cannot open: full");
    }

    #[test]
    fn error_numbers_are_left_out() {
        let missing = std::fs::File::open("/nowhere/at/all").unwrap_err();
        assert_eq!(describe_io(&missing), "No such file or directory");
    }
}
