//! The workloads that serve: embedders, search and gateways, with their Services, accounts and disruption budgets.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment, StatefulSet,
    StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
};
use k8s_openapi::api::core::v1::{
    EnvVar, EnvVarSource, ObjectFieldSelector, PersistentVolumeClaim, PersistentVolumeClaimSpec, Service,
    ServiceAccount, ServicePort, ServiceSpec, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::meta::{component_meta, object_meta, selector};
use super::pod::{Program, device, model, template, variable};
use super::settings::Settings;
use super::{Surroundings, fewest_pods};
use crate::api::Rollout;
use crate::names::{Component, object_name, selector_labels};
use crate::validate::ValidatedIndex;

/// Port of the gateway's HTTP API.
pub(super) const GATEWAY_PORT: i32 = 8_080;
/// Port of the embedder's gRPC service.
pub(super) const EMBEDDER_PORT: i32 = 7_100;
/// Port of the search shards' gRPC service.
pub(super) const SEARCH_PORT: i32 = 7_000;

/// How long a gateway goes on serving, in seconds, after Kubernetes began to take it away: meanwhile nodes learn that it goes, and connections that they
/// still send to it are not refused.
const GATEWAY_LINGER_SECONDS: i64 = 5;
/// The same of embedders and shards: long enough that most clusters' DNS leaves them out before they end, and gateways ask others; short enough for single
/// ones, whose absence it makes longer.
const FOUND_BY_DNS_LINGER_SECONDS: i64 = 10;
/// How long an embedder or shard has to be ready, in seconds, before the next one is taken away. Gateways find them by DNS, which a cluster commonly
/// remembers for 30 seconds, in the server or in a cache on each node, and look every second.
const KNOWN_TO_GATEWAYS_SECONDS: i32 = 32;

/// Embedders.
pub(super) fn embedder(
    index: &ValidatedIndex,
    settings: &Settings,
    surroundings: &Surroundings,
) -> Deployment {
    let (volume, mount) = model(index);
    let spec = &index.spec.embedder;
    let program = Program {
        variables: vec![
            variable("LISTEN", format!("0.0.0.0:{EMBEDDER_PORT}")),
            variable("MODEL_BATCH", index.spec.embedding.batch.to_string()),
            device(index),
        ],
        ports: vec![("grpc", EMBEDDER_PORT)],
        volumes: vec![volume],
        mounts: vec![mount],
        serves: true,
        linger_seconds: FOUND_BY_DNS_LINGER_SECONDS,
    };
    let fixed = spec.autoscaling.is_none().then_some(spec.replicas);
    let replicas = replicas(index, surroundings, Component::Embedder, fixed);
    let pods = template(index, Component::Embedder, &spec.workload, settings, program);
    deployment(index, Component::Embedder, replicas, spec.rollout, pods)
}

/// Gateways.
pub(super) fn gateway(
    index: &ValidatedIndex,
    settings: &Settings,
    surroundings: &Surroundings,
) -> Deployment {
    let spec = &index.spec.gateway;
    let mut variables = vec![
        variable("LISTEN", format!("0.0.0.0:{GATEWAY_PORT}")),
        variable("SEARCH", address(index, Component::Search, SEARCH_PORT)),
        variable("EMBEDDERS", address(index, Component::Embedder, EMBEDDER_PORT)),
    ];
    let mut hosts = vec![gateway_host(index), object_name(&index.name, Component::Gateway)];
    hosts.extend(spec.ingress.as_ref().map(|ingress| ingress.host.clone()));
    hosts.extend(spec.service.hosts.iter().cloned());
    variables.push(variable("ALLOW_HOST", hosts.join(",")));
    let program = Program {
        variables,
        ports: vec![("http", GATEWAY_PORT)],
        serves: true,
        linger_seconds: GATEWAY_LINGER_SECONDS,
        ..Program::default()
    };
    let fixed = spec.autoscaling.is_none().then_some(spec.replicas);
    let replicas = replicas(index, surroundings, Component::Gateway, fixed);
    let pods = template(index, Component::Gateway, &spec.workload, settings, program);
    deployment(index, Component::Gateway, replicas, spec.rollout, pods)
}

/// Search: pod N holds shard N modulo the shards, so that all first replicas come before all second ones.
pub(super) fn search(index: &ValidatedIndex, settings: &Settings) -> StatefulSet {
    let spec = &index.spec.search;
    let ordinal = EnvVar {
        name: "MEDINDEX_ORDINAL".to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: "metadata.name".to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let program = Program {
        variables: vec![
            variable("LISTEN", format!("0.0.0.0:{SEARCH_PORT}")),
            variable("SHARDS", spec.shards.to_string()),
            ordinal,
        ],
        ports: vec![("grpc", SEARCH_PORT)],
        mounts: vec![VolumeMount {
            name: "data".to_owned(),
            mount_path: "/data".to_owned(),
            ..VolumeMount::default()
        }],
        serves: true,
        linger_seconds: FOUND_BY_DNS_LINGER_SECONDS,
        ..Program::default()
    };
    let claim = PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some("data".to_owned()),
            labels: Some(selector_labels(&index.name, Component::Search)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), spec.disk.clone())].into()),
                limits: None,
            }),
            storage_class_name: spec.storage_class.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    };
    StatefulSet {
        metadata: component_meta(index, Component::Search),
        spec: Some(StatefulSetSpec {
            service_name: Some(object_name(&index.name, Component::Search)),
            replicas: Some(index.search_pods()),
            selector: selector(index, Component::Search),
            template: template(index, Component::Search, &spec.workload, settings, program),
            // Shards know nothing of each other, and load for a long time.
            pod_management_policy: Some("Parallel".to_owned()),
            // Without a second replica nobody answers for the shard meanwhile, and waiting would only make it longer.
            min_ready_seconds: (spec.replicas > 1).then_some(KNOWN_TO_GATEWAYS_SECONDS),
            volume_claim_templates: Some(vec![claim]),
            // What is on the disks can be loaded again from published segments.
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some("Delete".to_owned()),
                when_scaled: Some("Delete".to_owned()),
            }),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

/// The Service of a component: headless for those whose pods gateways find one by one.
pub(super) fn service(index: &ValidatedIndex, component: Component) -> Service {
    let (name, port, headless) = match component {
        Component::Search => ("grpc", SEARCH_PORT, true),
        Component::Embedder => ("grpc", EMBEDDER_PORT, true),
        _ => ("http", GATEWAY_PORT, false),
    };
    // Shards and embedders are for gateways alone.
    let wanted = Some(&index.spec.gateway.service).filter(|_| !headless);
    let annotations =
        wanted.map(|wanted| wanted.annotations.clone()).filter(|annotations| !annotations.is_empty());
    Service {
        metadata: ObjectMeta { annotations, ..component_meta(index, component) },
        spec: Some(ServiceSpec {
            type_: wanted.map(|wanted| wanted.kind.name().to_owned()),
            selector: Some(selector_labels(&index.name, component)),
            cluster_ip: headless.then(|| "None".to_owned()),
            ports: Some(vec![ServicePort {
                name: Some(name.to_owned()),
                port: if headless { port } else { 80 },
                target_port: Some(IntOrString::String(name.to_owned())),
                protocol: Some("TCP".to_owned()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// An account without any right, so that no pod runs as the namespace's default one.
pub(super) fn account(index: &ValidatedIndex, component: Component) -> ServiceAccount {
    ServiceAccount {
        metadata: component_meta(index, component),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// One pod of a component may be away for a node's maintenance. None where there is only one: it would keep nodes from being emptied for ever.
pub(super) fn disruption_budget(
    index: &ValidatedIndex,
    component: Component,
    pods: i32,
) -> Option<PodDisruptionBudget> {
    (pods > 1).then(|| PodDisruptionBudget {
        metadata: component_meta(index, component),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(index, component)),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}

/// Where a component is reached inside the cluster.
fn address(index: &ValidatedIndex, component: Component, port: i32) -> String {
    format!("{}.{}.svc:{port}", object_name(&index.name, component), index.namespace)
}

/// Host name of the gateway's Service.
pub(crate) fn gateway_host(index: &ValidatedIndex) -> String {
    format!("{}.{}.svc", object_name(&index.name, Component::Gateway), index.namespace)
}

/// No pods while the index is suspended; else the `fixed` number, or under an autoscaler what is held until it decides: `None` once it has.
fn replicas(
    index: &ValidatedIndex,
    surroundings: &Surroundings,
    component: Component,
    fixed: Option<i32>,
) -> Option<i32> {
    if index.spec.suspend {
        return Some(0);
    }
    fixed.or_else(|| surroundings.replicas.get(&component).copied())
}

fn deployment(
    index: &ValidatedIndex,
    component: Component,
    replicas: Option<i32>,
    rollout: Option<Rollout>,
    template: k8s_openapi::api::core::v1::PodTemplateSpec,
) -> Deployment {
    let metadata =
        object_meta(index, object_name(&index.name, component), selector_labels(&index.name, component));
    let rollout = rollout.unwrap_or_else(|| default_rollout(index, component));
    let has_spare = rollout.max_surge > 0 || fewest_pods(index, component) > 1;
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas,
            selector: selector(index, component),
            template,
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(rollout.max_surge)),
                    max_unavailable: Some(IntOrString::Int(rollout.max_unavailable)),
                }),
            }),
            progress_deadline_seconds: Some(600),
            min_ready_seconds: (component == Component::Embedder && has_spare)
                .then_some(KNOWN_TO_GATEWAYS_SECONDS),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// Pods that hold a GPU cannot have a twin beside them while they are replaced: there may be no GPU left for it.
fn default_rollout(index: &ValidatedIndex, component: Component) -> Rollout {
    let holds_gpu = index.workload(component).is_some_and(|workload| workload.node_pool.gpu.is_some());
    let (max_surge, max_unavailable) = if holds_gpu { (0, 1) } else { (1, 0) };
    Rollout { max_surge, max_unavailable }
}
