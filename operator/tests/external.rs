//! What is done to topics and tables, decided without a server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where its ground gives way")]

mod sample;

use medindex_hbase_admin::{Compression, Region, TableDescription, TableState};
use medindex_operator::external::tables::{self, TableChange, desired_tables};
use medindex_operator::external::topics::{self, DesiredTopic, ObservedTopic, TopicChange, desired_topics};
use medindex_operator::release::Release;
use medindex_operator::validate::{ValidatedIndex, validate};
use serde_json::{Value, json};

fn index(changes: &[(&str, Value)]) -> ValidatedIndex {
    let mut index = sample::with(changes);
    sample::put(&mut index, "/metadata/namespace", json!("imaging"));
    let release = Release { image_prefix: String::new(), image_tag: "1".to_owned() };
    validate(&serde_json::from_value(index).unwrap(), &release).unwrap()
}

fn as_desired(topic: &DesiredTopic) -> ObservedTopic {
    ObservedTopic {
        partitions: topic.partitions,
        replication: topic.replication,
        settings: topic.settings.clone(),
        own_settings: topic.settings.keys().cloned().collect(),
    }
}

#[test]
fn the_change_log_is_compacted_and_the_others_are_kept_for_a_time() {
    let topics = desired_topics(&index(&[("/spec/kafka/retentionHours", json!(2))]));
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "radiology.imageupload",
            "radiology.imageindexed",
            "radiology.imageupload.dlq",
            "radiology.operationlog"
        ]
    );
    assert_eq!(topics[1].settings["cleanup.policy"], "compact");
    assert!(!topics[1].settings.contains_key("retention.ms"));
    assert_eq!(topics[0].settings["retention.ms"], "7200000");
    assert!(topics.iter().all(|topic| topic.partitions == 9 && topic.settings["min.insync.replicas"] == "2"));
}

#[test]
fn a_topic_as_desired_is_left_alone() {
    for topic in desired_topics(&index(&[])) {
        assert_eq!(topics::compare(&topic, Some(&as_desired(&topic))), (None, Vec::new()));
    }
}

#[test]
fn altering_settings_keeps_those_of_others() {
    let topic = desired_topics(&index(&[])).remove(0);
    let mut observed = as_desired(&topic);
    observed.settings.insert("retention.ms".to_owned(), "1".to_owned());
    observed.settings.insert("segment.bytes".to_owned(), "1000".to_owned());
    observed.settings.insert("flush.ms".to_owned(), "7".to_owned());
    observed.own_settings.push("segment.bytes".to_owned());
    let (change, problems) = topics::compare(&topic, Some(&observed));
    let Some(TopicChange::Alter { settings, changed, .. }) = change else { panic!("{change:?}") };
    assert_eq!((changed.len(), problems.len()), (1, 0));
    assert_eq!(settings["segment.bytes"], "1000");
    assert_eq!(settings["retention.ms"], topic.settings["retention.ms"]);
    assert!(!settings.contains_key("flush.ms"), "a broker's default is not made the topic's own");
}

/// As Kafka 4 tells them.
#[test]
fn a_setting_that_brokers_write_otherwise_is_no_difference() {
    for (known, wanted) in
        [("0.1", "0.10"), ("true", "TRUE"), ("a,b", "a, b"), ("1000", "1000"), ("1000.0", "1000")]
    {
        assert!(topics::is_same_setting(known, wanted), "{known} {wanted}");
    }
    for (known, wanted) in [("0.1", "0.2"), ("true", "false"), ("a,b", "a"), ("1000", "many"), ("", "1")] {
        assert!(!topics::is_same_setting(known, wanted), "{known} {wanted}");
    }
}

#[test]
fn too_many_partitions_stall_too_few_are_added_and_fewer_copies_degrade() {
    let topic = desired_topics(&index(&[])).remove(0);
    let grown = ObservedTopic { partitions: 12, ..as_desired(&topic) };
    let (change, problems) = topics::compare(&topic, Some(&grown));
    assert!(change.is_none() && problems[0].stalls, "{problems:?}");
    assert!(problems[0].message.contains("12 partitions, not 9"), "{problems:?}");
    let narrow = ObservedTopic { partitions: 1, ..as_desired(&topic) };
    let (change, problems) = topics::compare(&topic, Some(&narrow));
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(change.unwrap().to_string(), format!("grow topic {} from 1 to 9 partitions", topic.name));
    let thin = ObservedTopic { replication: 1, ..as_desired(&topic) };
    let (_, problems) = topics::compare(&topic, Some(&thin));
    assert!(!problems[0].stalls && problems[0].message.contains("kafka-reassign-partitions"), "{problems:?}");
}

fn table_as_desired(table: &TableDescription) -> TableState {
    let starts = std::iter::once("").chain(table.split_keys.iter().map(String::as_str));
    let regions = starts.map(|start| Region {
        start_key: start.into(),
        end_key: Vec::new(),
        server: "one:1".to_owned(),
    });
    TableState { families: table.families.clone(), regions: regions.collect(), enabled: true }
}

#[test]
fn the_table_of_images_is_split_into_a_region_a_partition() {
    let tables = desired_tables(&index(&[("/spec/hbase/ttlDays", json!(30))]));
    assert_eq!(tables[0].name.to_string(), "radiology:image_info");
    assert_eq!(tables[0].split_keys.len(), 8);
    assert!(tables[0].families.iter().all(|family| family.time_to_live.unwrap().as_secs() == 30 * 86_400));
    assert!(tables[1].families.iter().all(|family| family.time_to_live.is_none()));
    for table in &tables {
        table.check().unwrap();
        assert_eq!(tables::compare(table, Some(&table_as_desired(table))), (Vec::new(), Vec::new()));
        assert!(matches!(tables::compare(table, None).0[..], [TableChange::Create(_)]));
    }
}

#[test]
fn an_altered_family_is_put_right_in_one_change_and_a_wrong_split_stalls() {
    let table = desired_tables(&index(&[("/spec/hbase/compression", json!("SNAPPY"))])).remove(0);
    let mut observed = table_as_desired(&table);
    observed.families[0].compression = Compression::None;
    observed.families[0].versions = 5;
    let (changes, problems) = tables::compare(&table, Some(&observed));
    let [TableChange::AlterFamily { family, changed, .. }] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((family, changed.len(), problems.len()), (&table.families[0], 2, 0));
    let mut observed = table_as_desired(&table);
    observed.regions.remove(4);
    observed.enabled = false;
    let (changes, problems) = tables::compare(&table, Some(&observed));
    assert!(changes.is_empty() && problems[0].contains("split 'radiology:image_info'"), "{problems:?}");
}
