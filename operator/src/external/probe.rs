//! Why a program is not ready, asked of the probe that Kubernetes asks too.

use std::time::Duration;

use super::ExternalError;

/// Many pods may be asked in a reconcile, at the same time.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// So many characters of an answer are told.
const TOLD: usize = 400;

/// Asks the probe at `address`, `host:port`; `None` where the program is ready. Blocks.
pub(super) fn unreadiness(address: &str) -> Result<Option<String>, ExternalError> {
    let failed = |reason: String| ExternalError::Pod { address: address.to_owned(), reason };
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWERS_WITHIN))
        .http_status_as_error(false)
        .build()
        .new_agent();
    let answer = agent.get(format!("http://{address}/readyz")).call();
    let mut answer = answer.map_err(|error| failed(error.to_string()))?;
    if answer.status().is_success() {
        return Ok(None);
    }
    let text = answer.body_mut().read_to_string().map_err(|error| failed(error.to_string()))?;
    Ok(Some(text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(TOLD).collect()))
}
