//! Why a program is not ready, asked of the probe that Kubernetes asks too.

use std::time::Duration;

use super::ExternalError;
use super::kafka_refusals::without_time;

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
    Ok(Some(told(&text)))
}

/// An answer in one line. How far a program is, its counters, is left out: a condition that told it would be written again and again. What it waits for, with
/// the numbers of errors, stays the same.
fn told(answer: &str) -> String {
    let waits = answer.starts_with("waiting for ");
    let is_counter = |word: &str| {
        let digits = word.trim_end_matches(['%', ',', '.', ';', ':', ')']).trim_start_matches('(');
        !digits.is_empty() && digits.chars().all(|letter| letter.is_ascii_digit())
    };
    let answer = without_time(answer);
    let words = answer.split_whitespace().map(|word| if !waits && is_counter(word) { "…" } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(TOLD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_line_without_counters() {
        let catching_up = "10.0.0.7:7000: the index is catching up: 312 changes are left\n";
        assert_eq!(told(catching_up), "10.0.0.7:7000: the index is catching up: … changes are left");
        assert_eq!(told("loaded (12 of 90), 13%"), "loaded … of … …");
        let waiting = "waiting for the catalog: error 1044 (42000)";
        assert_eq!(told(waiting), waiting);
        let refused =
            "waiting for the queue: invalid credentials (after 312ms in state AUTH_REQ); check the files";
        assert_eq!(told(refused), "waiting for the queue: invalid credentials; check the files");
        let again = "waiting for the queue: invalid credentials (after 9ms in state AUTH_REQ, 2 identical error(s) suppressed); check the files";
        assert_eq!(told(again), told(refused));
        assert_eq!(told(&"word ".repeat(200)).len(), TOLD);
    }
}
