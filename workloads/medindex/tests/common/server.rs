//! A running `medindex serve`.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command};
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::Value;

use super::{Data, Outcome, finish, medindex, signal};

/// How long a server may take until it is ready.
const READY_WITHIN: Duration = Duration::from_mins(5);

/// A server that is killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// What it printed when it was ready.
    pub(crate) ready: Value,
}

impl Server {
    /// Starts a server on a free port and waits until it says that it is ready.
    pub(crate) fn start(data: &Data) -> Self {
        Self::start_command(&mut data.command(["serve", "--port", "0", "--json"]))
    }

    pub(crate) fn start_command(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (sender, told) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(&mut stdout).read_line(&mut line).unwrap();
            // Nobody listens to what came too late.
            let _ = sender.send((line, stdout));
        });
        let told = told.recv_timeout(READY_WITHIN).ok();
        let Some((line, stdout)) = told.filter(|(line, _)| !line.is_empty()) else {
            // What one that hangs says would have no end.
            let _ = child.kill();
            let mut reason = String::new();
            child.stderr.as_mut().unwrap().read_to_string(&mut reason).unwrap();
            panic!("the server did not start: {reason}");
        };
        // Held, or the server could print no more.
        child.stdout = Some(stdout);
        Self { ready: serde_json::from_str(&line).unwrap(), child }
    }

    pub(crate) fn url(&self) -> String {
        self.ready["url"].as_str().unwrap().to_owned()
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Runs the command line against this server.
    pub(crate) fn run<I: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Outcome {
        finish(medindex().arg("--server").arg(self.url()).args(arguments))
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(mut self) -> Option<i32> {
        signal(self.process(), "TERM");
        self.child.wait().unwrap().code()
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended after `stop` or `kill`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
