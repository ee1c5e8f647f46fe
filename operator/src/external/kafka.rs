//! Topics through Kafka's admin protocol.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigEntry, ConfigResource, ConfigSource, NewPartitions,
    NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataTopic};

use super::kafka_refusals::{self, Refusals};
use super::topics::{ObservedTopic, TopicChange};
use super::{CALL_WITHIN, ExternalError, KafkaAccess};

/// So long brokers are waited for, one time after the other: a refused login is told beside the call that waits, and a slow cluster wants the longer ones.
const SLICES: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(9)];
/// So long after a change brokers may still tell of the settings before.
const KEPT_WITHIN: Duration = Duration::from_secs(5);
/// How often they are asked meanwhile.
const KEPT_PERIOD: Duration = Duration::from_millis(200);
/// Events of the library that are taken at once.
const TOLD_AT_ONCE: usize = 256;

/// An administrator of one Kafka.
pub(super) struct KafkaAdmin {
    access: KafkaAccess,
    client: AdminClient<Refusals>,
    refusals: Refusals,
}

impl KafkaAdmin {
    pub(super) fn new(access: &KafkaAccess) -> Result<Self, ExternalError> {
        let refusals = Refusals::default();
        let client = config(access).create_with_context(refusals.clone());
        let client = client.map_err(|error| kafka_refusals::unusable(access, &error))?;
        Ok(Self { access: access.clone(), client, refusals })
    }

    /// All topics, with their partitions and the copies of the partition that has the fewest.
    async fn listed(&self) -> Result<BTreeMap<String, (usize, usize)>, ExternalError> {
        let (config, refusals) = (config(&self.access), self.refusals.clone());
        // All topics at once: asking for one by its name would make it where brokers do so.
        let read = move || -> Result<_, KafkaError> {
            let client: BaseConsumer<Refusals> = config.create_with_context(refusals.clone())?;
            let metadata = fetch_metadata(&client, &refusals)?;
            let topic = |topic: &MetadataTopic| {
                let copies = topic.partitions().iter().map(|partition| partition.replicas().len()).min();
                (topic.name().to_owned(), (topic.partitions().len(), copies.unwrap_or(0)))
            };
            Ok(metadata.topics().iter().map(topic).collect())
        };
        let all = tokio::task::spawn_blocking(read).await?;
        all.map_err(|error| self.failed("listing topics", &error))
    }

    /// The topics of these names that there are.
    pub(super) async fn topics(
        &self,
        names: &[String],
    ) -> Result<BTreeMap<String, ObservedTopic>, ExternalError> {
        let all = self.listed().await?;
        let found: Vec<&String> = names.iter().filter(|name| all.contains_key(*name)).collect();
        let resources: Vec<_> = found.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        if resources.is_empty() {
            return Ok(BTreeMap::new());
        }
        let described = self.describe(&resources).await?;
        let mut topics = BTreeMap::new();
        for (name, ConfigResource { entries, .. }) in found.into_iter().zip(described) {
            let own = entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
            let own_settings = own.map(|entry| entry.name.clone()).collect();
            let settings = values(entries.into_iter());
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

    /// The settings of topics, in the order of their names.
    async fn describe(&self, topics: &[ResourceSpecifier<'_>]) -> Result<Vec<ConfigResource>, ExternalError> {
        let action = "reading the settings of topics";
        let described = self.client.describe_configs(topics, &options()).await;
        let described = described.map_err(|error| self.failed(action, &error))?;
        let named = described.into_iter().zip(topics).map(|(topic, specifier)| {
            topic.map_err(|code| self.refused(&format!("{action} ({specifier:?})"), code))
        });
        named.collect()
    }

    /// Waits until a topic has settings that it was given: rdkafka's answer to that (0.39, `AlterConfigsFuture`) leaves out what the broker refused.
    async fn wait_for_settings(
        &self,
        action: &str,
        topic: &str,
        settings: &BTreeMap<String, String>,
        changed: &BTreeMap<String, Option<String>>,
    ) -> Result<(), ExternalError> {
        let begun = Instant::now();
        loop {
            let described = self.describe(&[ResourceSpecifier::Topic(topic)]).await?;
            let known = values(described.into_iter().flat_map(|topic| topic.entries));
            // What has another value than before was taken, in whatever form the brokers tell it.
            let refused = changed.iter().find(|(key, before)| known.get(*key) == before.as_ref());
            let Some((key, _)) = refused else { return Ok(()) };
            if begun.elapsed() >= KEPT_WITHIN {
                let value = settings.get(key).map_or("", String::as_str);
                let reason = format!("the brokers do not take {key}={value}");
                return Err(self.error(action, reason, Some(kafka_refusals::SETTINGS)));
            }
            tokio::time::sleep(KEPT_PERIOD).await;
        }
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
        for result in results.map_err(|error| self.failed(&action, &error))? {
            match result {
                // Another operator, or this one before it was cut off, was faster.
                Ok(()) | Err(RDKafkaErrorCode::TopicAlreadyExists) => {}
                Err(code) => return Err(self.refused(&action, code)),
            }
        }
        match change {
            TopicChange::Alter { name, settings, changed } => {
                self.wait_for_settings(&action, name, settings, changed).await
            }
            _ => Ok(()),
        }
    }

    /// Deletes topics.
    pub(super) async fn delete(&self, names: &[String]) -> Result<(), ExternalError> {
        // Of a refused login an administrator's call says no more than that it timed out.
        self.listed().await?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let results = self.client.delete_topics(&names, &options()).await;
        for result in results.map_err(|error| self.failed("deleting topics", &error))? {
            match result {
                Ok(_)
                | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {}
                Err((name, code)) => return Err(self.refused(&format!("deleting topic {name}"), code)),
            }
        }
        Ok(())
    }

    fn failed(&self, action: &str, error: &KafkaError) -> ExternalError {
        match self.refusals.latest() {
            Some((reason, remedy)) => self.error(action, reason, Some(remedy)),
            None => self.error(action, error.to_string(), None),
        }
    }

    fn refused(&self, action: &str, code: RDKafkaErrorCode) -> ExternalError {
        self.error(action, code.to_string(), kafka_refusals::remedy(code))
    }

    /// A refusal where there is a remedy.
    fn error(&self, action: &str, reason: String, remedy: Option<&'static str>) -> ExternalError {
        let (action, servers) = (action.to_owned(), self.access.servers.clone());
        match remedy {
            Some(remedy) => ExternalError::KafkaRefusal { action, servers, reason, remedy },
            None => ExternalError::Kafka { action, servers, reason },
        }
    }
}

/// Asks for all topics, until there is an answer, a refusal or no time left. Blocks.
fn fetch_metadata(client: &BaseConsumer<Refusals>, refusals: &Refusals) -> Result<Metadata, KafkaError> {
    let mut last = KafkaError::Canceled;
    for slice in SLICES {
        match client.fetch_metadata(None, slice) {
            Ok(metadata) => return Ok(metadata),
            Err(error) => last = error,
        }
        // Lets the library tell what went wrong.
        for _ in 0..TOLD_AT_ONCE {
            drop(client.poll(Duration::ZERO));
        }
        if refusals.latest().is_some() {
            break;
        }
    }
    Err(last)
}

/// Settings by name, those that have a value.
fn values(entries: impl Iterator<Item = ConfigEntry>) -> BTreeMap<String, String> {
    entries.filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

/// What became of each topic, without its name, which the action has.
fn codes<T, N>(results: Vec<Result<T, (N, RDKafkaErrorCode)>>) -> Vec<Result<(), RDKafkaErrorCode>> {
    results.into_iter().map(|result| result.map(drop).map_err(|(_, code)| code)).collect()
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
