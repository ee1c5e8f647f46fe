//! Everything that a reconcile reads of Kubernetes before it decides anything.

use std::collections::BTreeMap;
use std::time::Instant;

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, Client};

use super::absent::Absent;
use super::call::{CallError, bounded};
use super::mounts::{self, Stuck};
use super::objects::{KINDS, Kind, Live, POD_MONITOR, SCALED_OBJECT};
use super::status::now;
use crate::api::{SecretKey, TlsSpec};
use crate::build::{Surroundings, gateway_host};
use crate::external::{Access, Certificates, KafkaAccess};
use crate::names::{index_labels, selector_text};
use crate::validate::ValidatedIndex;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DereferenceError {
    /// The API server refused or did not answer.
    #[error("reading {what} failed: {source}")]
    Read {
        /// What was read.
        what: String,
        /// Why.
        #[source]
        source: CallError,
    },
    /// A secret that the resource names is not there.
    #[error("{path} names the Secret {name:?}, which is not in namespace {namespace}: create it there")]
    FindSecret {
        /// The field.
        path: &'static str,
        /// The secret.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// A secret lacks an entry.
    #[error("{path} names the Secret {name:?}, which has no entry {key:?} of text: add it")]
    FindKey {
        /// The field.
        path: &'static str,
        /// The secret.
        name: String,
        /// The entry.
        key: String,
    },
}

impl DereferenceError {
    /// Whether a person has to do something; else it is tried again soon.
    pub fn is_users(&self) -> bool {
        matches!(self, Self::FindSecret { .. } | Self::FindKey { .. })
    }
}

/// What was read.
#[derive(Debug, Default)]
pub struct Dereferenced {
    /// Objects of the index, whoever made them.
    pub live: Vec<Live>,
    /// Types beyond Kubernetes' own.
    pub surroundings: Surroundings,
    /// Pods that take long, and what holds them up.
    pub stuck: Stuck,
}

/// Reads the objects of an index.
///
/// # Errors
/// [`DereferenceError`].
pub async fn dereference(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Dereferenced, DereferenceError> {
    dereference_present(client, namespace, name, &Absent::default()).await
}

/// As [`dereference`]; types that were `absent` a moment ago are not asked for.
///
/// # Errors
/// [`DereferenceError`].
pub async fn dereference_present(
    client: &Client,
    namespace: &str,
    name: &str,
    absent: &Absent,
) -> Result<Dereferenced, DereferenceError> {
    let mut found = Dereferenced::default();
    let begun = Instant::now();
    for kind in KINDS.into_iter().filter(|kind| !absent.knows(*kind, begun)) {
        // Version 0: the API server answers out of its cache.
        let listed = match list(client, namespace, name, kind, ListParams::default().match_any()).await {
            Ok(listed) => listed,
            Err(DereferenceError::Read { source, .. }) if is_unknown_type(kind, &source) => {
                // A missing right may be there a moment later; types are missing for the whole cluster.
                if source.code() == Some(404) {
                    absent.note(kind, begun);
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        found.surroundings.pod_monitors |= kind == POD_MONITOR;
        found.surroundings.scaled_objects |= kind == SCALED_OBJECT;
        found.live.extend(listed);
    }
    found.stuck = Box::pin(mounts::stuck(client, namespace, &found.live, &now())).await;
    Ok(found)
}

/// The objects of a kind that belong to an index by their labels.
///
/// # Errors
/// [`DereferenceError::Read`].
pub(super) async fn list(
    client: &Client,
    namespace: &str,
    name: &str,
    kind: Kind,
    parameters: ListParams,
) -> Result<Vec<Live>, DereferenceError> {
    let api = kind.objects(client, namespace);
    let parameters = parameters.labels(&selector_text(&index_labels(name)));
    let listed = read(&kind.resource().plural, api.list(&parameters)).await?;
    Ok(listed.items.into_iter().map(|object| Live { kind, object }).collect())
}

/// Types of other operators need not be installed.
fn is_unknown_type(kind: Kind, error: &CallError) -> bool {
    kind.may_be_missing() && matches!(error.code(), Some(404 | 403))
}

/// Reads what is needed to reach the backends, and looks for what else the pods are given.
///
/// # Errors
/// [`DereferenceError`].
pub async fn access(client: &Client, index: &ValidatedIndex) -> Result<Access, DereferenceError> {
    let mut secrets = Secrets::of(client, index);
    let access = secrets.access().await?;
    secrets.check_mounted().await?;
    Ok(access)
}

/// Reads what is needed to reach the backends and no more: nothing else may hold up a deletion.
///
/// # Errors
/// [`DereferenceError`].
pub async fn access_alone(client: &Client, index: &ValidatedIndex) -> Result<Access, DereferenceError> {
    Secrets::of(client, index).access().await
}

/// What the Ingress lacks for TLS, in words. No pod mounts it and nothing else waits for it.
///
/// # Errors
/// [`DereferenceError::Read`].
pub async fn ingress_lacks(
    client: &Client,
    index: &ValidatedIndex,
) -> Result<Option<String>, DereferenceError> {
    let ingress = index.spec.gateway.ingress.as_ref();
    let Some(secret) = ingress.and_then(|ingress| ingress.tls_secret.as_deref()) else { return Ok(None) };
    let mut secrets = Secrets::of(client, index);
    for entry in ["tls.crt", "tls.key"] {
        match secrets.text("spec.gateway.ingress.tlsSecret", secret, entry).await {
            Err(error) if error.is_users() => {
                return Ok(Some(format!("{error}; until then the Ingress has no certificate of its own")));
            }
            outcome => drop(outcome?),
        }
    }
    Ok(None)
}

/// Secrets of one namespace, each read once.
struct Secrets<'a> {
    api: Api<Secret>,
    index: &'a ValidatedIndex,
    read: BTreeMap<String, Secret>,
}

impl<'a> Secrets<'a> {
    fn of(client: &Client, index: &'a ValidatedIndex) -> Self {
        Self { api: Api::namespaced(client.clone(), &index.namespace), index, read: BTreeMap::new() }
    }

    /// How the backends are reached.
    async fn access(&mut self) -> Result<Access, DereferenceError> {
        let index = self.index;
        let kafka = &index.spec.kafka;
        let mut access = KafkaAccess { servers: kafka.bootstrap_servers.join(","), ..KafkaAccess::default() };
        if let Some(secret) = &kafka.login_secret {
            let path = "spec.kafka.loginSecret";
            access.login =
                Some((self.text(path, secret, "user").await?, self.text(path, secret, "password").await?));
        }
        if let Some(tls) = &kafka.tls {
            let paths = ["spec.kafka.tls.authorities", "spec.kafka.tls.clientSecret"];
            access.tls = Some(self.certificates(paths, tls).await?);
        }
        let mut hbase_tls = None;
        if let Some(tls) = &index.spec.hbase.tls {
            let paths = ["spec.hbase.tls.authorities", "spec.hbase.tls.clientSecret"];
            hbase_tls = Some(self.certificates(paths, tls).await?);
        }
        Ok(Access {
            kafka: access,
            hbase: index.spec.hbase.thrift2_servers.clone(),
            hbase_tls,
            gateway: format!("http://{}", gateway_host(index)),
        })
    }

    /// What the operator itself does not use, but pods that name a missing secret hang without a word: better told here.
    async fn check_mounted(&mut self) -> Result<(), DereferenceError> {
        let index = self.index;
        let (catalog, cache) = (&index.spec.catalog, &index.spec.cache);
        for entry in ["user", "password"] {
            self.text("spec.catalog.loginSecret", &catalog.login_secret, entry).await?;
        }
        if let Some(tls) = &catalog.tls {
            let paths = ["spec.catalog.tls.authorities", "spec.catalog.tls.clientSecret"];
            self.certificates(paths, tls).await?;
        }
        if let Some(secret) = &cache.login_secret {
            for entry in cache.login_entries() {
                self.text("spec.cache.loginSecret", secret, entry).await?;
            }
        }
        if let Some(login) = &cache.sentinel_login {
            for entry in login.entries() {
                self.text("spec.cache.sentinelLogin.secret", &login.secret, entry).await?;
            }
        }
        if let Some(tls) = &cache.tls {
            let paths = ["spec.cache.tls.authorities", "spec.cache.tls.clientSecret"];
            self.certificates(paths, tls).await?;
        }
        Ok(())
    }

    /// What a connection needs; `paths` are the fields that name authorities and the client's secret.
    async fn certificates(
        &mut self,
        paths: [&'static str; 2],
        tls: &TlsSpec,
    ) -> Result<Certificates, DereferenceError> {
        let mut certificates = Certificates::default();
        if let Some(SecretKey { name, key }) = &tls.authorities {
            certificates.authorities = Some(self.text(paths[0], name, key).await?);
        }
        if let Some(secret) = &tls.client_secret {
            certificates.client = Some((
                self.text(paths[1], secret, "tls.crt").await?,
                self.text(paths[1], secret, "tls.key").await?,
            ));
        }
        Ok(certificates)
    }

    async fn text(&mut self, path: &'static str, name: &str, key: &str) -> Result<String, DereferenceError> {
        if !self.read.contains_key(name) {
            let found = read(&format!("Secret {name}"), self.api.get_opt(name)).await?;
            let namespace = self.index.namespace.clone();
            let secret = found.ok_or_else(|| DereferenceError::FindSecret {
                path,
                name: name.to_owned(),
                namespace,
            })?;
            self.read.insert(name.to_owned(), secret);
        }
        let entry = self.read.get(name).and_then(|secret| secret.data.as_ref()?.get(key));
        let text = entry.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
        // A file made with an editor ends in a line break that is not part of it.
        let text = text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
        text.ok_or_else(|| DereferenceError::FindKey { path, name: name.to_owned(), key: key.to_owned() })
    }
}

/// Reads within the time limit of a call.
///
/// # Errors
/// [`DereferenceError::Read`].
pub(crate) async fn read<T>(
    what: &str,
    work: impl Future<Output = kube::Result<T>>,
) -> Result<T, DereferenceError> {
    bounded(work).await.map_err(|source| DereferenceError::Read { what: what.to_owned(), source })
}
