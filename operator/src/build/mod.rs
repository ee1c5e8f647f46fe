//! From a validated resource to the Kubernetes objects that it stands for. Pure: no client, no clock, the same input gives the same objects.
//!
//! Objects come in the order in which they are applied: accounts and settings before the pods that need them.

mod edge;
mod jobs;
mod meta;
mod overrides;
mod pod;
mod settings;
mod workloads;

use std::collections::BTreeMap;

use k8s_openapi::Resource as KubernetesResource;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::Serialize;
use serde_json::Value;

pub use self::jobs::{import_name, training_name};
pub(crate) use self::pod::OPERATION_PORT;
pub(crate) use self::workloads::gateway_host;
use crate::names::Component;
use crate::validate::ValidatedIndex;

/// Components that serve all the time.
pub const SERVING: [Component; 3] = [Component::Embedder, Component::Search, Component::Gateway];

/// What the cluster has that is not part of Kubernetes, and what is going on in the index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The type `PodMonitor` of Prometheus' operator is there.
    pub pod_monitors: bool,
    /// The type `ScaledObject` of KEDA is there.
    pub scaled_objects: bool,
    /// The generation that has to be trained now; its Job is kept until another one is.
    pub training: Option<i64>,
    /// Replicas of autoscaled components that no autoscaler has set yet; where one has, they are its own.
    pub replicas: BTreeMap<Component, i32>,
}

/// Why an object cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// It has no form in JSON.
    #[error("cannot write an object of kind {kind} as JSON: {source}")]
    Write {
        /// Its kind.
        kind: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Pod overrides do not give a pod.
    #[error("spec.{component}.podOverrides: what comes out is no pod template: {source}")]
    Override {
        /// The component.
        component: Component,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Builds everything of an index.
///
/// # Errors
/// [`BuildError`].
pub fn build(index: &ValidatedIndex, surroundings: &Surroundings) -> Result<Vec<Value>, BuildError> {
    let settings = settings::settings(index);
    let mut objects = Objects::default();
    for component in
        [Component::Gateway, Component::Embedder, Component::Search, Component::Trainer, Component::Importer]
    {
        objects.add(&workloads::account(index, component))?;
    }
    objects.add(&settings::config_map(index, &settings))?;
    for component in SERVING {
        objects.add(&workloads::service(index, component))?;
        objects.add(&edge::network_policy(index, component))?;
        if let Some(budget) = workloads::disruption_budget(index, component, fewest_pods(index, component)) {
            objects.add(&budget)?;
        }
    }
    objects.add_workload(index, Component::Embedder, &workloads::embedder(index, &settings, surroundings))?;
    objects.add_workload(index, Component::Search, &workloads::search(index, &settings))?;
    objects.add_workload(index, Component::Gateway, &workloads::gateway(index, &settings, surroundings))?;
    if let Some(generation) = surroundings.training {
        objects.add(&edge::network_policy(index, Component::Trainer))?;
        objects.add_workload(index, Component::Trainer, &jobs::training(index, &settings, generation))?;
    }
    if !index.spec.imports.is_empty() {
        objects.add(&edge::network_policy(index, Component::Importer))?;
    }
    for import in &index.spec.imports {
        objects.add(&jobs::import(index, &settings, import))?;
    }
    add_edges(index, surroundings, &mut objects)?;
    Ok(objects.0)
}

fn add_edges(
    index: &ValidatedIndex,
    surroundings: &Surroundings,
    objects: &mut Objects,
) -> Result<(), BuildError> {
    if let Some(ingress) = edge::ingress(index) {
        objects.add(&ingress)?;
    }
    if let Some(wanted) = index.spec.embedder.autoscaling.as_ref().filter(|_| !index.spec.suspend) {
        if surroundings.scaled_objects {
            let authentication = edge::trigger_authentication(index);
            let scaled = edge::scaled_object(index, wanted, authentication.as_ref());
            objects.0.extend(authentication);
            objects.0.push(scaled);
        } else {
            objects.add(&edge::horizontal_autoscaler(index, Component::Embedder, wanted))?;
        }
    }
    if let Some(wanted) = index.spec.gateway.autoscaling.as_ref().filter(|_| !index.spec.suspend) {
        objects.add(&edge::horizontal_autoscaler(index, Component::Gateway, wanted))?;
    }
    if surroundings.pod_monitors {
        objects.0.push(edge::pod_monitor(index));
    }
    Ok(())
}

/// How many pods a component has at the least.
fn fewest_pods(index: &ValidatedIndex, component: Component) -> i32 {
    let spec = &index.spec;
    let (autoscaling, replicas) = match component {
        Component::Embedder => (&spec.embedder.autoscaling, spec.embedder.replicas),
        Component::Gateway => (&spec.gateway.autoscaling, spec.gateway.replicas),
        // One replica of every shard is no spare.
        _ => return if spec.search.replicas > 1 { index.search_pods() } else { 0 },
    };
    autoscaling.as_ref().map_or(replicas, |autoscaling| autoscaling.min_replicas)
}

/// Objects as JSON, each with its type.
#[derive(Debug, Default)]
struct Objects(Vec<Value>);

impl Objects {
    fn add<K: KubernetesResource + Serialize>(&mut self, object: &K) -> Result<(), BuildError> {
        self.0.push(json(object)?);
        Ok(())
    }

    /// Adds an object that has pods, with what the user wants otherwise in them.
    fn add_workload<K: KubernetesResource + Serialize>(
        &mut self,
        index: &ValidatedIndex,
        component: Component,
        object: &K,
    ) -> Result<(), BuildError> {
        let mut object = json(object)?;
        let overrides = index.workload(component).and_then(|workload| workload.pod_overrides.as_ref());
        if let Some(overrides) = overrides {
            let wrong = |source| BuildError::Override { component, source };
            let template = &mut object["spec"]["template"];
            overrides::merge(template, overrides);
            overrides::keep_one_handler(template);
            // What is no field of a pod template does not pass this.
            let typed: PodTemplateSpec = serde_json::from_value(template.take()).map_err(wrong)?;
            *template = serde_json::to_value(typed).map_err(wrong)?;
        }
        self.0.push(object);
        Ok(())
    }
}

/// Types of k8s-openapi write their apiVersion and kind themselves.
fn json<K: KubernetesResource + Serialize>(object: &K) -> Result<Value, BuildError> {
    serde_json::to_value(object).map_err(|source| BuildError::Write { kind: K::KIND, source })
}
