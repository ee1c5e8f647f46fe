//! Two resources that claim the same topics, tables, database or cache keys: the older one has them, the other is told so. Pure.
//!
//! Under one database an upload to the one would be taken for a duplicate of the other's; under the same keys one would answer for the other.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use crate::api::{CacheMode, MedicalImageIndex};

/// What kind of thing a resource claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What<'a> {
    Topics,
    Tables,
    Database,
    /// Under Sentinels, those of one of the primaries that they know by name.
    CacheKeys {
        primary: Option<&'a str>,
    },
}

/// Something outside Kubernetes that a resource claims. Every reconcile compares all resources, so what is told is put into words only where two collide.
struct Claim<'a> {
    what: What<'a>,
    name: Cow<'a, str>,
    /// The field that chooses another.
    field: &'static str,
    /// Where it is. Two claims are at one place when they share an address: lists need not be complete. Two names of one server are not
    /// seen through, but for those that Kubernetes gives a Service.
    servers: &'a [String],
    /// The namespace of the pods that use it; `None` for what the operator makes, and under `Delete` takes away: it reaches all servers from
    /// one place.
    pods: Option<&'a str>,
}

impl<'a> Claim<'a> {
    /// The address of a server. To pods a name without a point is a Service of their own namespace (or a host that their nodes know, which is not
    /// seen through).
    fn address(&self, server: &'a str) -> (Cow<'a, str>, &'a str) {
        let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
        let host = host.strip_suffix('.').unwrap_or(host);
        let host = host.strip_suffix(".cluster.local").unwrap_or(host);
        let host = host.strip_suffix(".svc").unwrap_or(host);
        match self.pods {
            Some(namespace) if !host.contains(['.', '[']) => {
                (Cow::Owned(format!("{host}.{namespace}")), port)
            }
            _ => (Cow::Borrowed(host), port),
        }
    }

    /// The server at which both claim the same.
    fn collides_at(&self, other: &Claim<'a>) -> Option<String> {
        if self.what != other.what || self.name != other.name {
            return None;
        }
        let own: Vec<_> = self.servers.iter().map(|server| self.address(server)).collect();
        let mut others = other.servers.iter().map(|server| other.address(server));
        others.find(|server| own.contains(server)).map(|(host, port)| format!("{host}:{port}"))
    }

    fn is_made(&self) -> bool {
        self.pods.is_none()
    }
}

/// As in `the topics radiology.*`.
impl fmt::Display for Claim<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.what {
            What::Topics => write!(formatter, "the topics {name}.*"),
            What::Tables => write!(formatter, "the tables {name}:*"),
            What::Database => write!(formatter, "the database {name}"),
            What::CacheKeys { primary: None } => write!(formatter, "the cache keys {name}:*"),
            What::CacheKeys { primary: Some(primary) } => {
                write!(formatter, "the cache keys {name}:* of {primary}")
            }
        }
    }
}

fn claims(index: &MedicalImageIndex) -> [Claim<'_>; 4] {
    let (spec, name) = (&index.spec, index.index_name());
    let pods = Some(index.metadata.namespace.as_deref().unwrap_or_default());
    let (primary, cache_field) = match spec.cache.mode {
        CacheMode::Sentinel => {
            (Some(spec.cache.service.as_str()), "spec.cache.servers or spec.cache.service")
        }
        CacheMode::Standalone | CacheMode::Cluster => (None, "spec.cache.servers"),
    };
    let (tables, database) = (Cow::Owned(index.hbase_namespace()), Cow::Owned(index.database()));
    let (kafka, hbase) = (&spec.kafka.bootstrap_servers, &spec.hbase.thrift2_servers);
    let catalog = std::slice::from_ref(&spec.catalog.server);
    let claim = |what, name, field, servers, pods| Claim { what, name, field, servers, pods };
    [
        claim(What::Topics, Cow::Borrowed(name), "spec.kafka.prefix", kafka, None),
        claim(What::Tables, tables, "spec.hbase.namespace", hbase, None),
        claim(What::Database, database, "spec.catalog.database", catalog, pods),
        claim(What::CacheKeys { primary }, Cow::Borrowed(name), cache_field, &spec.cache.servers, pods),
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
            claim,
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
    older.any(|other| collisions(&own, other).any(|(claim, _)| claim.is_made()))
}

/// Claims of both, and the server of each.
fn collisions<'a>(
    own: &[Claim<'a>],
    other: &'a MedicalImageIndex,
) -> impl Iterator<Item = (Claim<'a>, String)> {
    claims(other).into_iter().filter_map(move |claim| {
        let server = own.iter().find_map(|own| own.collides_at(&claim))?;
        Some((claim, server))
    })
}

/// Whether `other` was there before `index`. Of two that were made in the same second the one of the lesser id is.
fn is_older(other: &MedicalImageIndex, index: &MedicalImageIndex) -> bool {
    other.metadata.uid != index.metadata.uid && age(other) < age(index)
}

fn age(index: &MedicalImageIndex) -> (Option<Timestamp>, Option<&str>) {
    let metadata = &index.metadata;
    (metadata.creation_timestamp.as_ref().map(|time| time.0), metadata.uid.as_deref())
}
