//! A server in a process of its own.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a server may take to end by itself before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// Lines of a log that an error shows.
const SHOWN_LINES: usize = 30;

/// Why a server is not there.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    /// Its files were not set up.
    #[error("{} is not there: run `tools/setup.sh {part}` (make test does), or leave the suite out with MEDINDEX_SKIP_SERVERS={part}", folder.display())]
    FindPart {
        /// Part of the set-up.
        part: String,
        /// Where it should be.
        folder: PathBuf,
    },
    /// A file of it could not be written or read.
    #[error("preparing {server} failed at {}: {source}", path.display())]
    Prepare {
        /// The server.
        server: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The process could not be started.
    #[error("starting {server} failed: {source}")]
    Start {
        /// The server.
        server: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The process ended by itself.
    #[error("{server} ended ({status}) while {waiting}; the end of its log:\n{log}")]
    End {
        /// The server.
        server: String,
        /// What was waited for.
        waiting: String,
        /// How it ended.
        status: String,
        /// The last lines of its log.
        log: String,
    },
    /// The process runs but does not do what was waited for.
    #[error("{server} did not come up: {waiting} took over {patience:?}; the end of its log:\n{log}")]
    Wait {
        /// The server.
        server: String,
        /// What was waited for.
        waiting: String,
        /// How long.
        patience: Duration,
        /// The last lines of its log.
        log: String,
    },
    /// Certificates could not be made.
    #[error("making certificates failed: {0}")]
    Certify(#[from] rcgen::Error),
    /// A server cannot use its certificates.
    #[error("{server} cannot use its certificates: {source}")]
    Secure {
        /// The server.
        server: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A command of the server's own failed.
    #[error("{command} failed ({status}):\n{output}")]
    Run {
        /// The command.
        command: String,
        /// How it ended.
        status: String,
        /// What it printed.
        output: String,
    },
}

/// A running server; dropping it stops the process.
#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `command` with its output in `log`. The kernel kills it when this process dies, however that happens.
    ///
    /// # Errors
    /// [`TestbedError::Prepare`] for the log, [`TestbedError::Start`].
    pub fn start(name: &str, command: &Command, log: &Path) -> Result<Self, TestbedError> {
        let prepare =
            |source| TestbedError::Prepare { server: name.to_owned(), path: log.to_owned(), source };
        let output = File::options().create(true).append(true).open(log).map_err(prepare)?;
        let errors = output.try_clone().map_err(prepare)?;
        let mut tied = tie_to_this_process(command);
        tied.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = spawn(tied).map_err(|source| TestbedError::Start { server: name.to_owned(), source })?;
        tracing::info!(server = name, pid = child.id(), "started");
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until `done` holds.
    ///
    /// # Errors
    /// [`TestbedError::End`] or [`TestbedError::Wait`], with the end of the log.
    pub fn wait_until(
        &mut self,
        waiting: &str,
        patience: Duration,
        mut done: impl FnMut(&Path) -> bool,
    ) -> Result<(), TestbedError> {
        let deadline = Instant::now() + patience;
        loop {
            if done(&self.log) {
                return Ok(());
            }
            let (server, waiting) = (self.name.clone(), waiting.to_owned());
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(TestbedError::End {
                    server,
                    waiting,
                    status: status.to_string(),
                    log: self.log_end(),
                });
            }
            if Instant::now() > deadline {
                return Err(TestbedError::Wait { server, waiting, patience, log: self.log_end() });
            }
            thread::park_timeout(LOOK);
        }
    }

    /// Waits until the log has `text`.
    ///
    /// # Errors
    /// As [`Server::wait_until`].
    pub fn wait_for_log(&mut self, text: &str, patience: Duration) -> Result<(), TestbedError> {
        self.wait_until(&format!("waiting for {text:?} in its log"), patience, |log| {
            fs::read(log).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
        })
    }

    /// Waits until a port on loopback takes connections.
    ///
    /// # Errors
    /// As [`Server::wait_until`].
    pub fn wait_for_port(&mut self, port: u16, patience: Duration) -> Result<(), TestbedError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        self.wait_until(&format!("waiting for port {port}"), patience, |_| {
            TcpStream::connect_timeout(&address, LOOK).is_ok()
        })
    }

    /// Asks the process to end, and kills it if it does not.
    pub fn stop(&mut self) {
        if self.end(STOP_PATIENCE).is_none() {
            tracing::warn!(server = self.name, "does not end by itself; killed");
            self.kill();
        }
    }

    /// Asks the process to end, and waits; how it ended, `None` when it still runs after `patience`.
    pub fn end(&mut self, patience: Duration) -> Option<ExitStatus> {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() <= deadline => thread::park_timeout(LOOK),
                _ => return None,
            }
        }
    }

    /// Kills the process at once (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Err(error) = self.child.wait() {
            tracing::error!(server = self.name, %error, "cannot be waited for");
        }
    }

    /// Halts the process (SIGSTOP): it keeps its connections and answers nothing, as a machine that hangs.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Lets a halted process go on.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&mut self, signal: Signal) {
        if !self.is_running() {
            return;
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::warn!(server = self.name, %error, "cannot be signalled");
        }
    }

    /// The last lines of its log.
    pub fn log_end(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.resume();
        self.stop();
    }
}

/// Runs a command to its end, within a time that its own limits give.
///
/// # Errors
/// [`TestbedError::Start`], [`TestbedError::Run`] with what it printed.
pub fn run(command: &mut Command) -> Result<String, TestbedError> {
    let shown = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| TestbedError::Start { server: shown.clone(), source })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let output_text = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    Err(TestbedError::Run { command: shown, status: shown_status(output.status), output: output_text })
}

fn shown_status(status: ExitStatus) -> String {
    status.to_string()
}

/// The same command behind `setpriv --pdeathsig`, so that it cannot outlive this process.
fn tie_to_this_process(command: &Command) -> Command {
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(key, value),
            None => tied.env_remove(key),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        tied.current_dir(folder);
    }
    tied
}

type Order = (Command, Sender<io::Result<Child>>);

/// Spawns on a thread that never ends: the kernel's parent-death signal follows the thread that spawned, not the process, and a test's
/// thread ends with its test.
fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, taken) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in taken {
                // Whoever ordered it and went away drops the child; nothing else is to be done about it here.
                if let Err(unheard) = answer.send(command.spawn()) {
                    drop(unheard);
                }
            }
        });
        orders
    });
    let gone = || io::Error::other("the spawning thread is gone");
    let (answer, child) = channel();
    spawner.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_server_is_waited_for_by_its_log_and_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut server = Server::start("shell", &shell("echo ready; exec sleep 60"), &log).unwrap();
        server.wait_for_log("ready", Duration::from_secs(10)).unwrap();
        assert!(server.is_running());
        server.stop();
        assert!(!server.is_running());
    }

    #[test]
    fn how_a_server_ended_is_told_and_one_that_does_not_end_is_left_running() {
        let folder = tempfile::tempdir().unwrap();
        let start = |name: &str, script: &str| {
            let mut server = Server::start(name, &shell(script), &folder.path().join(name)).unwrap();
            server.wait_for_log("ready", Duration::from_secs(10)).unwrap();
            server
        };
        let mut obedient = start("obedient", "echo ready; exec sleep 60");
        let status = obedient.end(Duration::from_secs(10)).unwrap();
        assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
        let mut deaf = start("deaf", "trap '' TERM; echo ready; exec sleep 60");
        assert!(deaf.end(Duration::from_millis(200)).is_none());
        assert!(deaf.is_running());
        deaf.kill();
    }

    #[test]
    fn a_server_that_dies_shows_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut server = Server::start("shell", &shell("echo no licence; exit 3"), &log).unwrap();
        let error = server.wait_for_log("ready", Duration::from_secs(10)).unwrap_err().to_string();
        assert!(error.contains("no licence") && error.contains('3'), "{error}");
    }

    #[test]
    fn a_server_outlives_the_thread_that_started_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut server =
            thread::spawn(move || Server::start("shell", &shell("exec sleep 60"), &log).unwrap())
                .join()
                .unwrap();
        assert!(server.wait_until("nothing", Duration::from_millis(200), |_| false).is_err());
        assert!(server.is_running());
    }
}
