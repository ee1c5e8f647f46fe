//! Processes whose wall clock is early or late.

use std::path::Path;
use std::process::Command;

use crate::process::{TestbedError, run};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/c/shifted_clock.c");

/// Variables of the environment that shift the wall clock of a program, linked dynamically, by some seconds. The C compiler makes the library that does it, in `folder`.
///
/// # Errors
/// [`TestbedError`]: there is no C compiler, or what it said.
pub fn shifted_by(seconds: i64, folder: &Path) -> Result<[(String, String); 2], TestbedError> {
    let library = folder.join("shifted_clock.so");
    if !library.is_file() {
        run(Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(SOURCE))?;
    }
    let preload = ("LD_PRELOAD".to_owned(), library.display().to_string());
    Ok([preload, ("MEDINDEX_CLOCK_OFFSET".to_owned(), seconds.to_string())])
}
