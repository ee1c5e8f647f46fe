//! What the tests of the command line share: running the real binary, and images to give it.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use medindex_imaging::{Channels, Rendered};
use serde_json::Value;

/// The model of all tests: the fast one.
pub(crate) const MODEL: &str = "efficientnet-lite0";

/// What a run of the binary left.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// The JSON on standard output of a run that did well.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that the run failed with `code`, one line on standard error that contains `words`, and nothing on standard output.
    pub(crate) fn assert_fails(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        let lines: Vec<&str> = self.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "one line: {self:?}");
        assert!(lines[0].starts_with("medindex: "), "{self:?}");
        assert!(lines[0].contains(words), "'{words}' in {self:?}");
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains("backtrace"), "{self:?}");
    }
}

/// The binary without the environment of whoever runs the tests, except for the cache.
pub(crate) fn medindex() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medindex"));
    for name in ["MEDINDEX_DATA", "MEDINDEX_MODEL", "MEDINDEX_SERVER", "MEDINDEX_LOG", "RUST_BACKTRACE"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the binary to its end.
pub(crate) fn run<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Outcome {
    finish(medindex().args(arguments))
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A data folder with the tests' model.
pub(crate) struct Data {
    folder: tempfile::TempDir,
}

impl Data {
    /// A folder that does not exist yet.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A folder with `count` images that differ, of the labels `even` and `odd`.
    pub(crate) fn with_images(count: usize) -> Self {
        let data = Self::new();
        let images = data.images(count);
        let summary = data.run(["import", "--label-from-folder", "--json", &images]).json();
        assert_eq!(summary["stored"], count, "{summary}");
        data
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Place for other files.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a folder of `count` images, `even/` and `odd/`.
    pub(crate) fn images(&self, count: usize) -> String {
        let folder = self.scratch("images");
        for number in 0..count {
            let label = if number % 2 == 0 { "even" } else { "odd" };
            let path = folder.join(label).join(format!("{number:04}.png"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, picture(number)).unwrap();
        }
        folder.display().to_string()
    }

    /// The binary with this folder and the tests' model.
    pub(crate) fn command<I: AsRef<std::ffi::OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = I>,
    ) -> Command {
        let mut command = medindex();
        command.arg("--data").arg(self.path()).args(["--model", MODEL]).args(arguments);
        command
    }

    /// Runs the binary with this folder.
    pub(crate) fn run<I: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Outcome {
        finish(&mut self.command(arguments))
    }

    /// Images by where they stand, as `status` tells.
    pub(crate) fn counts(&self) -> Value {
        self.run(["status", "--json"]).json()["images"].clone()
    }

    /// Ids of the ten results for the image at `path`.
    pub(crate) fn ids(&self, example: &str) -> Vec<String> {
        let answer = self.run(["search", example, "-k", "50", "--json"]).json();
        let results = answer["results"].as_array().unwrap();
        results.iter().map(|result| result["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// A PNG of 48 x 48 pixels, different for each number: stripes of its own direction, width and grey.
pub(crate) fn picture(number: usize) -> Vec<u8> {
    let (edge, number) = (48_u32, number as u32);
    let pixels = (0..edge * edge)
        .map(|place| {
            let (x, y) = (place % edge, place / edge);
            let stripe = (x * (1 + number % 5) + y * (1 + number / 5 % 7)) / (3 + number % 4);
            if stripe % 2 == 0 { (40 + number % 200) as u8 } else { (255 - number / 200 % 200) as u8 }
        })
        .collect();
    Rendered::new(edge, edge, Channels::Grey, pixels).unwrap().to_png(edge).unwrap()
}

/// The folder of pydicom's files.
pub(crate) fn samples() -> PathBuf {
    let cache = std::env::var_os("MEDINDEX_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/medindex")))
        .unwrap();
    let folder = cache.join("samples/pydicom");
    assert!(folder.is_dir(), "the sample images are not in {}: run `make setup`", folder.display());
    folder
}

/// One of pydicom's files.
pub(crate) fn sample(name: &str) -> String {
    find(&samples(), name).unwrap_or_else(|| panic!("no {name} among the samples")).display().to_string()
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let direct = folder.join(name);
    if direct.exists() {
        return Some(direct);
    }
    let folders = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    folders.filter(|path| path.is_dir()).find_map(|path| find(&path, name))
}

/// Sends a signal to a process.
pub(crate) fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap();
    assert!(sent.success());
}
