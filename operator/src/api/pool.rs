//! The nodes that a workload runs on.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::patterns::{LABEL_NAME, LABEL_VALUE};

/// A pool of nodes, and how pods spread over it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodePool {
    /// Labels that nodes of the pool have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = 16,
        "additionalProperties" = {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE}
    ))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of the pool that pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// Node labels over whose values pods are spread evenly, such as `topology.kubernetes.io/zone`; `kubernetes.io/hostname` when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(min = 1, max = 317), regex(pattern = LABEL_NAME)))]
    pub spread_over: Vec<String>,
    /// GPUs for each pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuSpec>,
}

/// GPUs for each pod, as the device plugin names them.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!has(self.migProfile) || !has(self.resourceName)")
    .message("give migProfile or resourceName: a MIG profile is a resource name of its own (nvidia.com/mig-<profile>)"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GpuSpec {
    /// How many.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 64))]
    pub count: i32,
    /// Extended resource that stands for a GPU; `nvidia.com/gpu` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 317),
        regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub resource_name: Option<String>,
    /// MIG slice, such as `1g.10gb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[1-7]g\.[0-9]{1,3}gb(\.me)?$"))]
    pub mig_profile: Option<String>,
}

impl GpuSpec {
    /// The extended resource that pods ask for.
    pub fn resource(&self) -> String {
        match (&self.mig_profile, &self.resource_name) {
            (Some(profile), _) => format!("nvidia.com/mig-{profile}"),
            (None, Some(name)) => name.clone(),
            (None, None) => "nvidia.com/gpu".to_owned(),
        }
    }
}

fn one() -> i32 {
    1
}
