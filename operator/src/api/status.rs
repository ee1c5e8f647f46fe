//! What the operator tells of an index.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Types of conditions. Each has a status, a reason in one word and a message that says what to do.
pub mod condition_types {
    /// Everything below is well: images are accepted and found.
    pub const READY: &str = "Ready";
    /// The operator is changing something.
    pub const RECONCILING: &str = "Reconciling";
    /// Nothing will change until a person does something; the message says what.
    pub const STALLED: &str = "Stalled";
    /// The topics are as wanted.
    pub const TOPICS_READY: &str = "TopicsReady";
    /// The tables are as wanted.
    pub const TABLE_READY: &str = "TableReady";
    /// A generation answers, or search is exact because there are few images.
    pub const QUANTIZER_READY: &str = "QuantizerReady";
    /// Enough embedders are ready.
    pub const EMBEDDER_READY: &str = "EmbedderReady";
    /// All replicas of all shards are ready.
    pub const SEARCH_READY: &str = "SearchReady";
    /// Enough gateways are ready.
    pub const GATEWAY_READY: &str = "GatewayReady";
    /// It works, with less than was asked for.
    pub const DEGRADED: &str = "Degraded";

    /// All of them, in the order in which they are shown.
    pub const ALL: [&str; 10] = [
        READY,
        RECONCILING,
        STALLED,
        TOPICS_READY,
        TABLE_READY,
        EMBEDDER_READY,
        SEARCH_READY,
        GATEWAY_READY,
        QUANTIZER_READY,
        DEGRADED,
    ];
}

/// How an index is.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MedicalImageIndexStatus {
    /// The generation of the resource that this tells of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One entry for each type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// How many images there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<ImageCounts>,
    /// The generation that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<GenerationStatus>,
    /// Where the index is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// Embedders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedder: Option<WorkloadReplicas>,
    /// Search: copies of every shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<WorkloadReplicas>,
    /// Gateways.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<WorkloadReplicas>,
    /// Imports by name: `Running`, `Complete` or `Failed`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub imports: BTreeMap<String, String>,
}

/// How many images there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageCounts {
    /// Accepted.
    pub stored: i64,
    /// Searchable.
    pub indexed: i64,
    /// Accepted and not searchable yet.
    pub lag: i64,
}

/// The generation that answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GenerationStatus {
    /// Its number; 0 while search is exact.
    pub number: i64,
    /// Measured recall@10, as text with four digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall: Option<String>,
    /// The generation before it, to which one can go back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<i64>,
}

/// Where the index is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// The gateway, from outside where there is an Ingress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
}

/// Pods of a workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadReplicas {
    /// There are.
    pub replicas: i32,
    /// Of them ready.
    pub ready: i32,
    /// Label selector of the pods, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}
