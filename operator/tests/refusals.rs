//! What the operator tells of a real Kafka that refuses: which field, and what to do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where its ground gives way")]

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use medindex_operator::external::network::NetworkBackends;
use medindex_operator::external::topics::{DesiredTopic, TopicChange};
use medindex_operator::external::{Access, Backends as _, Certificates, ExternalError, KafkaAccess};
use medindex_testbed::kafka::{Kafka, KafkaOptions, Listener};
use medindex_testbed::skip::skipped;

const USER: &str = "medindex";
const PASSWORD: &str = "Fuchsbau-4711";
/// A refusal is told by the broker, not waited for.
const SOON: Duration = Duration::from_secs(10);

fn access(kafka: KafkaAccess) -> Access {
    Access { kafka, ..Access::default() }
}

/// The message of a refusal, which names a field and holds no secret.
#[track_caller]
fn refusal<T>(outcome: Result<T, ExternalError>, field: &str) -> String {
    let error = outcome.map(drop).unwrap_err();
    assert!(matches!(error, ExternalError::KafkaRefusal { .. }), "{field}: {error:?}");
    let text = error.to_string();
    assert!(text.contains(field) && !text.contains(PASSWORD), "{text}");
    text
}

fn topic(replication: i32, settings: &[(&str, &str)]) -> TopicChange {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let name = "radiology.imageupload".to_owned();
    TopicChange::Create(DesiredTopic { name, partitions: 3, replication, settings: settings.collect() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_certificate_setting_or_replication_is_told_with_its_field() {
    if skipped("kafka") {
        return;
    }
    let kafka = Kafka::start_with(&KafkaOptions { brokers: 1, secured: true }).unwrap();
    kafka.set_password(USER, PASSWORD).unwrap();
    let authority = fs::read_to_string(&kafka.certificates().unwrap().authority).unwrap();
    let trusting = Certificates { authorities: Some(authority), client: None };
    let login = |password: &str| Some((USER.to_owned(), password.to_owned()));
    let servers = kafka.bootstrap(Listener::Scram);
    let right = KafkaAccess { servers, tls: Some(trusting.clone()), login: login(PASSWORD) };
    let names = ["radiology.imageupload".to_owned()];

    let credentials = "spec.kafka.loginSecret or spec.kafka.tls";
    let garbage = Certificates { authorities: Some("no certificate".to_owned()), client: None };
    for wrong in [
        KafkaAccess { login: login("wrong"), ..right.clone() },
        KafkaAccess { tls: Some(Certificates::default()), ..right.clone() },
        KafkaAccess { tls: Some(garbage), ..right.clone() },
        KafkaAccess { servers: kafka.bootstrap(Listener::MutualTls), login: None, ..right.clone() },
    ] {
        let begun = Instant::now();
        let text = refusal(NetworkBackends.topics(&access(wrong.clone()), &names).await, credentials);
        let again = refusal(NetworkBackends.topics(&access(wrong.clone()), &names).await, credentials);
        assert_eq!(text, again, "a condition changes only when what it tells does");
        assert!(begun.elapsed() < SOON, "it took {:?}: {text}", begun.elapsed());
    }

    let wrong = access(KafkaAccess { login: login("wrong"), ..right.clone() });
    refusal(NetworkBackends.delete_topics(&wrong, &names).await, credentials);

    let right = access(right);
    assert_eq!(NetworkBackends.topics(&right, &names).await.unwrap(), BTreeMap::new());
    let made = NetworkBackends.change_topic(&right, &topic(3, &[])).await;
    refusal(made, "fewer brokers than spec.kafka.replication");
    let made = NetworkBackends.change_topic(&right, &topic(1, &[("segment.bytes", "many")])).await;
    refusal(made, "mend spec.kafka.topicSettings");
    NetworkBackends.change_topic(&right, &topic(1, &[])).await.unwrap();
    let settings = BTreeMap::from([("retention.ms".to_owned(), "soon".to_owned())]);
    let [name] = names;
    let changed = BTreeMap::from([("retention.ms".to_owned(), Some("604800000".to_owned()))]);
    let altered = TopicChange::Alter { name, settings, changed };
    refusal(NetworkBackends.change_topic(&right, &altered).await, "mend spec.kafka.topicSettings");
}
