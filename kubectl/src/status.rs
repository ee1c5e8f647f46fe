//! `status`: reads what a tree is made of.

use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use medindex_operator::api::MedicalImageIndex;
use medindex_operator::reconcile::call::bounded;
use medindex_operator::reconcile::dereference::dereference;

use crate::access::Access;
use crate::error::PluginError;
use crate::tree::{Shown, tree};

/// The trees of one index, or of all in the namespace, or of all.
///
/// # Errors
/// [`PluginError`].
pub async fn status(
    access: &Access,
    name: Option<&str>,
    everywhere: bool,
) -> Result<Vec<String>, PluginError> {
    let indexes = match name {
        Some(name) => vec![access.index(name).await?],
        None => list(access, everywhere).await?,
    };
    if indexes.is_empty() {
        let place =
            if everywhere { "the cluster".to_owned() } else { format!("namespace {}", access.namespace) };
        return Ok(vec![format!("there is no MedicalImageIndex in {place}")]);
    }
    let mut lines = Vec::new();
    for index in indexes {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let (namespace, name) = (index.namespace().unwrap_or_default(), index.name_any());
        let found = dereference(&access.client, &namespace, &name).await?;
        let events = events(access, &namespace, &name).await;
        lines.extend(tree(&Shown { index: &index, live: &found.live, events: &events }));
    }
    Ok(lines)
}

async fn list(access: &Access, everywhere: bool) -> Result<Vec<MedicalImageIndex>, PluginError> {
    let api = if everywhere { Api::all(access.client.clone()) } else { access.indexes() };
    let listed = bounded(api.list(&ListParams::default())).await;
    Ok(listed.map_err(PluginError::call("listing MedicalImageIndexes"))?.items)
}

/// Events of an index itself; none where they may not be read.
pub(crate) async fn events(access: &Access, namespace: &str, name: &str) -> Vec<Event> {
    let api: Api<Event> = Api::namespaced(access.client.clone(), namespace);
    let selector = format!("involvedObject.kind=MedicalImageIndex,involvedObject.name={name}");
    let listed = bounded(api.list(&ListParams::default().fields(&selector))).await;
    listed.map(|listed| listed.items).unwrap_or_default()
}
