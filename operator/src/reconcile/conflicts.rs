//! Two resources that claim the same topics or tables: the older one has them, the other is told so. Pure.

use kube::ResourceExt as _;

use crate::api::MedicalImageIndex;

/// What a resource claims outside Kubernetes. Brokers are compared by what is written, in any order: two names of one Kafka are not seen through.
fn claims(index: &MedicalImageIndex) -> [String; 2] {
    let sorted = |servers: &[String]| {
        let mut servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        servers.sort_unstable();
        servers.join(",")
    };
    let (kafka, hbase) = (&index.spec.kafka, &index.spec.hbase);
    let name = index.index_name();
    let namespace = hbase.namespace.clone().unwrap_or_else(|| name.replace('-', "_"));
    [
        format!("the topics {name}.* at {}", sorted(&kafka.bootstrap_servers)),
        format!("the tables {namespace}:* at {}", sorted(&hbase.thrift2_servers)),
    ]
}

/// What an older resource has that this one claims too: a message that names both.
pub fn conflict<'a>(
    index: &MedicalImageIndex,
    others: impl IntoIterator<Item = &'a MedicalImageIndex>,
) -> Option<String> {
    let own = claims(index);
    others.into_iter().filter(|other| is_older(other, index)).find_map(|other| {
        let claim = claims(other).into_iter().find(|claim| own.contains(claim))?;
        let namespace = other.namespace().unwrap_or_default();
        Some(format!(
            "{claim} belong to MedicalImageIndex {namespace}/{}, which is older: choose another spec.kafka.prefix and spec.hbase.namespace",
            other.name_any()
        ))
    })
}

/// Whether `other` was there before `index`. Of two that were made in the same second the one of the lesser id is.
fn is_older(other: &MedicalImageIndex, index: &MedicalImageIndex) -> bool {
    let age = |index: &MedicalImageIndex| (index.creation_timestamp().map(|time| time.0), index.uid());
    other.uid() != index.uid() && age(other) < age(index)
}
