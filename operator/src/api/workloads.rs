//! The workloads: how many, how large, where.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::patterns::{IMAGE, OBJECT_NAME};
use super::pool::NodePool;

/// What every workload has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSpec {
    /// Container image; the operator's release names one when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE))]
    pub image: Option<String>,
    /// What each pod asks the scheduler for, as in a container's `resources.requests`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub requests: BTreeMap<String, Quantity>,
    /// What each pod may not exceed, as in a container's `resources.limits`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub limits: BTreeMap<String, Quantity>,
    /// The nodes that it runs on.
    #[serde(default)]
    pub node_pool: NodePool,
    /// Merged over the pod template that the operator builds (a strategic merge patch), for what has no field of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub pod_overrides: Option<Value>,
}

/// Scaling by an autoscaler; the operator then leaves the number of replicas alone.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas").message("minReplicas must not exceed maxReplicas"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscaling {
    /// Never fewer.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// Never more.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// Processor use in percent of the requests that is aimed at.
    #[serde(default = "default_cpu")]
    #[schemars(range(min = 1, max = 100))]
    pub cpu_percent: i32,
    /// Waiting uploads for each embedder that are aimed at, where KEDA is installed; embedders only.
    #[serde(default = "default_lag")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub lag_per_replica: i32,
}

/// How pods make way for new ones when their image, settings or resources change.
#[derive(KubeSchema, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.maxSurge > 0 || self.maxUnavailable > 0")
    .message("maxSurge and maxUnavailable must not both be 0: no pod could ever be replaced"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// So many pods more than wanted while pods are replaced; 0 where the nodes have no room for them.
    #[schemars(range(min = 0, max = 1000))]
    pub max_surge: i32,
    /// So many pods fewer than wanted that answer while pods are replaced; with 0 a new pod has to be ready before an old one goes.
    #[schemars(range(min = 0, max = 1000))]
    pub max_unavailable: i32,
}

/// What makes vectors of uploads and of query images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmbedderSpec {
    /// Pods. More than there are partitions help queries only.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// Leaves the number of pods to an autoscaler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// How pods make way for new ones; left out: a new one first, and where each holds a GPU an old one goes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// What every workload has.
    #[serde(flatten)]
    pub workload: WorkloadSpec,
}

/// What searches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SearchSpec {
    /// Parts that the index is cut into, each in memory of one pod; at most as many as partitions.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub shards: i32,
    /// Copies of every shard: the `/scale` subresource sets this.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: i32,
    /// Disk of each pod for its part of the index. It can grow, where its storage class allows that: the pods keep running.
    #[serde(default = "default_disk")]
    #[schemars(extend("pattern" = SIZE))]
    pub disk: Quantity,
    /// Storage class of that disk; the cluster's own when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub storage_class: Option<String>,
    /// What every workload has.
    #[serde(flatten)]
    pub workload: WorkloadSpec,
}

/// What users and programs talk to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Pods.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// Leaves the number of pods to an autoscaler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// How pods make way for new ones; left out: a new one first, and where each holds a GPU an old one goes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// How its Service is made: inside the cluster only when left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub service: ServiceSettings,
    /// Makes an Ingress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressSpec>,
    /// What every workload has.
    #[serde(flatten)]
    pub workload: WorkloadSpec,
}

/// The gateway's Service, for clusters that reach services without an Ingress. It speaks plain HTTP.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.type == 'ClusterIP' || (has(self.hosts) && size(self.hosts) > 0)")
    .message("spec.gateway.service.hosts must name what clients outside the cluster call the gateway: it answers to hosts that it knows")
    .field_path(".hosts"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSettings {
    /// From where it is reached.
    #[serde(default, rename = "type")]
    pub kind: ServiceKind,
    /// Host names and IPv4 addresses by which clients reach it from outside, such as a name that DNS has for the load balancer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253), regex(pattern = OBJECT_NAME)))]
    pub hosts: Vec<String>,
    /// Annotations, such as those by which a cloud makes its load balancer an internal one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 16384}))]
    pub annotations: BTreeMap<String, String>,
}

/// Kinds of Services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceKind {
    /// From inside the cluster.
    #[default]
    ClusterIP,
    /// By a port of every node, which Kubernetes chooses.
    NodePort,
    /// By a load balancer of the cluster's surroundings.
    LoadBalancer,
}

impl ServiceKind {
    /// As Kubernetes writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How the gateway is reached from outside the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IngressSpec {
    /// Host name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub host: String,
    /// Ingress class; the cluster's own when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub class: Option<String>,
    /// Secret of type `kubernetes.io/tls` for the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub tls_secret: Option<String>,
    /// Annotations, such as those by which its controller takes large uploads or has a certificate made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 16384}))]
    pub annotations: BTreeMap<String, String>,
}

/// The jobs that train generations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrainerSpec {
    /// What every workload has.
    #[serde(flatten)]
    pub workload: WorkloadSpec,
}

impl Default for EmbedderSpec {
    fn default() -> Self {
        Self { replicas: one(), autoscaling: None, rollout: None, workload: WorkloadSpec::default() }
    }
}

impl Default for SearchSpec {
    fn default() -> Self {
        Self {
            shards: one(),
            replicas: one(),
            disk: default_disk(),
            storage_class: None,
            workload: WorkloadSpec::default(),
        }
    }
}

impl Default for GatewaySpec {
    fn default() -> Self {
        Self {
            replicas: one(),
            autoscaling: None,
            rollout: None,
            service: ServiceSettings::default(),
            ingress: None,
            workload: WorkloadSpec::default(),
        }
    }
}

/// An object that the API server stores as it is.
fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

fn one() -> i32 {
    1
}

fn default_cpu() -> i32 {
    70
}

fn default_lag() -> i32 {
    200
}

/// An amount that is not negative, as in `500m`, `2`, `512Mi`, `1e3`.
const QUANTITY: &str = r"^[0-9]+(\.[0-9]*)?([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?$";

/// The same, more than nothing, and without units of less than a byte.
const SIZE: &str =
    r"^([0-9]*[1-9][0-9]*(\.[0-9]*)?|0+\.[0-9]*[1-9][0-9]*)([kMGTPE]|[KMGTPE]i|[eE][+]?[0-9]+)?$";

/// Without the two kilobytes of description that Kubernetes' own type brings into every field.
fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 8,
        "additionalProperties": {"x-kubernetes-int-or-string": true, "pattern": QUANTITY},
    })
}

fn default_disk() -> Quantity {
    Quantity("10Gi".to_owned())
}
