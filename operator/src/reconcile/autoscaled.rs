//! How many replicas an autoscaled component has until its autoscaler decides. Pure.
//!
//! Who applies `replicas` has them, and where nobody does the API server writes 1. So the operator holds on to what is there until the
//! autoscaler, or a person by `kubectl scale`, has set the field: then it lets go. Autoscalers leave alone what has no replicas, as a
//! suspended index does; such a component begins anew with the fewest.

use std::collections::BTreeMap;

use super::objects::Live;
use super::ownership::is_set_by_others;
use super::workload_state::workload;
use crate::names::Component;
use crate::validate::ValidatedIndex;

/// Replicas by component, for [`crate::build::Surroundings`].
pub fn replicas(index: &ValidatedIndex, live: &[Live]) -> BTreeMap<Component, i32> {
    let wanted = [
        (Component::Embedder, &index.spec.embedder.autoscaling),
        (Component::Gateway, &index.spec.gateway.autoscaling),
    ];
    wanted
        .into_iter()
        .filter_map(|(component, autoscaling)| {
            let bounds = autoscaling.as_ref()?;
            let json = workload(index, component, live).map(Live::json).unwrap_or_default();
            let now = json["spec"]["replicas"].as_i64().and_then(|number| i32::try_from(number).ok());
            let now = now.unwrap_or(0);
            let decided = now > 0 && is_set_by_others(&json, "/f:spec/f:replicas");
            let fewest = bounds.min_replicas;
            (!decided).then(|| (component, now.clamp(fewest, bounds.max_replicas.max(fewest))))
        })
        .collect()
}
