//! Two resources that claim the same topics, tables, database or cache keys: the older one has them, the other is told so. Pure.
//!
//! Under one database an upload to the one would be taken for a duplicate of the other's; under the same keys one would answer for the other.

use std::borrow::Cow;

use kube::ResourceExt as _;

use crate::api::{CacheMode, MedicalImageIndex};

/// Something outside Kubernetes that a resource claims.
struct Claim<'a> {
    /// As in `the topics radiology.*`.
    what: String,
    /// The field that chooses another.
    field: &'static str,
    /// Whether the operator makes it, and under `Delete` takes it away.
    is_made: bool,
    /// Where it is. Two claims are at one place when they share an address: lists need not be complete. Two names of one server are not
    /// seen through.
    servers: Vec<Cow<'a, str>>,
}

impl<'a> Claim<'a> {
    /// What the operator itself makes: it reaches all servers from one place.
    fn made(what: String, field: &'static str, servers: &'a [String]) -> Self {
        let servers = servers.iter().map(|server| Cow::Borrowed(server.as_str())).collect();
        Self { what, field, is_made: true, servers }
    }

    /// What pods use: to them a name without a point is a Service of their own namespace (or a host that their nodes know, which is not seen
    /// through).
    fn used(what: String, field: &'static str, servers: &'a [String], namespace: &str) -> Self {
        let full = |server: &'a String| match server.rsplit_once(':') {
            Some((host, port)) if !host.contains(['.', '[']) => {
                Cow::Owned(format!("{host}.{namespace}:{port}"))
            }
            _ => Cow::Borrowed(server.as_str()),
        };
        Self { what, field, is_made: false, servers: servers.iter().map(full).collect() }
    }

    /// The server at which both claim the same.
    fn collides_at<'b>(&self, other: &'b Claim<'_>) -> Option<&'b str> {
        let shared = other.servers.iter().find(|server| self.servers.contains(server));
        shared.filter(|_| self.what == other.what).map(AsRef::as_ref)
    }
}

fn claims(index: &MedicalImageIndex) -> [Claim<'_>; 4] {
    let (spec, name) = (&index.spec, index.index_name());
    let (topics, tables) =
        (format!("the topics {name}.*"), format!("the tables {}:*", index.hbase_namespace()));
    let (catalog, cache) = (std::slice::from_ref(&spec.catalog.server), &spec.cache);
    // Sentinels know several primaries by name.
    let (keys, cache_field) = match cache.mode {
        CacheMode::Sentinel => (
            format!("the cache keys {name}:* of {}", cache.service),
            "spec.cache.servers or spec.cache.service",
        ),
        CacheMode::Standalone | CacheMode::Cluster => {
            (format!("the cache keys {name}:*"), "spec.cache.servers")
        }
    };
    let pods = index.namespace().unwrap_or_default();
    [
        Claim::made(topics, "spec.kafka.prefix", &spec.kafka.bootstrap_servers),
        Claim::made(tables, "spec.hbase.namespace", &spec.hbase.thrift2_servers),
        Claim::used(format!("the database {}", index.database()), "spec.catalog.database", catalog, &pods),
        Claim::used(keys, cache_field, &cache.servers, &pods),
    ]
}

/// What an older resource has that this one claims too: a message that names both.
pub fn conflict<'a>(
    index: &MedicalImageIndex,
    others: impl IntoIterator<Item = &'a MedicalImageIndex>,
) -> Option<String> {
    let own = claims(index);
    others.into_iter().filter(|other| is_older(other, index)).find_map(|other| {
        let (claim, server) = collisions(&own, other).next()?;
        let namespace = other.namespace().unwrap_or_default();
        Some(format!(
            "MedicalImageIndex {namespace}/{}, which is older, has {} at {server} already: choose another {}",
            other.name_any(),
            claim.what,
            claim.field
        ))
    })
}

/// Whether topics or tables that would go with this resource belong to an older one.
pub fn is_shared<'a>(
    index: &MedicalImageIndex,
    others: impl IntoIterator<Item = &'a MedicalImageIndex>,
) -> bool {
    let own = claims(index);
    let mut older = others.into_iter().filter(|other| is_older(other, index));
    older.any(|other| collisions(&own, other).any(|(claim, _)| claim.is_made))
}

/// Claims of both, and the server of each.
fn collisions<'a>(
    own: &[Claim<'_>],
    other: &'a MedicalImageIndex,
) -> impl Iterator<Item = (Claim<'a>, String)> {
    claims(other).into_iter().filter_map(move |claim| {
        let server = own.iter().find_map(|own| own.collides_at(&claim))?.to_owned();
        Some((claim, server))
    })
}

/// Whether `other` was there before `index`. Of two that were made in the same second the one of the lesser id is.
fn is_older(other: &MedicalImageIndex, index: &MedicalImageIndex) -> bool {
    let age = |index: &MedicalImageIndex| (index.creation_timestamp().map(|time| time.0), index.uid());
    other.uid() != index.uid() && age(other) < age(index)
}
