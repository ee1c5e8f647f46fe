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

/// What is wrong with a table, by its line, and what to do.
pub(crate) fn describe_csv(error: &csv::Error) -> String {
    let place = match error.position() {
        Some(position) => format!("line {}", position.line()),
        None => "the table".to_owned(),
    };
    format!("{place} {}", why_csv(error))
}

/// As [`describe_csv`], in words that follow the line.
pub(crate) fn why_csv(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Io(cause) => format!("cannot be read: {}", describe_io(cause)),
        csv::ErrorKind::Utf8 { .. } => "is not text in UTF-8; save the table as CSV in UTF-8".to_owned(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            let fields = if *len == 1 { "1 field".to_owned() } else { format!("{len} fields") };
            // A quote that is not closed takes everything up to the next one into its field.
            let advice = if len < expected_len {
                "close quotes that are open, and leave no field out"
            } else {
                "put text with commas in quotes"
            };
            format!("has {fields} where the first line has {expected_len}; {advice}")
        }
        _ => format!("is no CSV ({error}); save the table as CSV in UTF-8"),
    }
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
