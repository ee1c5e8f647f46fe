//! What Kafka refuses, and what a person has to do then.
//!
//! Of a refused login or certificate the library's calls say no more than that no broker could be reached; why is told beside them, as errors of the
//! client, which are kept here.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::{ExternalError, KafkaAccess};

/// What to do where a setting is refused.
pub(super) const SETTINGS: &str = "mend spec.kafka.topicSettings";
/// What to do where a login or a certificate is refused.
const CREDENTIALS: &str = "mend spec.kafka.loginSecret or spec.kafka.tls, or what those Secrets hold";

/// Told what goes wrong beside the calls: the last refusal of who the client is.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals(Arc<Mutex<Option<String>>>);

impl Refusals {
    /// Why the client was not let in, and what to do.
    pub(super) fn latest(&self) -> Option<(String, &'static str)> {
        let reason = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some((reason, CREDENTIALS))
    }
}

impl ClientContext for Refusals {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason, "error");
        if error.rdkafka_error_code().is_some_and(|code| is_of_credentials(code, reason)) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Refusals {}

/// Whether broker or client refuses who the other says it is.
fn is_of_credentials(code: Code, reason: &str) -> bool {
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism => true,
        // A broker that dies during the handshake breaks it as well.
        Code::SSL => !reason.contains("isconnected") && !reason.contains("reset by peer"),
        // In TLS 1.3 the broker looks at the client's certificate after the handshake.
        Code::BrokerTransportFailure => reason.contains(" alert ") && reason.contains("certificate"),
        _ => false,
    }
}

/// A client that cannot be made: what the Secrets hold is no certificate, or no key.
pub(super) fn unusable(access: &KafkaAccess, error: &KafkaError) -> ExternalError {
    let (action, servers) = ("making a client".to_owned(), access.servers.clone());
    ExternalError::KafkaRefusal { action, servers, reason: error.to_string(), remedy: CREDENTIALS }
}

/// What to do about a request that a broker refused; `None` where trying again may be enough.
pub(super) fn remedy(code: Code) -> Option<&'static str> {
    match code {
        Code::InvalidConfig => Some(SETTINGS),
        Code::InvalidReplicationFactor => {
            Some("there are fewer brokers than spec.kafka.replication: lower it, or add brokers")
        }
        Code::InvalidPartitions => Some("mend spec.kafka.partitions"),
        Code::InvalidTopic => Some("mend spec.kafka.prefix"),
        Code::PolicyViolation => Some(
            "a policy of the brokers forbids it: change spec.kafka.topicSettings, partitions or replication, or the policy",
        ),
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => Some(
            "give the user of spec.kafka.loginSecret or of spec.kafka.tls the rights to describe, create, alter and delete these topics and their settings",
        ),
        Code::Authentication | Code::SaslAuthenticationFailed => Some(CREDENTIALS),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_refused_login_is_known_and_a_broker_that_is_away_is_none() {
        let refusals = Refusals::default();
        let away = "Connect to ipv4#10.0.0.1:9092 failed: Connection refused";
        refusals.error(KafkaError::Global(Code::BrokerTransportFailure), away);
        refusals.error(KafkaError::Global(Code::SSL), "SSL handshake failed: Disconnected");
        assert_eq!(refusals.latest(), None);
        refusals.error(KafkaError::Global(Code::Authentication), "invalid credentials");
        refusals.error(KafkaError::Global(Code::AllBrokersDown), "1/1 brokers are down");
        let (reason, remedy) = refusals.latest().unwrap();
        assert_eq!(reason, "invalid credentials");
        assert!(remedy.contains("spec.kafka.loginSecret"), "{remedy}");
    }

    #[test]
    fn every_refusal_of_a_request_names_a_field_and_what_may_pass_has_no_remedy() {
        for code in [
            Code::InvalidConfig,
            Code::InvalidReplicationFactor,
            Code::InvalidPartitions,
            Code::InvalidTopic,
            Code::PolicyViolation,
            Code::TopicAuthorizationFailed,
            Code::SaslAuthenticationFailed,
        ] {
            assert!(remedy(code).is_some_and(|remedy| remedy.contains("spec.kafka.")), "{code}");
        }
        for code in [Code::NotController, Code::RequestTimedOut, Code::BrokerTransportFailure] {
            assert_eq!(remedy(code), None);
        }
    }
}
