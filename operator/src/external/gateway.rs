//! How an index is, asked of its own gateway.

use serde::Deserialize;

use super::{CALL_WITHIN, ExternalError};

/// What the gateway tells; the fields of `GET /api/v1/status` that the operator reads.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct IndexStatus {
    /// SHA-256 of the model.
    #[serde(default)]
    pub model_digest: String,
    /// Images.
    pub images: Images,
    /// Uploads that wait to be embedded.
    pub upload_lag: i64,
    /// Changes that wait to be searchable.
    pub index_lag: i64,
    /// The index.
    pub index: Index,
    /// The last training.
    #[serde(default)]
    pub training: Option<Training>,
}

/// Images by where they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Images {
    /// Accepted, not searchable yet.
    pub received: i64,
    /// Searchable.
    pub indexed: i64,
    /// Given up.
    pub failed: i64,
}

/// The index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Index {
    /// Generation that answers; 0 while search is exact.
    pub generation: i64,
    /// The one before.
    #[serde(default)]
    pub previous_generation: Option<i64>,
}

/// The last training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub struct Training {
    /// Generation that it made.
    pub generation: i64,
    /// Whether it passed the gate.
    pub accepted: bool,
    /// Vectors that it saw.
    pub vectors: i64,
    /// Recall@10 on held-out queries.
    pub recall_at_10: f64,
}

#[derive(Debug, Deserialize)]
struct RolledBack {
    generation: i64,
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(CALL_WITHIN)).build().new_agent()
}

/// Asks for the status. Blocks.
pub(super) fn status(address: &str) -> Result<IndexStatus, ExternalError> {
    let failed = |reason: String| ExternalError::Gateway { address: address.to_owned(), reason };
    let mut answer =
        agent().get(format!("{address}/api/v1/status")).call().map_err(|error| failed(error.to_string()))?;
    let text = answer.body_mut().read_to_string().map_err(|error| failed(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
}

/// Goes back to this generation, which has to be the one before; does nothing where it answers already. Blocks.
pub(super) fn roll_back(address: &str, to: i64) -> Result<i64, ExternalError> {
    let failed = |reason: String| ExternalError::Gateway { address: address.to_owned(), reason };
    let mut answer = agent()
        .post(format!("{address}/api/v1/index/rollback?to={to}"))
        .send_empty()
        .map_err(|error| failed(error.to_string()))?;
    let text = answer.body_mut().read_to_string().map_err(|error| failed(error.to_string()))?;
    let answer: RolledBack = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    Ok(answer.generation)
}
