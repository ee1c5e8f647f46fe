//! Larger disks for search pods.
//!
//! Kubernetes makes the disks of a StatefulSet's pods by a template of claims that cannot change. So where a resource asks for larger disks, the claims are
//! grown one by one, and then the StatefulSet is deleted without its pods and made anew with the larger template: it takes them over, and none restarts.
//!
//! Guarantees: everything else of the index is applied before; the StatefulSet is deleted only when all claims have the new size, and made anew in the same
//! reconcile, by the next operator should this one die; nothing is read or written where no disk is to grow. Failure mode: a storage class that cannot
//! grow disks, a quota or a claim that has no disk yet refuses, which is told; pods and StatefulSet go on as they are, and changes of other fields
//! reach them ([`super::apply`]). Assumption: nobody else has changed the pods' template, as `kubectl rollout restart` does: such a change is gone
//! with the old StatefulSet, and the pods are replaced, one by one. A disk never shrinks: admission refuses that.

use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::apply::{Applied, ApplyError, TEMPLATE_SIZE, Written, apply, call, delete, is_owned};
use super::ignored::Ignored;
use super::objects::{CLAIM, Live};
use crate::names::{Component, selector_labels, selector_text};
use crate::quantity;
use crate::validate::ValidatedIndex;

/// Where a claim says how large its disk is.
const CLAIM_SIZE: &str = "/spec/resources/requests/storage";
/// A deleted StatefulSet is waited for so long; one that takes longer is made anew by a later reconcile.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The size that the disks of a StatefulSet shall grow to, as `20Gi`; `None` where they shall not.
pub fn growth<'a>(live: &Live, desired: &'a Value) -> Option<&'a str> {
    let wanted = desired.pointer(TEMPLATE_SIZE)?.as_str()?;
    is_smaller(live.object.data.pointer(TEMPLATE_SIZE)?, wanted).then_some(wanted)
}

/// Whether a disk is smaller than it shall be, however the API server writes its size.
fn is_smaller(size: &Value, wanted: &str) -> bool {
    let size = size.as_str().and_then(quantity::parse);
    size.zip(quantity::parse(wanted)).is_some_and(|(size, wanted)| size < wanted)
}

/// Grows the disks of search pods where the index asks for larger ones, and notes in `applied` what was done.
///
/// # Errors
/// [`ApplyError`].
pub async fn grow(
    client: &Client,
    index: &ValidatedIndex,
    desired: &[Value],
    live: &[Live],
    ignored: &Ignored,
    applied: &mut Applied,
) -> Result<(), ApplyError> {
    let growing = desired.iter().find_map(|object| {
        let found = live.iter().find(|live| live.is(object) && is_owned(live, index))?;
        // One that is going already is made anew when it is gone.
        let stays = found.object.metadata.deletion_timestamp.is_none();
        growth(found, object).filter(|_| stays).map(|size| (found, object, size))
    });
    let Some((stateful_set, object, size)) = growing else { return Ok(()) };
    if !grow_claims(client, index, size, applied).await? {
        return Ok(());
    }
    if delete_alone(client, index, stateful_set, size, applied).await? {
        // One that was made meanwhile, for a pod that was added.
        grow_claims(client, index, size, applied).await?;
        apply(client, index, std::slice::from_ref(object), &[], ignored, applied).await?;
    }
    Ok(())
}

/// Deletes a StatefulSet and leaves its pods and their disks; whether it is gone, within a bound.
async fn delete_alone(
    client: &Client,
    index: &ValidatedIndex,
    stateful_set: &Live,
    size: &str,
    applied: &mut Applied,
) -> Result<bool, ApplyError> {
    let (kind, name) = (stateful_set.kind, stateful_set.name());
    match delete(client, index, stateful_set, DeleteParams::orphan()).await {
        // Another has its name: the list was old.
        Err(error) if error.code() == Some(409) => return Ok(false),
        outcome => outcome?,
    }
    let object = format!("{} {name} without its pods, to make it anew with disks of {size}", kind.kind);
    applied.written.push(Written { verb: "Deleted", object });
    let (api, begun) = (kind.objects(client, &index.namespace), Instant::now());
    while call("reading", kind, name, api.get_opt(name)).await?.is_some() {
        if begun.elapsed() > GONE_WITHIN {
            return Ok(false);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(true)
}

/// Asks for larger disks; whether all claims of search pods have the size now.
async fn grow_claims(
    client: &Client,
    index: &ValidatedIndex,
    size: &str,
    applied: &mut Applied,
) -> Result<bool, ApplyError> {
    let api = CLAIM.objects(client, &index.namespace);
    let of_search = selector_text(&selector_labels(&index.name, Component::Search));
    let parameters = ListParams::default().labels(&of_search);
    let claims = call("listing", CLAIM, "of search pods", api.list(&parameters)).await?;
    let mut all_have_it = true;
    for claim in claims {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        if !claim.data.pointer(CLAIM_SIZE).is_some_and(|found| is_smaller(found, size)) {
            continue;
        }
        let patch = Patch::Merge(json!({"spec": {"resources": {"requests": {"storage": size}}}}));
        match call("growing", CLAIM, name, api.patch(name, &PatchParams::default(), &patch)).await {
            // A class, a quota, a limit or a missing right.
            Err(error) if error.is_refusal() || error.code() == Some(403) => {
                applied.refuse(&error);
                all_have_it = false;
                continue;
            }
            outcome => drop(outcome?),
        }
        applied.written.push(Written { verb: "Grown", object: format!("{} {name} to {size}", CLAIM.kind) });
    }
    Ok(all_have_it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::objects::Kind;

    fn stateful_set(size: &str) -> Value {
        let claim = json!({"spec": {"resources": {"requests": {"storage": size}}}});
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {"volumeClaimTemplates": [claim]}})
    }

    #[test]
    fn disks_grow_where_more_is_wanted_than_the_template_has_however_it_is_written() {
        for (live, wanted, grows) in [
            ("10Gi", "20Gi", true),
            ("1024Mi", "1Gi", false),
            ("1Gi", "2000Mi", true),
            ("20Gi", "10Gi", false),
            // As the API server writes it.
            ("8300M", "8.3G", false),
        ] {
            let object = stateful_set(live);
            let kind = Kind::of(&object).unwrap();
            let live = Live { kind, object: serde_json::from_value(object).unwrap() };
            let wanted_set = stateful_set(wanted);
            assert_eq!(growth(&live, &wanted_set), grows.then_some(wanted));
        }
    }

    #[test]
    fn what_has_no_disks_does_not_grow() {
        let object =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {}});
        let live = Live {
            kind: Kind::of(&object).unwrap(),
            object: serde_json::from_value(object.clone()).unwrap(),
        };
        assert_eq!(growth(&live, &object), None);
    }
}
