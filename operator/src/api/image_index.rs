//! The resource itself: its parts, its rules across parts, and how `kubectl get` shows it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backends::{CacheSpec, CatalogSpec, HbaseSpec, KafkaSpec};
use super::embedding::EmbeddingSpec;
use super::imports::ImportSpec;
use super::patterns::OBJECT_NAME;
use super::quantizer::QuantizerSpec;
use super::status::MedicalImageIndexStatus;
use super::workloads::{EmbedderSpec, GatewaySpec, SearchSpec, TrainerSpec};

/// What a user wants: one searchable index of images.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "medindex.dev",
    version = "v1alpha1",
    kind = "MedicalImageIndex",
    plural = "medicalimageindexes",
    shortname = "mii",
    category = "medindex",
    namespaced,
    status = "MedicalImageIndexStatus",
    derive = "PartialEq",
    cel,
    doc = "A searchable index of medical images: topics, a table and workloads. For research and teaching, not for diagnosis.",
    scale(
        spec_replicas_path = ".spec.search.replicas",
        status_replicas_path = ".status.search.replicas",
        label_selector_path = ".status.search.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Indexed", type_ = "integer", json_path = ".status.images.indexed"),
    printcolumn(name = "Lag", type_ = "integer", json_path = ".status.images.lag"),
    printcolumn(name = "Generation", type_ = "integer", json_path = ".status.generation.number"),
    printcolumn(name = "Recall", type_ = "string", json_path = ".status.generation.recall"),
    printcolumn(name = "Shards", type_ = "integer", json_path = ".spec.search.shards", priority = 1),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".spec.search.replicas", priority = 1),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.endpoints.gateway", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    // Names of topics, tables and Kubernetes objects are made from it.
    validation = Rule::new("size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name becomes part of the names of topics, tables and pods: use at most 40 lower-case letters, digits and hyphens, a letter first")
)]
#[x_kube(
    validation = Rule::new("self.search.shards <= self.kafka.partitions")
        .message("spec.search.shards must not exceed spec.kafka.partitions: a shard holds at least one partition")
        .field_path(".search.shards"),
    validation = Rule::new("self.search.disk == oldSelf.search.disk || oldSelf.search.disk == null || self.search.disk != null && quantity(string(self.search.disk)).compareTo(quantity(string(oldSelf.search.disk))) >= 0")
        .message("spec.search.disk can grow and never shrink, as the pods' disks: keep its size, or make a new index")
        .field_path(".search.disk"),
    validation = Rule::new("has(self.search.storageClass) == has(oldSelf.search.storageClass) && (!has(self.search.storageClass) || self.search.storageClass == oldSelf.search.storageClass)")
        .message("spec.search.storageClass cannot change: the pods' disks keep what they were made with; make a new index")
        .field_path(".search.storageClass"),
    validation = Rule::new("!has(self.embedder.autoscaling) || self.embedder.autoscaling.maxReplicas <= self.kafka.partitions")
        .message("spec.embedder.autoscaling.maxReplicas must not exceed spec.kafka.partitions: further embedders would get no partition of imageupload")
        .field_path(".embedder.autoscaling.maxReplicas"),
    validation = Rule::new("!has(self.embedder.autoscaling) || (has(self.embedder.requests) && 'cpu' in self.embedder.requests)")
        .message("spec.embedder.autoscaling aims at a part of the requested processors: ask for cpu in spec.embedder.requests")
        .field_path(".embedder.autoscaling"),
    validation = Rule::new("!has(self.gateway.autoscaling) || (has(self.gateway.requests) && 'cpu' in self.gateway.requests)")
        .message("spec.gateway.autoscaling aims at a part of the requested processors: ask for cpu in spec.gateway.requests")
        .field_path(".gateway.autoscaling")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MedicalImageIndexSpec {
    /// What becomes of topics and tables when this resource is deleted: `Retain` keeps them, `Delete` removes them with all images.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Stops the operator from changing anything for this index; its status is still kept.
    #[serde(default)]
    pub paused: bool,
    /// Scales every workload to zero and keeps all data.
    #[serde(default)]
    pub suspend: bool,
    /// Organisation that uploads belong to.
    #[serde(default = "default_organisation")]
    #[schemars(length(min = 1, max = 128))]
    pub organisation: String,
    /// Secrets of the namespace by which nodes sign in at the registries of the images, the model's too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(length(min = 1, max = 253), regex(pattern = OBJECT_NAME)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub image_pull_secrets: Vec<String>,
    /// The queue.
    pub kafka: KafkaSpec,
    /// The image store.
    pub hbase: HbaseSpec,
    /// The database of what is known of the images.
    pub catalog: CatalogSpec,
    /// The cache.
    pub cache: CacheSpec,
    /// The model that makes vectors of images.
    pub embedding: EmbeddingSpec,
    /// How vectors become codes, and when that is learned anew.
    #[serde(default)]
    pub quantizer: QuantizerSpec,
    /// What makes vectors of uploads and of query images.
    #[serde(default)]
    pub embedder: EmbedderSpec,
    /// What searches.
    #[serde(default)]
    pub search: SearchSpec,
    /// What users and programs talk to.
    #[serde(default)]
    pub gateway: GatewaySpec,
    /// The jobs that train.
    #[serde(default)]
    pub trainer: TrainerSpec,
    /// Data sets to import, each by a Job that goes on where it was cut off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub imports: Vec<ImportSpec>,
}

/// What becomes of data outside Kubernetes when the resource is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Topics, tables and catalog stay as they are.
    #[default]
    Retain,
    /// Topics and tables are removed.
    Delete,
}

fn default_organisation() -> String {
    "default".to_owned()
}

impl MedicalImageIndex {
    /// A condition of its status, by its type.
    pub fn condition(&self, name: &str) -> Option<&Condition> {
        self.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == name)
    }

    /// Name of the index in the backends: what its topics begin with, and its HBase namespace unless another is given.
    pub fn index_name(&self) -> &str {
        let named = self.spec.kafka.prefix.as_deref();
        named.or(self.metadata.name.as_deref()).unwrap_or_default()
    }

    /// HBase namespace of its tables.
    pub fn hbase_namespace(&self) -> String {
        self.spec.hbase.namespace.clone().unwrap_or_else(|| self.underscored())
    }

    /// Database of its catalog.
    pub fn database(&self) -> String {
        self.spec.catalog.database.clone().unwrap_or_else(|| self.underscored())
    }

    /// The index's name where hyphens are not taken.
    fn underscored(&self) -> String {
        self.index_name().replace('-', "_")
    }
}
