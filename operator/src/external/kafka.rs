//! Topics through Kafka's admin protocol.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::topics::{ObservedTopic, TopicChange};
use super::{CALL_WITHIN, ExternalError, KafkaAccess};

/// An administrator of one Kafka.
pub(super) struct KafkaAdmin {
    access: KafkaAccess,
    client: AdminClient<DefaultClientContext>,
}

impl KafkaAdmin {
    pub(super) fn new(access: &KafkaAccess) -> Result<Self, ExternalError> {
        let client = config(access).create().map_err(|error| failed(access, "connecting", &error))?;
        Ok(Self { access: access.clone(), client })
    }

    /// The topics of these names that there are.
    pub(super) async fn topics(
        &self,
        names: &[String],
    ) -> Result<BTreeMap<String, ObservedTopic>, ExternalError> {
        let (config, within) = (config(&self.access), CALL_WITHIN);
        // All topics at once: asking for one by its name would make it where brokers do so.
        let read = move || -> Result<_, KafkaError> {
            let client: BaseConsumer = config.create()?;
            let metadata = client.fetch_metadata(None, within)?;
            let topic = |topic: &rdkafka::metadata::MetadataTopic| {
                let copies = topic.partitions().iter().map(|partition| partition.replicas().len()).min();
                (topic.name().to_owned(), (topic.partitions().len(), copies.unwrap_or(0)))
            };
            Ok(metadata.topics().iter().map(topic).collect::<BTreeMap<String, (usize, usize)>>())
        };
        let all = tokio::task::spawn_blocking(read).await?;
        let all = all.map_err(|error| failed(&self.access, "listing topics", &error))?;
        let found: Vec<&String> = names.iter().filter(|name| all.contains_key(*name)).collect();
        let resources: Vec<_> = found.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        if resources.is_empty() {
            return Ok(BTreeMap::new());
        }
        let described = self.client.describe_configs(&resources, &options()).await;
        let described =
            described.map_err(|error| failed(&self.access, "reading the settings of topics", &error))?;
        let mut topics = BTreeMap::new();
        for (name, described) in found.into_iter().zip(described) {
            let entries = described
                .map_err(|code| self.refused(&format!("reading the settings of topic {name}"), code))?
                .entries;
            let own = entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
            let own_settings = own.map(|entry| entry.name.clone()).collect();
            let settings = entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect();
            let (partitions, copies) = all.get(name).copied().unwrap_or_default();
            let observed = ObservedTopic {
                partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
                replication: i32::try_from(copies).unwrap_or(i32::MAX),
                settings,
                own_settings,
            };
            topics.insert(name.clone(), observed);
        }
        Ok(topics)
    }

    /// Does something to a topic.
    pub(super) async fn change(&self, change: &TopicChange) -> Result<(), ExternalError> {
        let action = change.to_string();
        let results = match change {
            TopicChange::Create(topic) => {
                let mut new =
                    NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(topic.replication));
                for (key, value) in &topic.settings {
                    new = new.set(key, value);
                }
                self.client.create_topics([&new], &options()).await.map(codes)
            }
            TopicChange::Grow { name, to, .. } => {
                let grown = NewPartitions::new(name, usize::try_from(*to).unwrap_or_default());
                self.client.create_partitions([&grown], &options()).await.map(codes)
            }
            TopicChange::Alter { name, settings, .. } => {
                let mut alter = AlterConfig::new(ResourceSpecifier::Topic(name));
                for (key, value) in settings {
                    alter = alter.set(key, value);
                }
                self.client.alter_configs([&alter], &options()).await.map(codes)
            }
        };
        for result in results.map_err(|error| failed(&self.access, &action, &error))? {
            match result {
                // Another operator, or this one before it was cut off, was faster.
                Ok(()) | Err(RDKafkaErrorCode::TopicAlreadyExists) => {}
                Err(code) => return Err(self.refused(&action, code)),
            }
        }
        Ok(())
    }

    /// Deletes topics.
    pub(super) async fn delete(&self, names: &[String]) -> Result<(), ExternalError> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let results = self.client.delete_topics(&names, &options()).await;
        for result in results.map_err(|error| failed(&self.access, "deleting topics", &error))? {
            match result {
                Ok(_)
                | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {}
                Err((name, code)) => return Err(self.refused(&format!("deleting topic {name}"), code)),
            }
        }
        Ok(())
    }

    fn refused(&self, action: &str, code: RDKafkaErrorCode) -> ExternalError {
        ExternalError::Kafka {
            action: action.to_owned(),
            servers: self.access.servers.clone(),
            reason: code.to_string(),
        }
    }
}

/// What became of each topic, without its name, which the action has.
fn codes<T, N>(results: Vec<Result<T, (N, RDKafkaErrorCode)>>) -> Vec<Result<(), RDKafkaErrorCode>> {
    results.into_iter().map(|result| result.map(drop).map_err(|(_, code)| code)).collect()
}

fn failed(access: &KafkaAccess, action: &str, error: &KafkaError) -> ExternalError {
    ExternalError::Kafka {
        action: action.to_owned(),
        servers: access.servers.clone(),
        reason: error.to_string(),
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(CALL_WITHIN))
        .operation_timeout(Some(CALL_WITHIN.saturating_sub(Duration::from_secs(3))))
}

fn config(access: &KafkaAccess) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &access.servers)
        .set("client.id", crate::names::MANAGER)
        .set("socket.timeout.ms", "10000")
        // A cluster that is away is asked again by the reconcile, not by a hot loop of the client.
        .set("reconnect.backoff.max.ms", "5000");
    let protocol = match (access.tls.is_some(), access.login.is_some()) {
        (false, false) => "PLAINTEXT",
        (false, true) => "SASL_PLAINTEXT",
        (true, false) => "SSL",
        (true, true) => "SASL_SSL",
    };
    config.set("security.protocol", protocol);
    if let Some((user, password)) = &access.login {
        config
            .set("sasl.mechanism", "SCRAM-SHA-512")
            .set("sasl.username", user)
            .set("sasl.password", password);
    }
    let certificates = access.tls.clone().unwrap_or_default();
    if let Some(authorities) = &certificates.authorities {
        config.set("ssl.ca.pem", authorities);
    }
    if let Some((certificate, key)) = &certificates.client {
        config.set("ssl.certificate.pem", certificate).set("ssl.key.pem", key);
    }
    config
}
