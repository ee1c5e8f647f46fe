//! Metadata that all objects have: the owner, so that they go with the resource, and the labels by which they are found.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::Resource as _;

use crate::api::MedicalImageIndex;
use crate::names::{Component, object_name, selector_labels};
use crate::validate::ValidatedIndex;

pub(super) fn object_meta(
    index: &ValidatedIndex,
    name: String,
    labels: BTreeMap<String, String>,
) -> ObjectMeta {
    let owner = OwnerReference {
        api_version: MedicalImageIndex::api_version(&()).into_owned(),
        kind: MedicalImageIndex::kind(&()).into_owned(),
        name: index.name.clone(),
        uid: index.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    ObjectMeta {
        name: Some(name),
        namespace: Some(index.namespace.clone()),
        labels: Some(labels),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    }
}

/// Metadata of the object of a component that bears its name.
pub(super) fn component_meta(index: &ValidatedIndex, component: Component) -> ObjectMeta {
    object_meta(index, object_name(&index.name, component), selector_labels(&index.name, component))
}

pub(super) fn selector(index: &ValidatedIndex, component: Component) -> LabelSelector {
    LabelSelector { match_labels: Some(selector_labels(&index.name, component)), ..LabelSelector::default() }
}
