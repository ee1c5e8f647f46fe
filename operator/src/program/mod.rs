//! The running operator: it waits until it leads, reconciles while it does, and ends when told to or when it leads no longer.
//!
//! Guarantees
//! - Nothing is written outside of leadership: when the lease is lost, reconciles that run are dropped and the process ends, to come back as a
//!   follower.
//! - SIGTERM lets reconciles that run end, for at most twenty seconds, and gives the lease back, so that another operator leads at once.
//! - A resource that fails waits ever longer, on its own ([`backoff`]); at most `--concurrency` are worked on.

pub mod arguments;
pub mod backoff;
pub mod calls;
pub mod metrics;
mod operation;
mod watches;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{self, select_all};
use futures::{FutureExt as _, StreamExt as _};
use kube::client::ClientBuilder;
use kube::runtime::applier;
use kube::runtime::controller::{Action, Config as ControllerConfig};
use kube::runtime::events::Reporter;
use kube::{Client, Config, ResourceExt as _};
use kube_lease_manager::LeaseManagerBuilder;
use medindex_logging::Level;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use self::arguments::RunArguments;
use self::backoff::Backoff;
use self::calls::{CallLayer, Calls};
use self::metrics::Metrics;
use self::operation::Operation;
use self::watches::Watches;
use crate::external::Backends;
use crate::external::told::Told;
use crate::names::MANAGER;
use crate::reconcile::events::Events;
use crate::reconcile::unreadable::reconcile_unreadable;
use crate::reconcile::watched::{Guarded, Watched};
use crate::reconcile::{Context, ReconcileError, reconcile};

/// A lease that is not renewed for so long goes to another operator, in seconds.
const LEASE_SECONDS: u64 = 15;
/// It is renewed so long before that, in seconds.
const LEASE_GRACE_SECONDS: u64 = 5;
/// Changes of a resource and its objects within this make one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(500);
/// Reconciles that run may take so long after SIGTERM; Kubernetes waits 30 seconds.
const FINISH_WITHIN: Duration = Duration::from_secs(20);

/// Why the operator ends.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The API server cannot be reached or the credentials are wrong.
    #[error(
        "connecting to the API server failed: {0}; inside a cluster the pod needs its service account, outside of one KUBECONFIG"
    )]
    Connect(#[source] Box<kube::Error>),
    /// Signals cannot be received, or the operation address is taken.
    #[error("{action} failed: {source}")]
    Prepare {
        /// What was to be done.
        action: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The lease cannot be used.
    #[error(
        "the lease {namespace}/{name} cannot be used: {source}; the account needs get, create, patch on leases there"
    )]
    Lease {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// Why.
        #[source]
        source: Box<kube_lease_manager::LeaseManagerError>,
    },
    /// Another operator leads.
    #[error("this operator leads no longer: it ends, to come back as a follower")]
    Deposed,
}

/// Runs until told to stop.
///
/// # Errors
/// [`ProgramError`].
pub async fn run(
    arguments: RunArguments,
    level: Level,
    backends: Arc<dyn Backends>,
) -> Result<(), ProgramError> {
    let stop = stop_on_signals()?;
    let (metrics, ready) = (Arc::new(Metrics::default()), Arc::new(AtomicBool::new(false)));
    let operation = Operation { metrics: Arc::clone(&metrics), level, ready: Arc::clone(&ready) };
    let calls = Calls::new(Arc::clone(&metrics), arguments.abort_at.clone());
    let client = connect(&calls).await?;
    let backends = Arc::new(Told { backends, observer: calls });
    let served = tokio::spawn(operation::serve(arguments.operation_listen, operation, stop.clone()));
    let outcome = tokio::select! {
        outcome = lead(&arguments, Outside { client, backends }, &metrics, &ready, &stop) => outcome,
        // It ends before the rest only when it cannot listen.
        Ok(Err(source)) = served => Err(ProgramError::Prepare {
            action: format!("listening on {}", arguments.operation_listen),
            source,
        }),
    };
    stop.cancel();
    outcome
}

/// What is outside of the process.
#[derive(Clone)]
struct Outside {
    client: Client,
    backends: Arc<dyn Backends>,
}

/// A client of the API server whose calls are told.
async fn connect(calls: &Calls) -> Result<Client, ProgramError> {
    let failed = |error| ProgramError::Connect(Box::new(error));
    let settings = Config::infer().await.map_err(|error| failed(kube::Error::InferConfig(error)))?;
    let builder = ClientBuilder::try_from(settings).map_err(failed)?;
    Ok(builder.with_layer(&CallLayer(calls.clone())).build())
}

/// Waits for the lease, reconciles while it is held, and gives it back.
async fn lead(
    arguments: &RunArguments,
    outside: Outside,
    metrics: &Arc<Metrics>,
    ready: &Arc<AtomicBool>,
    stop: &CancellationToken,
) -> Result<(), ProgramError> {
    let lease_error = |source| ProgramError::Lease {
        namespace: arguments.lease_namespace.clone(),
        name: arguments.lease.clone(),
        source: Box::new(source),
    };
    let mut builder = LeaseManagerBuilder::new(outside.client.clone(), arguments.lease.clone())
        .with_namespace(arguments.lease_namespace.clone())
        .with_duration(LEASE_SECONDS)
        .with_grace(LEASE_GRACE_SECONDS);
    if let Some(identity) = &arguments.identity {
        builder = builder.with_identity(identity.clone());
    }
    let manager = builder.build().await.map_err(lease_error)?;
    // The API server answered; a follower is ready to take over.
    ready.store(true, Ordering::Relaxed);
    let (mut leads, task) = manager.watch().await;
    tracing::info!(lease = arguments.lease, "waiting to lead");
    let outcome = tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = until(&mut leads, true) => {
            metrics.lead(true);
            tracing::info!("this operator leads");
            control(arguments, outside, metrics, &mut leads, stop).await
        }
    };
    metrics.lead(false);
    // Closing the channel makes the manager give the lease back.
    drop(leads);
    match tokio::time::timeout(Duration::from_secs(LEASE_GRACE_SECONDS), task).await {
        Ok(Ok(Ok(_))) => {}
        Ok(Ok(Err(error))) => {
            tracing::warn!(%error, "the lease could not be given back; another operator leads when it has run out");
        }
        Ok(Err(error)) => tracing::warn!(%error, "the keeper of the lease was cut off"),
        Err(_) => {
            tracing::warn!("giving the lease back took too long; another operator leads when it has run out");
        }
    }
    outcome
}

/// Until the lease is held, or is not. A closed channel is a lost lease.
async fn until(leads: &mut watch::Receiver<bool>, wanted: bool) {
    while *leads.borrow_and_update() != wanted {
        if leads.changed().await.is_err() {
            if wanted {
                std::future::pending::<()>().await;
            }
            return;
        }
    }
}

/// Reconciles until told to stop or deposed.
async fn control(
    arguments: &RunArguments,
    outside: Outside,
    metrics: &Arc<Metrics>,
    leads: &mut watch::Receiver<bool>,
    stop: &CancellationToken,
) -> Result<(), ProgramError> {
    let finish = CancellationToken::new();
    let namespaces: Vec<Option<&str>> = match arguments.namespaces.as_slice() {
        [] => vec![None],
        namespaces => namespaces.iter().map(|namespace| Some(namespace.as_str())).collect(),
    };
    let watches: Vec<_> =
        namespaces.into_iter().map(|namespace| Watches::begin(&outside.client, namespace)).collect();
    // Two namespaces may claim the same topics.
    let watched = Arc::new(Watched::new(watches.iter().map(|watches| watches.store.clone()).collect()));
    metrics.watch(Arc::clone(&watched));
    let permits = Arc::new(Semaphore::new(usize::from(arguments.concurrency)));
    let reconciled = watches.into_iter().map(|watches| {
        let context = context(arguments, &outside, Arc::clone(&watched));
        applied(watches, arguments.concurrency, &permits, context, metrics, finish.clone()).boxed()
    });
    let mut reconciled = select_all(reconciled);
    let work = async {
        while let Some(outcome) = reconciled.next().await {
            if let Err(error) = outcome {
                tracing::debug!(%error, "a reconcile was not done");
            }
        }
    };
    tokio::pin!(work);
    tokio::select! {
        () = &mut work => Ok(()),
        () = until(leads, false) => Err(ProgramError::Deposed),
        () = stop.cancelled() => {
            finish.cancel();
            if tokio::time::timeout(FINISH_WITHIN, &mut work).await.is_err() {
                tracing::warn!("reconciles that still run are cut off");
            }
            Ok(())
        }
    }
}

/// What all reconciles of a namespace share.
struct Shared {
    context: Arc<Context>,
    metrics: Arc<Metrics>,
    backoff: Backoff,
    /// Reconciles of other namespaces count too.
    permits: Arc<Semaphore>,
}

fn context(arguments: &RunArguments, outside: &Outside, watched: Arc<Watched>) -> Context {
    let reporter = Reporter { controller: MANAGER.to_owned(), instance: arguments.identity.clone() };
    Context {
        client: outside.client.clone(),
        backends: Arc::clone(&outside.backends),
        release: arguments.images.release(),
        events: Events::new(outside.client.clone(), reporter),
        watched,
        ignored: Arc::default(),
        absent: Arc::default(),
    }
}

/// Reconciles what the watches tell of, and what asked to be looked at again, until told to finish.
fn applied(
    watches: Watches,
    concurrency: u16,
    permits: &Arc<Semaphore>,
    context: Context,
    metrics: &Arc<Metrics>,
    finish: CancellationToken,
) -> impl futures::Stream<Item = Result<(), String>> + Send + 'static {
    let shared = Shared {
        context: Arc::new(context),
        metrics: Arc::clone(metrics),
        backoff: Backoff::default(),
        permits: Arc::clone(permits),
    };
    let config = ControllerConfig::default().concurrency(concurrency).debounce(DEBOUNCE);
    let Watches { store, mut touched, tasks } = watches;
    let touched = stream::poll_fn(move |context| {
        // They run as long as anybody listens.
        let _running = &tasks;
        touched.poll_recv(context)
    })
    .map(Ok::<_, Infallible>)
    .take_until(finish.cancelled_owned());
    applier(
        |resource, shared| spawned(resource, shared).boxed(),
        after_failure,
        Arc::new(shared),
        store,
        touched,
        config,
    )
    .map(|outcome| outcome.map(drop).map_err(|error| error.to_string()))
}

/// A reconcile in a task of its own, which ends when nobody waits for it.
async fn spawned(resource: Arc<Guarded>, shared: Arc<Shared>) -> Result<Action, ReconcileError> {
    let work = reconcile_guarded(resource, shared).in_current_span();
    AbortOnDropHandle::new(tokio::spawn(work)).await?
}

/// As many at a time as are allowed in all namespaces together.
async fn reconcile_guarded(resource: Arc<Guarded>, shared: Arc<Shared>) -> Result<Action, ReconcileError> {
    let _permit = shared.permits.acquire().await;
    let begun = Instant::now();
    let key = key(&resource);
    let readable =
        resource.0.as_ref().map(|readable| Arc::new(readable.clone())).map_err(ToString::to_string);
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let span = tracing::info_span!("reconcile", namespace, name);
    let outcome = async {
        match readable {
            Ok(readable) => reconcile(readable, Arc::clone(&shared.context)).await,
            Err(error) => reconcile_unreadable(&namespace, &name, &error, &shared.context).await,
        }
    };
    let outcome = outcome.instrument(span).await;
    shared.metrics.reconcile(outcome.is_ok(), begun.elapsed());
    if outcome.is_ok() {
        shared.backoff.succeeded(&key);
    }
    outcome
}

#[allow(clippy::needless_pass_by_value, reason = "the controller calls it so")]
fn after_failure(resource: Arc<Guarded>, error: &ReconcileError, shared: Arc<Shared>) -> Action {
    let key = key(&resource);
    let wait = shared.backoff.failed(&key);
    tracing::warn!(resource = key, %error, wait_s = wait.as_secs(), "a reconcile failed and is tried again");
    Action::requeue(wait)
}

fn key(resource: &Guarded) -> String {
    format!("{}/{}", resource.namespace().unwrap_or_default(), resource.name_any())
}

fn stop_on_signals() -> Result<CancellationToken, ProgramError> {
    let listen = |kind, name: &str| {
        signal(kind)
            .map_err(|source| ProgramError::Prepare { action: format!("listening for {name}"), source })
    };
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate(), "SIGTERM")?, listen(SignalKind::interrupt(), "SIGINT")?);
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop: finishing the reconciles that run");
        told.cancel();
    });
    Ok(stop)
}
