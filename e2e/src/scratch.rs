//! Files and folders that go with a test.

use std::fs;
use std::path::{Path, PathBuf};

/// A place in the system's folder for temporary files; what is put there goes with this.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A place of this test program's own; nothing is there yet.
    pub fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("medindex-e2e-{}-{name}", std::process::id())))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where it is, for a command line.
    pub fn text(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.0.is_dir() {
            fs::remove_dir_all(&self.0).ok();
        } else {
            fs::remove_file(&self.0).ok();
        }
    }
}
