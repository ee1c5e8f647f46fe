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

    /// Whether the API server finds wrong what it was sent, or a rule of the cluster forbids it: sent again, it would be refused again. What
    /// does not fit its types it refuses with 500, and webhooks and quotas with 403 as a missing right, so that their words tell.
    pub fn is_refusal(&self) -> bool {
        let Self::Refuse(error) = self else { return false };
        let kube::Error::Api(status) = &**error else { return false };
        let says = |words: &[&str]| words.iter().any(|words| status.message.contains(words));
        match status.code {
            400 | 413 | 422 => true,
            403 => says(&["denied the request", "exceeded quota"]),
            500 => says(&["failed to create typed patch object"]),
            _ => false,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_refused_again_is_told_from_what_may_go_well_the_next_time() {
        let refused = |code, message: &str| {
            let status = kube::core::Status { code, message: message.to_owned(), ..Default::default() };
            CallError::Refuse(Box::new(kube::Error::Api(Box::new(status)))).is_refusal()
        };
        let typed = "failed to create typed patch object (imaging/radiology-gateway; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema";
        for (code, message) in [
            (
                422,
                "Deployment.apps \"radiology-gateway\" is invalid: spec.template.spec.nodeSelector: Invalid value",
            ),
            (400, "the object provided is unrecognized"),
            (500, typed),
            (403, "admission webhook \"validation.gatekeeper.sh\" denied the request: no host network"),
            (403, "services \"radiology-gateway\" is forbidden: exceeded quota: team, requested: services=1"),
        ] {
            assert!(refused(code, message), "{code} {message}");
        }
        for (code, message) in [
            (
                403,
                "deployments.apps is forbidden: User \"system:serviceaccount:medindex\" cannot patch resource",
            ),
            (409, "the object has been modified"),
            (500, "etcdserver: request timed out"),
            (503, "the server is currently unable to handle the request"),
        ] {
            assert!(!refused(code, message), "{code} {message}");
        }
        assert!(!CallError::TimeOut.is_refusal());
    }
}
