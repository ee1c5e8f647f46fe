//! Tests that need a second process run themselves again: one test of the same binary, in a folder.

// Each test binary uses a part.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use medindex_backends::catalog::{ImageDescription, NewImage};
use medindex_proto::{ImageId, RowKey};

const FOLDER: &str = "MEDINDEX_TEST_FOLDER";

/// Begins the lines that a child says to its parent; the test harness prints others.
const MARK: &str = "child: ";

/// A test of this binary, running in a process of its own.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
}

/// Starts a test of this binary, behind `wrapper` if it is not empty.
pub(crate) fn start(test: &str, folder: &Path, wrapper: &[&str]) -> Running {
    let binary = std::env::current_exe().unwrap();
    let mut command = match wrapper.split_first() {
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary);
            command
        }
        None => Command::new(binary),
    };
    let mut child = command
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = channel();
    let output = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            // The harness may have begun the line with the test's name.
            if let Some((_, said)) = line.split_once(MARK) {
                let _ = sender.send(said.to_owned());
            }
        }
    });
    Running { child, lines }
}

impl Running {
    /// Waits for a line.
    pub(crate) fn wait_for_line(&mut self, wanted: &str, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line == wanted => return,
                Ok(_) => {}
                Err(error) => panic!("the other process never said {wanted:?}: {error}"),
            }
        }
    }

    /// Lines that come within a time.
    pub(crate) fn lines_for(&mut self, time: Duration) -> Vec<String> {
        let deadline = Instant::now() + time;
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Timeout) => return lines,
                Err(RecvTimeoutError::Disconnected) => panic!("the other process ended by itself"),
            }
        }
    }

    /// Kills it with SIGKILL; returns the whole lines that it had said.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone in most cases.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In the child: the folder to work in.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os(FOLDER).expect("this test is a part of another one, which starts it").into()
}

/// In the child: says a line to the parent, at once.
pub(crate) fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    output.write_all(format!("{MARK}{line}\n").as_bytes()).unwrap();
    output.flush().unwrap();
}

/// Bytes made from a seed.
pub(crate) fn patterned(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(next).collect::<Vec<u8>>().into()
}

/// An image with bytes of its own.
pub(crate) fn image(seed: u32) -> NewImage {
    let id = ImageId::new();
    let mut sha256 = [0; 32];
    sha256[..4].copy_from_slice(&seed.to_be_bytes());
    NewImage {
        id,
        row_key: RowKey::new(&id, 9),
        organisation: String::new(),
        sha256,
        md5: [1; 16],
        name: format!("{seed}.png"),
        label: None,
        content_type: "image/png".into(),
        format: "png".into(),
        bytes: 100,
        received_at_ms: i64::from(seed),
        description: ImageDescription::default(),
        sidecar: None,
    }
}
