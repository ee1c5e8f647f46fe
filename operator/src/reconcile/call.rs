//! One call to the API server, bounded: its client would otherwise try again for minutes.

use std::time::Duration;

/// The longest that one call may take.
const WITHIN: Duration = Duration::from_secs(10);

/// Why there is no answer to use.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The API server refused, or cannot be reached.
    #[error(transparent)]
    Refuse(Box<kube::Error>),
    /// It took too long.
    #[error("the API server took longer than {} s", WITHIN.as_secs())]
    TimeOut,
}

impl CallError {
    /// The status of HTTP with which the API server refused.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refuse(error) => match &**error {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::TimeOut => None,
        }
    }

    /// Whether the API server finds wrong what it was sent: sent again, it would be refused again. Of what does not fit the types it says so
    /// with 500, by these words.
    pub fn is_refusal(&self) -> bool {
        let Self::Refuse(error) = self else { return false };
        let kube::Error::Api(status) = &**error else { return false };
        let untyped = status.message.contains("failed to create typed patch object")
            || status.message.contains("failed to create manager for existing fields");
        matches!(status.code, 400 | 422) || status.code == 500 && untyped
    }
}

/// Waits for the answer, within the bound.
///
/// # Errors
/// [`CallError`].
pub async fn bounded<T>(work: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    match tokio::time::timeout(WITHIN, work).await {
        Ok(answer) => answer.map_err(|error| CallError::Refuse(Box::new(error))),
        Err(_) => Err(CallError::TimeOut),
    }
}
