//! Larger disks for search pods.
//!
//! Kubernetes makes the disks of a StatefulSet's pods by a template of claims that cannot change. So where a resource asks for larger disks, the claims are
//! grown one by one, and then the StatefulSet is deleted without its pods: made anew with the larger template ([`super::apply`], at the next reconcile), it
//! takes them over, and none of them restarts.
//!
//! Guarantees: the StatefulSet is deleted only when all claims have the new size, so that an operator that dies on the way leaves what the next one goes
//! on with; nothing is read or written where no disk is to grow. Failure mode: a storage class that cannot grow disks refuses the first claim, which is
//! told; pods and StatefulSet stay as they are. A disk never shrinks: admission refuses that.

use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::apply::{Applied, ApplyError, Written, call, is_owned};
use super::objects::{CLAIM, Live};
use crate::names::{Component, selector_labels, selector_text};
use crate::quantity;
use crate::validate::ValidatedIndex;

/// Where a StatefulSet says how large its disks are.
const TEMPLATE_SIZE: &str = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
/// Where a claim does.
const CLAIM_SIZE: &str = "/spec/resources/requests/storage";

/// The size that the disks of a StatefulSet shall grow to, as `20Gi`; `None` where they shall not.
pub fn growth<'a>(live: &Live, desired: &'a Value) -> Option<&'a str> {
    let wanted = desired.pointer(TEMPLATE_SIZE)?.as_str()?;
    is_smaller(live.object.data.pointer(TEMPLATE_SIZE)?, wanted).then_some(wanted)
}

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
    applied: &mut Applied,
) -> Result<(), ApplyError> {
    let growing = desired.iter().find_map(|object| {
        let found = live.iter().find(|live| live.is(object) && is_owned(live, index))?;
        // One that is going already is made anew when it is gone.
        let stays = found.object.metadata.deletion_timestamp.is_none();
        growth(found, object).filter(|_| stays).map(|size| (found, size))
    });
    let Some((stateful_set, size)) = growing else { return Ok(()) };
    if !grow_claims(client, index, size, applied).await? {
        return Ok(());
    }
    let (kind, name) = (stateful_set.kind, stateful_set.name());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &index.namespace, &kind.resource());
    let exactly = Preconditions { uid: stateful_set.object.metadata.uid.clone(), resource_version: None };
    let parameters = DeleteParams::orphan().preconditions(exactly);
    match call("deleting", kind, name, api.delete(name, &parameters)).await {
        Err(ApplyError::Call { source, .. }) if source.code() == Some(404) => {}
        outcome => drop(outcome?),
    }
    let object = format!("{} {name} without its pods, to make it anew with disks of {size}", kind.kind);
    applied.written.push(Written { verb: "Deleted", object });
    Ok(())
}

/// Asks for larger disks; whether all claims of search pods have the size now.
async fn grow_claims(
    client: &Client,
    index: &ValidatedIndex,
    size: &str,
    applied: &mut Applied,
) -> Result<bool, ApplyError> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &index.namespace, &CLAIM.resource());
    let of_search = selector_text(&selector_labels(&index.name, Component::Search));
    let parameters = ListParams::default().labels(&of_search);
    let claims = call("listing", CLAIM, "of search pods", api.list(&parameters)).await?;
    for claim in claims {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        if !claim.data.pointer(CLAIM_SIZE).is_some_and(|found| is_smaller(found, size)) {
            continue;
        }
        let patch = Patch::Merge(json!({"spec": {"resources": {"requests": {"storage": size}}}}));
        match call("growing", CLAIM, name, api.patch(name, &PatchParams::default(), &patch)).await {
            Err(error) if error.is_refusal() => {
                applied.refuse(&error);
                return Ok(false);
            }
            outcome => drop(outcome?),
        }
        applied.written.push(Written { verb: "Grown", object: format!("{} {name} to {size}", CLAIM.kind) });
    }
    Ok(true)
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
