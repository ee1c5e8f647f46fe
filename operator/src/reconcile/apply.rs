//! Making the cluster's objects what they shall be: server-side apply of what differs, deletion of what is no longer wanted.
//!
//! An object that holds everything it shall, and nothing that the operator set and no longer wants, is not written, so a reconcile that finds
//! all in order makes no write. Fields that others added and the builders do not name (replicas under an autoscaler) are theirs, but for
//! what is added to a selector.

use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};

use super::call::{CallError, bounded};
use super::ignored::Ignored;
use super::objects::{Kind, Live, differences};
use super::ownership::{abandoned, added_to_selectors};
use crate::names::MANAGER;
use crate::validate::ValidatedIndex;

/// Where a StatefulSet says how large its disks are.
pub(super) const TEMPLATE_SIZE: &str = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
/// So many letters of a refusal are told.
const TOLD_REFUSAL: usize = 1_000;

/// Why an object is not as it shall be.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused it, or did not answer.
    #[error("{action} {kind} {name} failed: {source}")]
    Call {
        /// `applying`, `reading`, `deleting`, `listing` or `growing`.
        action: &'static str,
        /// Kind of the object.
        kind: &'static str,
        /// Name of the object.
        name: String,
        /// Why.
        #[source]
        source: CallError,
    },
    /// The builders made what [`super::objects::KINDS`] does not have.
    #[error("{0} is of no kind that the operator makes; this is a fault of the operator: please report it")]
    FindKind(String),
}

impl ApplyError {
    /// Whether the API server finds the object itself wrong: it would be refused again.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Call { source, .. } if source.is_refusal())
    }

    /// The status of HTTP with which the API server refused.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Call { source, .. } => source.code(),
            Self::FindKind(_) => None,
        }
    }
}

/// Something that was done to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// `Created`, `Corrected`, `Deleted` or `Grown`.
    pub verb: &'static str,
    /// Kind and name, as in `Deployment radiology-gateway`.
    pub object: String,
}

/// What became of the objects of an index.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What was written.
    pub written: Vec<Written>,
    /// What the API server does not keep, as `spec.replicas of Deployment radiology-gateway`.
    pub ignored: Vec<String>,
    /// Objects that the API server does not take, with its reasons.
    pub refused: Vec<String>,
    /// Objects of somebody else where those of the index should be.
    pub taken: Vec<String>,
}

impl Applied {
    /// Notes what the API server does not take. Some of its messages quote the whole object.
    pub(super) fn refuse(&mut self, error: &ApplyError) {
        self.refused.push(error.to_string().chars().take(TOLD_REFUSAL).collect());
    }
}

/// Applies what differs, but for what is known to be ignored, and notes in `applied` what became of it. An object that the API server finds
/// wrong, or that is somebody else's, holds up no other.
///
/// # Errors
/// [`ApplyError`] of the first object that cannot be applied for another reason; those before it are done.
pub async fn apply(
    client: &Client,
    index: &ValidatedIndex,
    desired: &[Value],
    live: &[Live],
    ignored: &Ignored,
    applied: &mut Applied,
) -> Result<(), ApplyError> {
    for object in desired {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let kind =
            Kind::of(object).ok_or_else(|| ApplyError::FindKind(format!("{} {name}", object["kind"])))?;
        let api = kind.objects(client, &index.namespace);
        let listed = live.iter().find(|live| live.is(object));
        // One that lost its labels, or never had them, is not listed.
        let unlisted =
            if listed.is_none() { call("reading", kind, name, api.get_opt(name)).await? } else { None };
        let unlisted = unlisted.map(|object| Live { kind, object });
        let found = listed.or(unlisted.as_ref());
        let known_as = format!("{}/{} {name}", index.namespace, kind.kind);
        let lacks = found.map(|found| missing(found, object)).unwrap_or_default();
        let verb = match found {
            None => "Created",
            Some(found) if !is_owned(found, index) => {
                applied.taken.push(format!("{} {name}", kind.kind));
                continue;
            }
            Some(_) if lacks.is_empty() => continue,
            Some(_) if ignored.knows(&known_as, &lacks) => {
                applied.ignored.extend(told(&lacks, kind, name));
                continue;
            }
            Some(_) => "Corrected",
        };
        let (patch, parameters) = match (kind.kind, found) {
            ("Job", Some(_)) => (Patch::Merge(changeable(kind, object)), PatchParams::default()),
            ("StatefulSet", Some(found)) => {
                (Patch::Apply(with_size_of(found, object)), PatchParams::apply(MANAGER).force())
            }
            _ => (Patch::Apply(object.clone()), PatchParams::apply(MANAGER).force()),
        };
        let answer = match call("applying", kind, name, api.patch(name, &parameters, &patch)).await {
            Err(error) if error.is_refusal() => {
                applied.refuse(&error);
                continue;
            }
            answer => answer?,
        };
        applied.written.push(Written { verb, object: format!("{} {name}", kind.kind) });
        let lacks = missing(&Live { kind, object: answer }, object);
        ignored.note(&known_as, &lacks);
        applied.ignored.extend(told(&lacks, kind, name));
    }
    Ok(())
}

/// Fields of an object that the API server does not keep, in words: the first, which the others lie beside.
fn told(fields: &[String], kind: Kind, name: &str) -> Option<String> {
    fields.first().map(|field| format!("{field} of {} {name}", kind.kind))
}

/// Where a live object is not as it shall be; where applying would change nothing, nowhere.
pub fn missing(live: &Live, object: &Value) -> Vec<String> {
    let json = live.json();
    let mut found = differences(&json, &changeable(live.kind, object));
    // A Job that is there is merged, not applied.
    if live.kind.kind != "Job" {
        found.extend(abandoned(&json, object));
        found.extend(added_to_selectors(&json, object));
    }
    found
}

/// What of an object can be changed after it was made.
fn changeable(kind: Kind, object: &Value) -> Value {
    match kind.kind {
        // The template of a Job cannot change; of one that is there only whether it runs.
        "Job" => json!({"spec": {"suspend": object["spec"]["suspend"]}}),
        // The API server fills in templates of claims, which cannot change.
        "StatefulSet" => {
            let mut object = object.clone();
            if let Some(spec) = object["spec"].as_object_mut() {
                spec.remove("volumeClaimTemplates");
            }
            object
        }
        _ => object.clone(),
    }
}

/// A StatefulSet with disks of the size that the live one has: any other is refused with all that is changed beside it.
fn with_size_of(live: &Live, object: &Value) -> Value {
    let mut object = object.clone();
    if let Some((size, known)) =
        object.pointer_mut(TEMPLATE_SIZE).zip(live.object.data.pointer(TEMPLATE_SIZE))
    {
        size.clone_from(known);
    }
    object
}

/// Deletes what the index has and shall not have, and notes in `applied` what was deleted.
///
/// # Errors
/// [`ApplyError`].
pub async fn prune(
    client: &Client,
    index: &ValidatedIndex,
    desired: &[Value],
    live: &[Live],
    applied: &mut Applied,
) -> Result<(), ApplyError> {
    for found in live.iter().filter(|found| found.kind.is_made() && is_owned(found, index)) {
        let name = found.name();
        if desired.iter().any(|object| found.is(object)) || found.object.metadata.deletion_timestamp.is_some()
        {
            continue;
        }
        delete(client, index, found, DeleteParams::background()).await?;
        applied.written.push(Written { verb: "Deleted", object: format!("{} {name}", found.kind.kind) });
    }
    Ok(())
}

/// Deletes only the object that was looked at, should another of its name be there by now; one that is gone already is no error.
///
/// # Errors
/// [`ApplyError::Call`], with 409 where there is another.
pub(super) async fn delete(
    client: &Client,
    index: &ValidatedIndex,
    found: &Live,
    parameters: DeleteParams,
) -> Result<(), ApplyError> {
    let name = found.name();
    let api = found.kind.objects(client, &index.namespace);
    let exactly = Preconditions { uid: found.object.metadata.uid.clone(), resource_version: None };
    let parameters = parameters.preconditions(exactly);
    match call("deleting", found.kind, name, api.delete(name, &parameters)).await {
        Err(error) if error.code() == Some(404) => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Whether an object belongs to this very resource.
pub fn is_owned(live: &Live, index: &ValidatedIndex) -> bool {
    let owners = live.object.metadata.owner_references.iter().flatten();
    owners.into_iter().any(|owner| owner.uid == index.uid)
}

/// One call for an object, bounded.
///
/// # Errors
/// [`ApplyError::Call`].
pub(super) async fn call<T>(
    action: &'static str,
    kind: Kind,
    name: &str,
    work: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApplyError> {
    let failed = |source| ApplyError::Call { action, kind: kind.kind, name: name.to_owned(), source };
    bounded(work).await.map_err(failed)
}
