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
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(steady(reason));
        }
    }
}

impl ConsumerContext for Refusals {}

/// A reason without what differs from one attempt to the next: the broker in front, `sasl_ssl://host:port/1: `, and the time behind. A condition
/// changes only when what it tells does.
fn steady(reason: &str) -> String {
    let reason = match reason.split_once(": ") {
        Some((broker, reason)) if broker.contains("://") => reason,
        _ => reason,
    };
    without_time(reason)
}

/// A text without what the library says of the time that an attempt took, ` (after 312ms in state AUTH_REQ, 2 identical error(s) suppressed)`.
pub(super) fn without_time(text: &str) -> String {
    let Some((before, rest)) = text.split_once(" (after ") else { return text.to_owned() };
    let mut open = 1;
    let end = rest.find(|letter| {
        open += i32::from(letter == '(') - i32::from(letter == ')');
        open == 0
    });
    format!("{before}{}", end.map_or("", |end| &rest[end + 1..]))
}

/// Whether broker or client refuses who the other says it is. A broker that dies or does not answer during a handshake is told under the same codes.
fn is_of_credentials(code: Code, reason: &str) -> bool {
    let outages =
        ["isconnected", "reset by peer", "transport failure", "imed out", "transport error", "hung up"];
    if outages.iter().any(|outage| reason.contains(outage)) {
        return false;
    }
    match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::SSL => true,
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
        Code::InvalidPartitions => Some("make a new index with another spec.kafka.partitions"),
        Code::InvalidTopic => Some(
            "make a new index with another spec.kafka.prefix, which no other topic's name is like but for . and _",
        ),
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
        let broken = "SASL SCRAM-SHA-512 mechanism handshake failed: Local: Broker transport failure";
        refusals.error(KafkaError::Global(Code::Authentication), broken);
        refusals.error(KafkaError::Global(Code::SSL), "SSL transport error: Connection timed out");
        assert_eq!(refusals.latest(), None);
        let told = "sasl_ssl://10.0.0.1:9092/1: invalid credentials (after 312ms in state AUTH_REQ, 2 identical error(s) suppressed)";
        refusals.error(KafkaError::Global(Code::Authentication), told);
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
