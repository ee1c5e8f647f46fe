//! One reconcile: from a resource to the state of the world that it asks for.
//!
//! Expected flow: read everything ([`dereference`], and the words of pods that are not ready, [`waiting`]), correct Kafka and HBase
//! ([`external_state`]), build ([`crate::build`], pure), apply and prune ([`apply`]), conclude ([`conditions`], pure), write the status
//! ([`status`]). Deletion takes the other branch before anything else is looked at ([`removal`]).
//!
//! Guarantees
//! - A reconcile that finds all in order writes nothing.
//! - What cannot be changed by the operator is a condition that says who has to do what; nothing is tried again in a hot loop.
//! - One resource, whatever is wrong with it, holds up no other.
//!
//! Assumptions: one operator at a time acts ([`crate::program`]); should two overlap, every write is idempotent.
//!
//! Failure modes: [`ReconcileError`] where the API server itself fails; everything else is a condition.

pub mod absent;
pub mod apply;
pub mod autoscaled;
pub mod call;
pub mod cleanup;
pub mod conditions;
pub mod conflicts;
pub mod dereference;
pub mod disks;
pub mod endings;
pub mod events;
pub mod external_state;
pub mod ignored;
pub mod mounts;
mod news;
pub mod objects;
pub mod ownership;
pub mod pod_state;
mod removal;
pub mod status;
pub mod training;
pub mod unreadable;
pub mod waiting;
pub mod watched;
pub mod workload_state;

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Event, finalizer};
use kube::{Api, Client, ResourceExt as _};

use self::absent::Absent;
use self::apply::{Applied, ApplyError};
use self::cleanup::Cleanup;
use self::conditions::Findings;
use self::dereference::{DereferenceError, Dereferenced};
use self::endings::EndError;
use self::events::Events;
use self::external_state::Corrected;
use self::ignored::Ignored;
use self::news::{announce, publish, tell};
use self::status::StatusError;
use self::training::Asked;
use self::watched::{Watched, readable};
use crate::api::MedicalImageIndex;
use crate::build::{BuildError, Surroundings, build};
use crate::external::{Access, Backends, IndexStatus};
use crate::names::{Component, FINALIZER, FORCE_DELETION};
use crate::release::Release;
use crate::validate::{ValidatedIndex, joined, validate};

/// Everything is looked at again this often, a fifth earlier or later: what drifted outside Kubernetes is put right within a minute.
const PERIOD: Duration = Duration::from_secs(40);
/// The same while something is still coming up.
const SOON: Duration = Duration::from_secs(5);
/// So many objects that the API server refuses are told of: a condition has room for 32 KiB.
const TOLD_REFUSALS: usize = 8;

/// What all reconciles share.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Kafka, HBase and gateways.
    pub backends: Arc<dyn Backends>,
    /// The workloads' images.
    pub release: Release,
    /// Writes events.
    pub events: Events,
    /// All resources that are watched.
    pub watched: Arc<Watched>,
    /// What this API server does not keep.
    pub ignored: Arc<Ignored>,
    /// Types that this cluster lacks.
    pub absent: Arc<Absent>,
}

/// Why a reconcile could not be finished; it is tried again, ever more slowly.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Something could not be read.
    #[error(transparent)]
    Dereference(#[from] DereferenceError),
    /// Something could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Something could not be written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The status could not be written.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The programs could not be ended.
    #[error(
        "ending the programs before their topics failed: {0}; set the annotation {FORCE_DELETION}=true to let the resource go and leave topics \
         and tables behind"
    )]
    EndPrograms(#[source] EndError),
    /// The backends could not be cleaned up.
    #[error(
        "{0}; set the annotation {FORCE_DELETION}=true to let the resource go and leave topics and tables behind"
    )]
    Cleanup(#[source] crate::external::ExternalError),
    /// A Secret that the backends want is not there.
    #[error(
        "{0}; the backends cannot be reached without it: set the annotation {FORCE_DELETION}=true to let the resource go and leave topics \
         and tables behind"
    )]
    CleanupOf(#[source] DereferenceError),
    /// The work was cut off.
    #[error("the reconcile was cut off: {0}")]
    Join(#[from] tokio::task::JoinError),
    /// The finalizer could not be set or removed.
    #[error("the finalizer cannot be changed: {0}")]
    Finalizer(#[source] Box<kube::runtime::finalizer::Error<ReconcileError>>),
}

/// Reconciles one resource.
///
/// # Errors
/// [`ReconcileError`].
pub async fn reconcile(
    resource: Arc<MedicalImageIndex>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let namespace = resource.namespace().unwrap_or_default();
    let api: Api<MedicalImageIndex> = Api::namespaced(context.client.clone(), &namespace);
    // Nothing outside Kubernetes goes with it, so it is not held: it, and its namespace, can be deleted without an operator too.
    if cleanup::wanted(&resource) == Cleanup::Keep {
        cleanup::release(&api, resource.as_ref()).await?;
        return match resource.metadata.deletion_timestamp {
            Some(_) => Ok(Action::await_change()),
            None => keep_up(&resource, &context).await,
        };
    }
    if let Some(later) = removal::end_programs(&resource, &context).await? {
        return Ok(later);
    }
    let outcome = finalizer(&api, FINALIZER, resource, |event| async {
        match event {
            Event::Apply(resource) => keep_up(&resource, &context).await,
            Event::Cleanup(resource) => removal::clean_up(&resource, &context).await,
        }
    });
    outcome.await.map_err(|error| match error {
        kube::runtime::finalizer::Error::ApplyFailed(error)
        | kube::runtime::finalizer::Error::CleanupFailed(error) => error,
        error => ReconcileError::Finalizer(Box::new(error)),
    })
}

/// Makes the world as the resource asks, and tells in the resource where that fails.
async fn keep_up(resource: &MedicalImageIndex, context: &Context) -> Result<Action, ReconcileError> {
    // On the heap: it is large, and many run at a time.
    let outcome = Box::pin(bring_about(resource, context)).await;
    if let Err(error) = &outcome {
        tell_failure(resource, context, &error.to_string()).await;
    }
    outcome
}

/// Makes the world as the resource asks.
async fn bring_about(resource: &MedicalImageIndex, context: &Context) -> Result<Action, ReconcileError> {
    let others = context.watched.all().await;
    let checked = match conflicts::conflict(resource, readable(&others)) {
        Some(conflict) => Err(("ResourceConflict", conflict)),
        None => validate(resource, &context.release).map_err(|errors| ("InvalidSpec", joined(&errors, "; "))),
    };
    let index = match checked {
        Ok(index) => index,
        Err((reason, message)) => return refuse(resource, context, reason, message).await,
    };
    let access = match dereference::access(&context.client, &index).await {
        Ok(access) => access,
        Err(error) if error.is_users() => {
            let message = format!("{error}; it is looked for again within a minute");
            return refuse(resource, context, "SecretMissing", message).await;
        }
        Err(error) => return Err(error.into()),
    };
    let mut found =
        dereference::dereference_present(&context.client, &index.namespace, &index.name, &context.absent)
            .await?;
    found.stuck.extend(waiting::ask(context.backends.as_ref(), &index, &found.live, &status::now()).await);
    let paused = index.spec.paused;
    let backends = context.backends.as_ref();
    let topics = external_state::topics(backends, &access, &index, paused).await;
    let tables = external_state::tables(backends, &access, &index, paused).await;
    if !paused {
        tell(context, resource, "BackendCorrected", &topics.done).await;
        tell(context, resource, "BackendCorrected", &tables.done).await;
    }
    let asked = ask_gateway(&index, &access, &found, context).await;
    let stalled = topics.stalled.clone().or_else(|| tables.stalled.clone());
    // Workloads over topics or tables that are wrong would only make it worse.
    let mut applied = Applied::default();
    let made = if paused || stalled.is_some() {
        Ok(())
    } else {
        make_objects(&index, &found, asked.status.as_ref(), context, &mut applied).await
    };
    let notes: Vec<String> =
        applied.written.iter().map(|written| format!("{} {}", written.verb, written.object)).collect();
    tell(context, resource, "ObjectWritten", &notes).await;
    made?;
    let changed =
        !applied.written.is_empty() || !(paused || topics.done.is_empty() && tables.done.is_empty());
    let mut findings = conclude(&index, &found, &asked, topics, tables, changed);
    findings.stalled = findings
        .stalled
        .or_else(|| taken_names(&applied))
        .or_else(|| refused_objects(&applied))
        .or_else(|| ignored_fields(&applied));
    findings.degraded.extend(dereference::ingress_lacks(&context.client, &index).await?);
    let hurries = applied.refused.is_empty()
        && applied.taken.is_empty()
        && (findings.changed || !is_settled(&findings));
    let new = status::status(resource, &index, &findings, &found.live, asked.status.as_ref());
    announce(context, resource, &new).await;
    status::write(&context.client, resource, &new).await?;
    Ok(Action::requeue(jittered(if hurries { SOON } else { PERIOD })))
}

async fn make_objects(
    index: &ValidatedIndex,
    found: &Dereferenced,
    told: Option<&IndexStatus>,
    context: &Context,
    applied: &mut Applied,
) -> Result<(), ReconcileError> {
    let training = training::wanted(index, told, &found.live);
    let replicas = autoscaled::replicas(index, &found.live);
    let surroundings = Surroundings { training, replicas, ..found.surroundings.clone() };
    let desired = build(index, &surroundings)?;
    apply::apply(&context.client, index, &desired, &found.live, &context.ignored, applied).await?;
    apply::prune(&context.client, index, &desired, &found.live, applied).await?;
    disks::grow(&context.client, index, &desired, &found.live, &context.ignored, applied).await?;
    Ok(())
}

/// What somebody else has, and what to do.
fn taken_names(applied: &Applied) -> Option<(&'static str, String)> {
    (!applied.taken.is_empty()).then(|| {
        let message = format!(
            "{} is there and does not belong to this resource: delete or rename it, or name the resource otherwise; it is looked at again within a minute",
            applied.taken.join(", ")
        );
        ("NameTaken", message)
    })
}

/// What the API server does not take, and what to do.
fn refused_objects(applied: &Applied) -> Option<(&'static str, String)> {
    let refused: Vec<&str> = applied.refused.iter().map(String::as_str).take(TOLD_REFUSALS).collect();
    (!refused.is_empty()).then(|| {
        let message = format!(
            "{}; mend what the resource says of it: podOverrides, nodePool, requests, limits or image of that workload or import, \
             spec.search.disk (its storage class has to allow volumes to grow), spec.imagePullSecrets, spec.gateway.service or spec.gateway.ingress; it is tried again within a minute",
            refused.join("; ")
        );
        ("ObjectRefused", message)
    })
}

/// What the cluster cannot give, and what to do.
fn ignored_fields(applied: &Applied) -> Option<(&'static str, String)> {
    (!applied.ignored.is_empty()).then(|| {
        let message = format!(
            "the API server does not keep {}: this Kubernetes lacks a feature that the resource asks for (an image as volume wants the feature gate ImageVolume), \
             or something changes the object on its way; ask for less (spec.embedding.model.claim instead of image), or mend that",
            applied.ignored.join(", ")
        );
        ("FieldIgnored", message)
    })
}

/// How the index is, by its gateway, where one is ready; and the rollback that the user asks for.
async fn ask_gateway(
    index: &ValidatedIndex,
    access: &Access,
    found: &Dereferenced,
    context: &Context,
) -> Asked {
    if workload_state::replicas(index, Component::Gateway, &found.live).ready == 0 {
        return Asked::default();
    }
    let status = match context.backends.index_status(access).await {
        Ok(status) => status,
        Err(error) => {
            tracing::warn!(index = index.name, namespace = index.namespace, %error, "the gateway does not tell how the index is");
            return Asked { status: None, trouble: Some(error.to_string()) };
        }
    };
    let back = training::rolls_back(&index.spec.quantizer, &status).filter(|_| !index.spec.paused);
    let mut trouble = None;
    if let Some(wanted) = back {
        match context.backends.roll_back(access, wanted).await {
            Ok(generation) => {
                tracing::info!(index = index.name, generation, "went back to the generation before");
            }
            Err(error) => {
                tracing::warn!(index = index.name, %error, "going back to the generation before failed; tried again");
                trouble = Some(error.to_string());
            }
        }
    }
    Asked { status: Some(status), trouble }
}

fn conclude(
    index: &ValidatedIndex,
    found: &Dereferenced,
    asked: &Asked,
    topics: Corrected,
    tables: Corrected,
    changed: bool,
) -> Findings {
    let (live, stuck) = (&found.live, &found.stuck);
    let digest = index.spec.embedding.digest.as_deref();
    let other_model = asked.status.as_ref().zip(digest).filter(|(told, digest)| told.model_digest != *digest).map(|(told, digest)| {
        let message = format!(
            "spec.embedding.digest is {digest}, and the embedders run the model {}: give the model that the digest names",
            told.model_digest
        );
        ("ModelMismatch", message)
    });
    let mut degraded = topics.degraded;
    degraded.extend(tables.degraded);
    degraded.extend(workload_state::jobs(index, live, stuck));
    Findings {
        topics: topics.part,
        tables: tables.part,
        quantizer: training::part(index, asked, live),
        embedder: workload_state::part(index, Component::Embedder, live, stuck),
        search: workload_state::part(index, Component::Search, live, stuck),
        gateway: workload_state::part(index, Component::Gateway, live, stuck),
        stalled: topics.stalled.or(tables.stalled).or(other_model),
        degraded,
        paused: index.spec.paused,
        suspended: index.spec.suspend,
        changed,
    }
}

/// Whether nothing is expected to change by itself soon.
fn is_settled(findings: &Findings) -> bool {
    let parts = [&findings.quantizer, &findings.embedder, &findings.search, &findings.gateway];
    findings.suspended || parts.into_iter().all(|part| part.status == conditions::Truth::True)
}

/// The resource cannot be brought about until a person acts; it is looked at again because what it lacks may come without its being changed.
async fn refuse(
    resource: &MedicalImageIndex,
    context: &Context,
    reason: &'static str,
    message: String,
) -> Result<Action, ReconcileError> {
    let unknown = Findings::unknown(reason, "not looked at: see Stalled");
    stall(resource, context, (reason, message), unknown).await?;
    Ok(Action::requeue(jittered(PERIOD)))
}

/// Tells what a person has to do before anything else can be found out.
async fn stall(
    resource: &MedicalImageIndex,
    context: &Context,
    stalled: (&'static str, String),
    unknown: Findings,
) -> Result<(), StatusError> {
    let new = status::refused(resource, &Findings { stalled: Some(stalled), ..unknown });
    announce(context, resource, &new).await;
    status::write(&context.client, resource, &new).await.map(drop)
}

/// What went wrong is told in the resource too, once; where that cannot be written either, the log has it.
async fn tell_failure(resource: &MedicalImageIndex, context: &Context, error: &str) {
    let new = status::failing(resource, error);
    if resource.status.as_ref() == Some(&new) {
        return;
    }
    publish(context, resource, conditions::FAILED, error, true).await;
    if let Err(error) = status::write(&context.client, resource, &new).await {
        tracing::warn!(index = resource.name_any(), %error, "the status does not tell that a reconcile failed");
    }
}

/// A fifth shorter or longer, so that many resources are not looked at at the same time.
fn jittered(period: Duration) -> Duration {
    period.mul_f64(0.8 + 0.4 * rand::random::<f64>())
}
