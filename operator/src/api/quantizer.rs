//! How vectors become codes, and when that is learned anew.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of a generation, and the policy by which new ones are made.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("!has(self.subQuantizers) || self.bits == 8 || self.subQuantizers % 2 == 0")
        .message("spec.quantizer.subQuantizers must be even with 4 bits, because two codes share a byte")
        .field_path(".subQuantizers"),
    validation = Rule::new("!has(self.lists) || (self.lists <= self.trainingSample && self.lists <= self.retrain.firstAtImages)")
        .message("spec.quantizer.lists must exceed neither trainingSample nor retrain.firstAtImages: a list wants a vector to begin with")
        .field_path(".lists")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuantizerSpec {
    /// Coarse lists; about four times the square root of the number of images when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_048_576))]
    pub lists: Option<i32>,
    /// Sub-quantizers of a code: parts that a vector is cut into, each with a code of its own; 64 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub sub_quantizers: Option<i32>,
    /// Bits of a sub-quantizer's code: 4 scans fastest, 8 is more exact.
    #[serde(default = "default_bits")]
    #[x_kube(validation = Rule::new("self == 4 || self == 8").message("spec.quantizer.bits is 4 or 8"))]
    pub bits: i32,
    /// Vectors that a training learns from.
    #[serde(default = "default_sample")]
    #[schemars(range(min = 256, max = 10_000_000))]
    pub training_sample: i32,
    /// Share of the true nearest ten, in percent, that a new generation must find on held-out queries before it answers.
    #[serde(default = "default_recall_gate")]
    #[schemars(range(min = 0, max = 100))]
    pub recall_gate_percent: i32,
    /// When a new generation is trained.
    #[serde(default)]
    pub retrain: RetrainPolicy,
    /// Answers with the generation before the current one while it is set; the number must be that generation's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 999_999))]
    pub rollback_to: Option<i64>,
}

/// When a new generation is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetrainPolicy {
    /// Images before the first training; until then search is exact.
    #[serde(default = "default_first")]
    #[schemars(range(min = 1000, max = 1_000_000_000))]
    pub first_at_images: i64,
    /// Growth since the last training, in percent, that brings the next one; never by itself when 0.
    #[serde(default = "default_growth")]
    #[schemars(range(min = 0, max = 10000))]
    pub growth_percent: i32,
}

impl Default for QuantizerSpec {
    fn default() -> Self {
        Self {
            lists: None,
            sub_quantizers: None,
            bits: default_bits(),
            training_sample: default_sample(),
            recall_gate_percent: default_recall_gate(),
            retrain: RetrainPolicy::default(),
            rollback_to: None,
        }
    }
}

impl Default for RetrainPolicy {
    fn default() -> Self {
        Self { first_at_images: default_first(), growth_percent: default_growth() }
    }
}

fn default_bits() -> i32 {
    4
}

fn default_sample() -> i32 {
    65_536
}

fn default_recall_gate() -> i32 {
    90
}

fn default_first() -> i64 {
    10_000
}

fn default_growth() -> i32 {
    100
}
