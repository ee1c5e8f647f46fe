//! The settings that all programs of an index share: a ConfigMap of variables, and the secrets that its paths name.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, KeyToPath, SecretVolumeSource, Volume, VolumeMount};

use super::meta::object_meta;
use crate::api::{CacheMode, TlsSpec};
use crate::names::index_labels;
use crate::validate::ValidatedIndex;

/// Where secrets are mounted.
const SECRETS: &str = "/etc/medindex";

/// Variables, and what has to be mounted for them.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// Variables of docs/settings.md.
    pub(super) variables: BTreeMap<String, String>,
    /// Secrets.
    pub(super) volumes: Vec<Volume>,
    /// Where they are in a container.
    pub(super) mounts: Vec<VolumeMount>,
}

/// Name of the ConfigMap.
pub(super) fn config_map_name(index: &ValidatedIndex) -> String {
    format!("{}-settings", index.name)
}

/// The ConfigMap with the variables.
pub(super) fn config_map(index: &ValidatedIndex, settings: &Settings) -> ConfigMap {
    ConfigMap {
        metadata: object_meta(index, config_map_name(index), index_labels(&index.name)),
        data: Some(settings.variables.clone()),
        ..ConfigMap::default()
    }
}

/// The settings of an index.
pub(super) fn settings(index: &ValidatedIndex) -> Settings {
    let (spec, mut settings) = (&index.spec, Settings::default());
    settings.set("INDEX", &index.index);
    settings.set("PARTITIONS", &spec.kafka.partitions.to_string());
    settings.set("ORGANISATION", &spec.organisation);
    settings.set("KAFKA_BOOTSTRAP", &spec.kafka.bootstrap_servers.join(","));
    settings.login("kafka", spec.kafka.login_secret.as_deref(), &["user", "password"]);
    settings.tls("kafka", spec.kafka.tls.as_ref());
    settings.set("HBASE_THRIFT", &spec.hbase.thrift_servers.join(","));
    settings.set("HBASE_NAMESPACE", &index.hbase_namespace);
    settings.tls("hbase", spec.hbase.tls.as_ref());
    settings.set("MYSQL_SERVER", &spec.catalog.server);
    settings.set("MYSQL_DATABASE", &index.database);
    settings.login("mysql", Some(&spec.catalog.login_secret), &["user", "password"]);
    settings.tls("mysql", spec.catalog.tls.as_ref());
    settings.set("REDIS_SERVERS", &spec.cache.servers.join(","));
    settings.set(
        "REDIS_MODE",
        match spec.cache.mode {
            CacheMode::Standalone => "standalone",
            CacheMode::Sentinel => "sentinel",
            CacheMode::Cluster => "cluster",
        },
    );
    settings.set("REDIS_SERVICE", &spec.cache.service);
    settings.login("redis", spec.cache.login_secret.as_deref(), spec.cache.login_entries());
    if let Some(login) = &spec.cache.sentinel_login {
        settings.login("redis-sentinel", Some(&login.secret), login.entries());
    }
    settings.tls("redis", spec.cache.tls.as_ref());
    settings
}

impl Settings {
    fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(format!("MEDINDEX_{name}"), value.to_owned());
    }

    /// Mounts the entries of a login, and names their files.
    fn login(&mut self, backend: &str, secret: Option<&str>, entries: &[&str]) {
        let Some(secret) = secret else { return };
        self.mount(&format!("{backend}-login"), secret, entries);
        for entry in entries {
            let variable = format!("{backend}_{entry}_FILE").to_uppercase().replace('-', "_");
            self.set(&variable, &format!("{SECRETS}/{backend}-login/{entry}"));
        }
    }

    fn tls(&mut self, backend: &str, tls: Option<&TlsSpec>) {
        let Some(tls) = tls else { return };
        let prefix = backend.to_uppercase();
        self.set(&format!("{prefix}_TLS"), "true");
        if let Some(authorities) = &tls.authorities {
            self.mount(&format!("{backend}-authorities"), &authorities.name, &[&authorities.key]);
            let path = format!("{SECRETS}/{backend}-authorities/{}", authorities.key);
            self.set(&format!("{prefix}_AUTHORITIES"), &path);
        }
        if let Some(secret) = &tls.client_secret {
            self.mount(&format!("{backend}-client"), secret, &["tls.crt", "tls.key"]);
            self.set(&format!("{prefix}_CERTIFICATE"), &format!("{SECRETS}/{backend}-client/tls.crt"));
            self.set(&format!("{prefix}_KEY"), &format!("{SECRETS}/{backend}-client/tls.key"));
        }
    }

    fn mount(&mut self, name: &str, secret: &str, entries: &[&str]) {
        let items = entries.iter().map(|entry| KeyToPath {
            key: (*entry).to_owned(),
            path: (*entry).to_owned(),
            ..KeyToPath::default()
        });
        let source = SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            items: Some(items.collect()),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        };
        self.volumes.push(Volume { name: name.to_owned(), secret: Some(source), ..Volume::default() });
        self.mounts.push(VolumeMount {
            name: name.to_owned(),
            mount_path: format!("{SECRETS}/{name}"),
            read_only: Some(true),
            ..VolumeMount::default()
        });
    }
}
