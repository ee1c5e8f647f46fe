//! The topics of an index: what they shall be, and what has to be done so that they are. Pure.

use std::collections::BTreeMap;
use std::fmt;

use medindex_proto::names::{
    MAX_MESSAGE_BYTES, TOPIC_DEAD_LETTER, TOPIC_IMAGE_INDEXED, TOPIC_IMAGE_UPLOAD, TOPIC_OPERATION_LOG,
};

use crate::validate::ValidatedIndex;

/// Room for a key (1 KiB), headers and framing beside a message: the programs publish records up to this size.
const RECORD_OVERHEAD: usize = (64 << 10) + 1_024;
const HOUR_MS: i64 = 3_600_000;

/// A topic as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredTopic {
    /// Full name.
    pub name: String,
    /// Partitions.
    pub partitions: i32,
    /// Copies.
    pub replication: i32,
    /// Settings that are ours; others are left as they are.
    pub settings: BTreeMap<String, String>,
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedTopic {
    /// Partitions.
    pub partitions: i32,
    /// Copies of the partition that has the fewest.
    pub replication: i32,
    /// Settings in force.
    pub settings: BTreeMap<String, String>,
    /// Names of the settings that were given to this topic itself. Whoever alters a topic's settings has to repeat them all.
    pub own_settings: Vec<String>,
}

/// Something to do to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicChange {
    /// Make it.
    Create(DesiredTopic),
    /// Give it the partitions that it lacks: one that a broker made by itself has too few. Every message names its partition, so none moves.
    Grow {
        /// Topic.
        name: String,
        /// Partitions before.
        from: i32,
        /// Partitions afterwards.
        to: i32,
    },
    /// Give it settings: the complete set of its own.
    Alter {
        /// Topic.
        name: String,
        /// All settings of its own afterwards.
        settings: BTreeMap<String, String>,
        /// Those that change, by name, with what they were.
        changed: BTreeMap<String, Option<String>>,
    },
}

impl fmt::Display for TopicChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(topic) => write!(
                formatter,
                "create topic {} with {} partitions and {} copies",
                topic.name, topic.partitions, topic.replication
            ),
            Self::Grow { name, from, to } => {
                write!(formatter, "grow topic {name} from {from} to {to} partitions")
            }
            Self::Alter { name, settings, changed } => {
                let change = |(key, before): (&String, &Option<String>)| {
                    let after = settings.get(key).map_or("unset", String::as_str);
                    format!("{key}: {} -> {after}", before.as_deref().unwrap_or("unset"))
                };
                write!(
                    formatter,
                    "alter topic {name}: {}",
                    changed.iter().map(change).collect::<Vec<_>>().join(", ")
                )
            }
        }
    }
}

/// Something that the operator does not change, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicProblem {
    /// What is wrong and what to do.
    pub message: String,
    /// Nothing of the index can be relied on until a person has done it; else it works with less than was asked for.
    pub stalls: bool,
}

/// The topics of an index.
pub fn desired_topics(index: &ValidatedIndex) -> Vec<DesiredTopic> {
    let kafka = &index.spec.kafka;
    let retention = (i64::from(kafka.retention_hours) * HOUR_MS).to_string();
    let topic = |name: &str| {
        let mut settings = kafka.topic_settings.clone();
        settings.insert("min.insync.replicas".to_owned(), kafka.min_insync_replicas.to_string());
        settings.insert("max.message.bytes".to_owned(), (MAX_MESSAGE_BYTES + RECORD_OVERHEAD).to_string());
        // What is deleted for its age must not depend on the clock of whoever sent it.
        settings.entry("message.timestamp.type".to_owned()).or_insert_with(|| "LogAppendTime".to_owned());
        if name == TOPIC_IMAGE_INDEXED {
            // Search shards begin with what is in this topic: the last change of every image stays.
            settings.insert("cleanup.policy".to_owned(), "compact".to_owned());
        } else {
            settings.insert("cleanup.policy".to_owned(), "delete".to_owned());
            settings.insert("retention.ms".to_owned(), retention.clone());
        }
        DesiredTopic {
            name: format!("{}.{name}", index.index),
            partitions: kafka.partitions,
            replication: kafka.replication,
            settings,
        }
    };
    [TOPIC_IMAGE_UPLOAD, TOPIC_IMAGE_INDEXED, TOPIC_DEAD_LETTER, TOPIC_OPERATION_LOG].map(topic).to_vec()
}

/// What to do first so that a topic is as desired, and what cannot be done.
pub fn compare(
    desired: &DesiredTopic,
    observed: Option<&ObservedTopic>,
) -> (Option<TopicChange>, Vec<TopicProblem>) {
    let Some(observed) = observed else { return (Some(TopicChange::Create(desired.clone())), Vec::new()) };
    let name = &desired.name;
    let mut problems = Vec::new();
    if observed.partitions > desired.partitions {
        problems.push(TopicProblem {
            message: format!(
                "topic {name} has {} partitions, not {}: every image's place follows from that number, and Kafka cannot take partitions away; \
                 delete the topic and import again, or make a new index",
                observed.partitions, desired.partitions
            ),
            stalls: true,
        });
    }
    if observed.replication != desired.replication {
        problems.push(TopicProblem {
            message: format!(
                "topic {name} has {} copies, not {}: reassign its partitions with kafka-reassign-partitions.sh, or set \
                 spec.kafka.replication to {}",
                observed.replication, desired.replication, observed.replication
            ),
            stalls: false,
        });
    }
    let grows = (observed.partitions < desired.partitions).then(|| TopicChange::Grow {
        name: name.clone(),
        from: observed.partitions,
        to: desired.partitions,
    });
    (grows.or_else(|| alteration(desired, observed)), problems)
}

/// Whether two texts are the same setting: brokers tell values as they read them, `0.10` as `0.1`, `TRUE` as `true`, `a, b` as `a,b`.
pub fn is_same_setting(known: &str, wanted: &str) -> bool {
    let parts = |text: &str| text.split(',').map(|part| part.trim().to_ascii_lowercase()).collect::<Vec<_>>();
    let is_same = |known: &String, wanted: &String| {
        known == wanted
            || matches!((known.parse::<f64>(), wanted.parse::<f64>()), (Ok(known), Ok(wanted)) if known.total_cmp(&wanted).is_eq())
    };
    let (known, wanted) = (parts(known), parts(wanted));
    known.len() == wanted.len() && known.iter().zip(&wanted).all(|(known, wanted)| is_same(known, wanted))
}

fn alteration(desired: &DesiredTopic, observed: &ObservedTopic) -> Option<TopicChange> {
    let is_kept = |key: &String, value: &str| {
        observed.settings.get(key).is_some_and(|known| is_same_setting(known, value))
    };
    let differing = desired.settings.iter().filter(|(key, value)| !is_kept(key, value));
    let changed: BTreeMap<String, Option<String>> =
        differing.map(|(key, _)| (key.clone(), observed.settings.get(key).cloned())).collect();
    if changed.is_empty() {
        return None;
    }
    let kept = observed
        .own_settings
        .iter()
        .filter_map(|key| Some((key.clone(), observed.settings.get(key)?.clone())));
    let mut settings: BTreeMap<String, String> = kept.collect();
    settings.extend(desired.settings.clone());
    Some(TopicChange::Alter { name: desired.name.clone(), settings, changed })
}
