//! Two resources that claim the same topics or tables: the older one has them, the other is told so. Pure.

use kube::ResourceExt as _;

use crate::api::MedicalImageIndex;

/// Something outside Kubernetes that a resource claims.
struct Claim<'a> {
    /// As in `the topics radiology.*`.
    what: String,
    /// Where it is. Two claims are at one place when they share an address: lists need not be complete. Two names of one server are not
    /// seen through.
    servers: &'a [String],
}

impl Claim<'_> {
    /// The server at which both claim the same.
    fn collides_at<'b>(&self, other: &Claim<'b>) -> Option<&'b str> {
        let shared = other.servers.iter().find(|server| self.servers.contains(server));
        shared.filter(|_| self.what == other.what).map(String::as_str)
    }
}

fn claims(index: &MedicalImageIndex) -> [Claim<'_>; 2] {
    let (kafka, hbase) = (&index.spec.kafka, &index.spec.hbase);
    let name = index.index_name();
    let namespace = hbase.namespace.clone().unwrap_or_else(|| name.replace('-', "_"));
    [
        Claim { what: format!("the topics {name}.*"), servers: &kafka.bootstrap_servers },
        Claim { what: format!("the tables {namespace}:*"), servers: &hbase.thrift2_servers },
    ]
}

/// What an older resource has that this one claims too: a message that names both.
pub fn conflict<'a>(
    index: &MedicalImageIndex,
    others: impl IntoIterator<Item = &'a MedicalImageIndex>,
) -> Option<String> {
    let own = claims(index);
    others.into_iter().filter(|other| is_older(other, index)).find_map(|other| {
        let (what, server) = claims(other).into_iter().find_map(|claim| {
            let server = own.iter().find_map(|own| own.collides_at(&claim))?;
            Some((claim.what, server))
        })?;
        let namespace = other.namespace().unwrap_or_default();
        Some(format!(
            "{what} at {server} belong to MedicalImageIndex {namespace}/{}, which is older: choose another spec.kafka.prefix and spec.hbase.namespace",
            other.name_any()
        ))
    })
}

/// Whether `other` was there before `index`. Of two that were made in the same second the one of the lesser id is.
fn is_older(other: &MedicalImageIndex, index: &MedicalImageIndex) -> bool {
    let age = |index: &MedicalImageIndex| (index.creation_timestamp().map(|time| time.0), index.uid());
    other.uid() != index.uid() && age(other) < age(index)
}
