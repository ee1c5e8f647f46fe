//! A bounded number of connections to several Thrift servers.
//!
//! Why not the pool of `hbase-thrift`: it knows one address, sets no time limit on connecting or reading, asks the server for the list
//! of all tables to see whether a connection lives, and has no TLS.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::connection::{Client, Connection, Limits, connect};
use super::options::HbaseOptions;
use super::tls::{RenewedTls, Tls};
use crate::credentials::CHECK_EVERY;
use crate::fault::Fault;

/// Connections idle for longer are not used again: the Thrift server closes them after a minute.
const IDLE_LIMIT: Duration = Duration::from_secs(40);
/// How long a server that did not take a connection is tried last.
const REST: Duration = Duration::from_secs(5);

/// Why a call did not come to an answer.
#[derive(Debug)]
pub(crate) enum CallError {
    /// No server took a connection; with the last one's address.
    Connect(String, io::Error),
    /// The server's address, and what it answered, or why it did not.
    Answer(String, thrift::Error),
    /// The call panicked, or the runtime is shutting down.
    Lost(String),
}

struct Server {
    address: String,
    resting_until: Mutex<Option<Instant>>,
}

/// The pool.
pub(crate) struct Pool {
    servers: Vec<Server>,
    next: AtomicUsize,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    limits: Limits,
    options: HbaseOptions,
    tls: Option<RenewedTls>,
}

impl Pool {
    /// A pool without connections: they are made when they are needed.
    ///
    /// # Errors
    /// [`Fault::Inaccessible`] naming a TLS file that cannot be used.
    pub(crate) fn new(options: &HbaseOptions) -> Result<Self, Fault> {
        let tls = options.tls.as_ref().map(|files| RenewedTls::read(files, CHECK_EVERY)).transpose()?;
        let server = |address: &String| Server { address: address.clone(), resting_until: Mutex::new(None) };
        Ok(Self {
            servers: options.addresses.iter().map(server).collect(),
            next: AtomicUsize::new(0),
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(options.connections.max(1))),
            limits: Limits { connect: options.connect_timeout, answer: options.answer_timeout },
            options: options.clone(),
            tls,
        })
    }

    /// Addresses, for messages.
    pub(crate) fn addresses(&self) -> String {
        self.options.addresses.join(", ")
    }

    /// Runs blocking work with a connection, on a thread for blocking work. Waits while all connections are in use.
    pub(crate) async fn run<T, F>(self: &Arc<Self>, work: F) -> Result<T, CallError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Client) -> thrift::Result<T> + Send + 'static,
    {
        let lost = |reason: String| CallError::Lost(reason);
        let permit =
            Arc::clone(&self.permits).acquire_owned().await.map_err(|error| lost(error.to_string()))?;
        let pool = Arc::clone(self);
        let call = move || {
            // Held until the work is done, even if the caller has gone.
            let _permit = permit;
            pool.work(work)
        };
        tokio::task::spawn_blocking(call).await.map_err(|error| lost(error.to_string()))?
    }

    fn work<T>(&self, work: impl FnOnce(&mut Client) -> thrift::Result<T>) -> Result<T, CallError> {
        let mut connection = self.take()?;
        let outcome = work(&mut connection.client);
        let server = connection.server;
        match &outcome {
            // HBase's own errors are whole answers: the connection stays in step.
            Ok(_) | Err(thrift::Error::User(_)) => self.give(connection),
            // The server may be gone: connections to it that wait are not trusted either. Nor are the certificates: they may have been renewed.
            Err(_) => {
                self.idle.lock().retain(|other| other.server != server);
                self.tls.iter().for_each(RenewedTls::look_again);
            }
        }
        outcome.map_err(|error| CallError::Answer(self.servers[server].address.clone(), error))
    }

    fn take(&self) -> Result<Connection, CallError> {
        let tls = self.current_tls();
        let idle = {
            let mut idle = self.idle.lock();
            idle.retain(|connection| connection.idle_since.elapsed() < IDLE_LIMIT);
            idle.pop()
        };
        match idle {
            Some(connection) => Ok(connection),
            None => self.connect(tls.as_ref()),
        }
    }

    fn give(&self, mut connection: Connection) {
        connection.idle_since = Instant::now();
        self.idle.lock().push(connection);
    }

    /// Connects to the servers in turn; those that failed a moment ago come last.
    fn connect(&self, tls: Option<&Tls>) -> Result<Connection, CallError> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.servers.len();
        let mut order: Vec<usize> = (0..count).map(|offset| (first.wrapping_add(offset)) % count).collect();
        let now = Instant::now();
        order.sort_by_key(|server| {
            self.servers[*server].resting_until.lock().is_some_and(|until| until > now)
        });
        let mut last = CallError::Connect("(no address)".to_owned(), io::ErrorKind::AddrNotAvailable.into());
        for number in order {
            let server = &self.servers[number];
            match connect(number, &server.address, self.limits, tls) {
                Ok(connection) => {
                    *server.resting_until.lock() = None;
                    return Ok(connection);
                }
                Err(error) => {
                    *server.resting_until.lock() = Some(Instant::now() + REST);
                    last = CallError::Connect(server.address.clone(), error);
                }
            }
        }
        Err(last)
    }

    /// TLS as the files have it now. When they changed, connections made with the former ones are not used again.
    fn current_tls(&self) -> Option<Tls> {
        let (tls, is_new) = self.tls.as_ref()?.current();
        if is_new {
            self.idle.lock().clear();
        }
        Some(tls)
    }
}
