//! The clients that all calls share, made anew when their credentials change or they cannot go on.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{FutureProducer, Producer};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::context::Context;
use super::faults::{Faults, code, is_transient};
use super::options::KafkaOptions;
use crate::credentials::CredentialFiles;
use crate::fault::Fault;

/// Longest single request, so that a refusal is noticed while one waits.
const SLICE: Duration = Duration::from_secs(2);
/// Wait before a request is sent again.
const PAUSE: Duration = Duration::from_millis(50);
/// How often it is looked for other credentials while the server refuses those there are.
const REFUSED_CHECK: Duration = Duration::from_secs(1);
/// Events of the library taken at once.
const EVENTS: usize = 256;

/// The clients of one set of credentials.
pub(super) struct Clients {
    pub(super) config: ClientConfig,
    pub(super) context: Context,
    pub(super) producer: FutureProducer<Context>,
    /// Asks for metadata and offsets.
    reader: BaseConsumer<Context>,
}

impl Clients {
    fn new(options: &KafkaOptions, faults: &Faults) -> Result<Self, Fault> {
        let config = options.client()?;
        let context = Context::default();
        let failed = |error| faults.explain(error, &context.troubles);
        let producer = options.producer(&config).create_with_context(context.clone()).map_err(failed)?;
        let reader = config.create_with_context(context.clone()).map_err(failed)?;
        Ok(Self { config, context, producer, reader })
    }

    /// Lets the library tell what happened to the reader; the producer has a thread for that.
    fn drain(&self) {
        for _ in 0..EVENTS {
            if let Some(Err(error)) = self.reader.poll(Duration::ZERO) {
                tracing::trace!(%error, "told by the library");
            }
        }
    }

    /// Asks again until there is an answer, a refusal or no time left.
    fn ask<T>(
        &self,
        faults: &Faults,
        patience: Duration,
        question: impl Fn(&BaseConsumer<Context>, Duration) -> KafkaResult<T>,
    ) -> Result<T, Fault> {
        let start = Instant::now();
        loop {
            let left = patience.saturating_sub(start.elapsed());
            let outcome = question(&self.reader, left.min(SLICE));
            self.drain();
            let error = match outcome {
                Ok(answer) => {
                    self.context.troubles.forget();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let refused = self.context.troubles.refusal().is_some();
            let again = code(&error).is_some_and(is_transient) && !refused;
            if !again || left <= PAUSE {
                return Err(faults.explain(error, &self.context.troubles));
            }
            thread::park_timeout(PAUSE);
        }
    }
}

/// What a queue and its consumers share.
pub(super) struct Shared {
    pub(super) options: KafkaOptions,
    pub(super) faults: Faults,
    /// Partitions of the topics that were asked for: they never change.
    pub(super) partitions: Mutex<HashMap<String, u32>>,
    files: CredentialFiles,
    current: RwLock<Option<Arc<Clients>>>,
    checked: Mutex<Instant>,
    generation: AtomicU64,
    /// Whether files changed that no client could be made from.
    is_outdated: AtomicBool,
}

impl Shared {
    pub(super) fn new(options: KafkaOptions) -> Result<Self, Fault> {
        let faults =
            Faults { place: format!("Kafka at {}", options.bootstrap), files: options.credential_files() };
        let files = CredentialFiles::new(options.tls.as_ref(), options.login.as_ref())?;
        let clients = Clients::new(&options, &faults)?;
        Ok(Self {
            options,
            faults,
            partitions: Mutex::default(),
            files,
            current: RwLock::new(Some(Arc::new(clients))),
            checked: Mutex::new(Instant::now()),
            generation: AtomicU64::new(0),
            is_outdated: AtomicBool::new(false),
        })
    }

    /// The name that a topic or group has in the cluster.
    pub(super) fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.options.prefix)
    }

    /// The clients, made anew if their files changed, and how often that was.
    pub(super) async fn clients(self: &Arc<Self>) -> Result<(Arc<Clients>, u64), Fault> {
        let current = self.current.read().clone().ok_or_else(|| self.faults.closed())?;
        if self.is_check_due(&current) {
            let shared = Arc::clone(self);
            let renewal = spawn_blocking(move || shared.renew(&current)).await;
            renewal.map_err(|error| self.faults.failed(error.to_string()))??;
        }
        let current = self.current.read().clone().ok_or_else(|| self.faults.closed())?;
        Ok((current, self.generation.load(Ordering::Acquire)))
    }

    /// At intervals, and at once when the server refuses the client or the client gave up.
    fn is_check_due(&self, clients: &Clients) -> bool {
        let mut checked = self.checked.lock();
        let is_refused = clients.context.troubles.refusal().is_some();
        let due = (is_refused && checked.elapsed() >= REFUSED_CHECK)
            || checked.elapsed() >= self.options.check_credentials
            || clients.producer.client().fatal_error().is_some();
        if due {
            *checked = Instant::now();
        }
        due
    }

    fn renew(&self, clients: &Clients) -> Result<(), Fault> {
        let changed = match self.files.changed() {
            Ok(changed) => changed || self.is_outdated.load(Ordering::Acquire),
            Err(fault) => {
                tracing::warn!(%fault, "credentials cannot be read; those read before are used");
                false
            }
        };
        let fatal = clients.producer.client().fatal_error();
        match &fatal {
            Some((_, reason)) => {
                tracing::warn!(reason, "the publishing client cannot go on; it is made anew");
            }
            None if changed => {
                tracing::info!(place = self.faults.place, "credentials changed; clients are made anew");
            }
            None => return Ok(()),
        }
        // Half-written files: the next check tries again.
        self.is_outdated.store(changed, Ordering::Release);
        let renewed = Arc::new(Clients::new(&self.options, &self.faults)?);
        self.is_outdated.store(false, Ordering::Release);
        let old = self.current.write().replace(renewed);
        if changed {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        drop(old);
        Ok(())
    }

    /// Asks the cluster something, off the threads of the runtime.
    pub(super) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl Fn(&BaseConsumer<Context>, Duration) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (clients, _) = self.clients().await?;
        let shared = Arc::clone(self);
        let asking =
            spawn_blocking(move || clients.ask(&shared.faults, shared.options.request_timeout, question))
                .await;
        asking.map_err(|error| self.faults.failed(error.to_string()))?
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        discard(self.current.get_mut().take());
    }
}

/// Drops a client off the runtime's threads: that says goodbye to the brokers, and waits for them.
pub(super) fn discard<T: Send + 'static>(client: T) {
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(client))),
        Err(_) => drop(thread::spawn(move || drop(client))),
    }
}
