//! What Kafka's errors mean for a caller.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::context::Troubles;
use crate::fault::Fault;

/// Explains errors of one cluster.
#[derive(Debug, Clone)]
pub(super) struct Faults {
    /// The cluster, for messages.
    pub(super) place: String,
    /// The files of the credentials, for messages.
    pub(super) files: String,
}

impl Faults {
    /// Explains an error by what the client told beside it.
    pub(super) fn explain(&self, error: KafkaError, troubles: &Troubles) -> Fault {
        let place = self.place.clone();
        let Some(code) = code(&error) else { return Fault::Failed { place, source: error.into() } };
        if is_refusal(code, "") {
            let reason = troubles.refusal().map_or_else(|| error.to_string(), |trouble| trouble.reason);
            return self.refused(&reason);
        }
        if !is_transient(code) {
            return Fault::Failed { place, source: advice(code, &error).into() };
        }
        if let Some(refusal) = troubles.refusal() {
            return self.refused(&refusal.reason);
        }
        match troubles.latest() {
            Some(trouble) => {
                Fault::Unavailable { place, source: format!("{error} ({})", trouble.reason).into() }
            }
            None => Fault::Unavailable { place, source: error.into() },
        }
    }

    fn refused(&self, reason: &str) -> Fault {
        let source =
            format!("credentials, certificates or rights are not accepted (files: {}): {reason}", self.files);
        Fault::Inaccessible { place: self.place.clone(), source: source.into() }
    }

    /// The adapter was closed.
    pub(super) fn closed(&self) -> Fault {
        Fault::Closed { place: self.place.clone() }
    }

    /// Something else than Kafka's own errors.
    pub(super) fn failed(&self, text: impl Into<String>) -> Fault {
        Fault::Failed { place: self.place.clone(), source: text.into().into() }
    }

    /// No answer in time.
    pub(super) fn unavailable(&self, text: impl Into<String>) -> Fault {
        Fault::Unavailable { place: self.place.clone(), source: text.into().into() }
    }
}

/// The code of an error, for those of administration too.
pub(super) fn code(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) | KafkaError::MessageConsumptionFatal(code) => Some(*code),
        _ => error.rdkafka_error_code(),
    }
}

/// Whether the server, or the client about the server's certificate, refuses who the other says it is, or what it may do.
pub(super) fn is_refusal(code: Code, reason: &str) -> bool {
    match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed => true,
        // A broker that dies during the handshake breaks it as well.
        Code::SSL => !reason.contains("isconnected") && !reason.contains("reset by peer"),
        // In TLS 1.3 the server looks at the client's certificate after the handshake.
        Code::BrokerTransportFailure => {
            let alerts = ["certificate", "unknown ca", "access denied", "handshake failure"];
            reason.contains(" alert ") && alerts.iter().any(|alert| reason.contains(alert))
        }
        _ => false,
    }
}

/// Whether trying again may succeed without anybody's doing.
pub(super) fn is_transient(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::Resolve
            | Code::MessageTimedOut
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::QueueFull
            | Code::ISRInsufficient
            | Code::SSL
            | Code::WaitingForCoordinator
            | Code::InProgress
            | Code::PreviousInProgress
            | Code::WaitCache
            | Code::Retry
            | Code::PurgeQueue
            | Code::PurgeInflight
            | Code::UnknownBroker
            | Code::DestroyBroker
            | Code::BrokerDestroy
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::RequestTimedOut
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotController
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::RebalanceInProgress
            | Code::KafkaStorageError
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::EligibleLeadersNotAvailable
            | Code::UnstableOffsetCommit
            | Code::ThrottlingQuotaExceeded
    )
}

/// Whether a topic or partition is not there.
pub(super) fn is_unknown_topic(code: Code) -> bool {
    matches!(code, Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition)
}

/// Says what to do about an error, where that is known.
fn advice(code: Code, error: &KafkaError) -> String {
    let todo = match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
            "raise the topic's max.message.bytes to that of a new index"
        }
        Code::InvalidReplicationFactor => {
            "there are fewer brokers than copies: add brokers or lower the replication"
        }
        Code::PolicyViolation => "a policy of the cluster, or the topic's cleanup.policy, forbids it",
        Code::InvalidConfig => "a setting of the topic is not one that this version of Kafka takes",
        _ => return error.to_string(),
    };
    format!("{error}: {todo}")
}
