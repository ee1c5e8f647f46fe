//! The administration itself.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::connection::{Client, TimeLimits, connect};
use crate::description::{FamilyDescription, TableDescription, TableName, check_namespace};
use crate::difference::differences;
use crate::error::{HbaseAdminError, Result};
use crate::hbase2::{TIOError, TNamespaceDescriptor, TTHBaseServiceSyncClient};
use crate::state::{Region, TableState};
use crate::wire::{read_family, wire_family, wire_name, wire_table};

/// How often a table that is being made is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What TLS connections are made with, as it is now.
type TlsSource = Box<dyn Fn() -> io::Result<Arc<ClientConfig>> + Send + Sync>;

/// An administrator's connection, made when it is needed and made anew after it broke. One call at a time.
pub struct HbaseAdmin {
    address: String,
    limits: TimeLimits,
    tls: Option<TlsSource>,
    connected: Option<Connected>,
}

/// A connection, and what it was made with.
struct Connected {
    client: Client,
    tls: Option<Arc<ClientConfig>>,
}

impl HbaseAdmin {
    /// An administrator at a Thrift 2 server, `host:port`. Connects at the first call.
    pub fn new(address: impl Into<String>, limits: TimeLimits) -> Self {
        Self { address: address.into(), limits, tls: None, connected: None }
    }

    /// Speaks TLS: the address is that of a proxy which ends it before the server, and a name in the proxy's certificate.
    ///
    /// `current` says before every call with which certificates. When it gives another configuration than the connection was made with, because
    /// they were renewed, the connection is made anew.
    #[must_use]
    pub fn with_tls(
        mut self,
        current: impl Fn() -> io::Result<Arc<ClientConfig>> + Send + Sync + 'static,
    ) -> Self {
        self.tls = Some(Box::new(current));
        self.connected = None;
        self
    }

    /// Namespaces, HBase's own (`default`, `hbase`) included.
    ///
    /// # Errors
    /// [`HbaseAdminError::ReadTls`], [`HbaseAdminError::Connect`], [`HbaseAdminError::CheckServer`], [`HbaseAdminError::Call`],
    /// [`HbaseAdminError::Refuse`]; the other calls have these too.
    pub fn namespaces(&mut self) -> Result<Vec<String>> {
        self.call("listing namespaces", TTHBaseServiceSyncClient::list_namespaces)
    }

    /// Makes a namespace unless it is there; whether it was made.
    ///
    /// # Errors
    /// [`HbaseAdminError::CheckName`].
    pub fn ensure_namespace(&mut self, namespace: &str) -> Result<bool> {
        check_namespace(namespace)?;
        if self.namespaces()?.iter().any(|there| there == namespace) {
            return Ok(false);
        }
        let descriptor = TNamespaceDescriptor { name: namespace.to_owned(), configuration: None };
        let made = self.call(&format!("making namespace {namespace}"), |client| {
            client.create_namespace(descriptor.clone())
        });
        // Another administrator may have been faster.
        if made.is_err() && self.namespaces()?.iter().any(|there| there == namespace) {
            return Ok(false);
        }
        made.map(|()| true)
    }

    /// Deletes an empty namespace; whether it was there.
    ///
    /// # Errors
    /// [`HbaseAdminError::Refuse`] when it has tables.
    pub fn delete_namespace(&mut self, namespace: &str) -> Result<bool> {
        check_namespace(namespace)?;
        if !self.namespaces()?.iter().any(|there| there == namespace) {
            return Ok(false);
        }
        self.call(&format!("deleting namespace {namespace}"), |client| {
            client.delete_namespace(namespace.to_owned())
        })?;
        Ok(true)
    }

    /// Tables of a namespace, by name.
    ///
    /// # Errors
    /// [`HbaseAdminError::Refuse`] when there is no such namespace.
    pub fn tables(&mut self, namespace: &str) -> Result<Vec<TableName>> {
        check_namespace(namespace)?;
        let found = self.call(&format!("listing tables of namespace {namespace}"), |client| {
            client.get_table_names_by_namespace(namespace.to_owned())
        })?;
        let mut names: Vec<TableName> = found
            .into_iter()
            .map(|name| TableName::new(namespace, String::from_utf8_lossy(&name.qualifier)))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Reads what a table is; `None` if there is no such table.
    ///
    /// # Errors
    /// [`HbaseAdminError::ReadTable`].
    pub fn table(&mut self, name: &TableName) -> Result<Option<TableState>> {
        name.check()?;
        let action = format!("reading table {name}");
        if !self.call(&action, |client| client.table_exists(wire_name(name)))? {
            return Ok(None);
        }
        let descriptor = self.call(&action, |client| client.get_table_descriptor(wire_name(name)))?;
        let families = descriptor.columns.unwrap_or_default();
        let mut families =
            families.iter().map(|family| read_family(name, family)).collect::<Result<Vec<_>>>()?;
        families.sort_by(|one, other| one.name.cmp(&other.name));
        let enabled = self.call(&action, |client| client.is_table_enabled(wire_name(name)))?;
        Ok(Some(TableState { families, regions: self.regions(name)?, enabled }))
    }

    fn regions(&mut self, name: &TableName) -> Result<Vec<Region>> {
        let found = self.call(&format!("reading the regions of table {name}"), |client| {
            client.get_all_region_locations(name.to_string().into_bytes())
        })?;
        let mut regions: Vec<Region> = found
            .into_iter()
            // Replicas of a region, numbered from 1, have its boundaries.
            .filter(|location| location.region_info.replica_id.unwrap_or(0) == 0)
            .map(|location| {
                let server = location.server_name;
                Region {
                    start_key: location.region_info.start_key.unwrap_or_default(),
                    end_key: location.region_info.end_key.unwrap_or_default(),
                    server: format!("{}:{}", server.host_name, server.port.unwrap_or(0)),
                }
            })
            .collect();
        regions.sort_by(|one, other| one.start_key.cmp(&other.start_key));
        Ok(regions)
    }

    /// Creates a table, waits until it serves, reads it back and compares.
    ///
    /// # Errors
    /// [`HbaseAdminError::CheckDescription`]; [`HbaseAdminError::Refuse`] when it is there already or the namespace is not;
    /// [`HbaseAdminError::CheckTable`] when what was made is not what was described.
    pub fn create_table(&mut self, table: &TableDescription) -> Result<TableState> {
        table.check()?;
        let action = format!("creating table {}", table.name);
        let keys: Vec<Vec<u8>> = table.split_keys.iter().map(|key| key.clone().into_bytes()).collect();
        self.call(&action, |client| client.create_table(wire_table(table), keys.clone()))?;
        self.wait_until_it_serves(&table.name)?;
        let found = self.table(&table.name)?;
        let vanished = || HbaseAdminError::Refuse {
            action: action.clone(),
            address: self.address.clone(),
            reason: "it was deleted meanwhile".to_owned(),
            can_retry: true,
        };
        let found = found.ok_or_else(vanished)?;
        let differences = differences(table, &found);
        if differences.is_empty() {
            tracing::info!(table = %table.name, regions = found.regions.len(), "table created");
            Ok(found)
        } else {
            Err(HbaseAdminError::CheckTable { table: table.name.clone(), differences })
        }
    }

    fn wait_until_it_serves(&mut self, name: &TableName) -> Result<()> {
        let action = format!("waiting until table {name} serves");
        let deadline = Instant::now() + self.limits.answer;
        while !self.call(&action, |client| client.is_table_available(wire_name(name)))? {
            if Instant::now() > deadline {
                return Err(HbaseAdminError::Refuse {
                    action,
                    address: self.address.clone(),
                    reason: format!("its regions are not all online after {:?}", self.limits.answer),
                    can_retry: true,
                });
            }
            thread::park_timeout(LOOK);
        }
        Ok(())
    }

    /// Creates a table unless there is one of its name, and reads back what is there, which [`differences`] compares.
    ///
    /// # Errors
    /// As [`HbaseAdmin::create_table`].
    pub fn ensure_table(&mut self, table: &TableDescription) -> Result<TableState> {
        match self.table(&table.name)? {
            Some(found) => Ok(found),
            None => self.create_table(table),
        }
    }

    /// Gives a family of a table the settings described; what is stored follows as it is compacted.
    ///
    /// # Errors
    /// [`HbaseAdminError::Refuse`] when there is no such table or family.
    pub fn alter_family(&mut self, name: &TableName, family: &FamilyDescription) -> Result<()> {
        name.check()?;
        self.call(&format!("altering family {} of table {name}", family.name), |client| {
            client.modify_column_family(wire_name(name), wire_family(family))
        })
    }

    /// Enables a table that is disabled.
    ///
    /// # Errors
    /// [`HbaseAdminError::Refuse`] when there is no such table.
    pub fn enable_table(&mut self, name: &TableName) -> Result<()> {
        name.check()?;
        self.call(&format!("enabling table {name}"), |client| client.enable_table(wire_name(name)))
    }

    /// Disables a table: it keeps its rows and serves none.
    ///
    /// # Errors
    /// [`HbaseAdminError::Refuse`] when there is no such table.
    pub fn disable_table(&mut self, name: &TableName) -> Result<()> {
        name.check()?;
        self.call(&format!("disabling table {name}"), |client| client.disable_table(wire_name(name)))
    }

    /// Deletes a table with everything in it; whether it was there.
    ///
    /// # Errors
    /// [`HbaseAdminError::Refuse`].
    pub fn delete_table(&mut self, name: &TableName) -> Result<bool> {
        name.check()?;
        let action = format!("deleting table {name}");
        if !self.call(&action, |client| client.table_exists(wire_name(name)))? {
            return Ok(false);
        }
        if self.call(&action, |client| client.is_table_enabled(wire_name(name)))? {
            self.call(&action, |client| client.disable_table(wire_name(name)))?;
        }
        self.call(&action, |client| client.delete_table(wire_name(name)))?;
        tracing::info!(table = %name, "table deleted");
        Ok(true)
    }

    fn call<T>(&mut self, action: &str, work: impl FnOnce(&mut Client) -> thrift::Result<T>) -> Result<T> {
        let mut connected = self.take_connection()?;
        let outcome = work(&mut connected.client);
        let error = match outcome {
            Ok(value) => {
                self.connected = Some(connected);
                return Ok(value);
            }
            Err(error) => error,
        };
        let (action, address) = (action.to_owned(), self.address.clone());
        let refusal = match &error {
            thrift::Error::User(refusal) => refusal.downcast_ref::<TIOError>(),
            _ => None,
        };
        // After anything but a refusal the connection may hold half an answer: it is not used again.
        let Some(refusal) = refusal else {
            return Err(HbaseAdminError::Call { action, address, source: error });
        };
        let reason = first_line(refusal.message.as_deref().unwrap_or("no reason given"));
        let can_retry = refusal.can_retry.unwrap_or(false);
        self.connected = Some(connected);
        Err(HbaseAdminError::Refuse { action, address, reason, can_retry })
    }

    /// The connection there is, if it was made with the certificates of now, else a new one.
    fn take_connection(&mut self) -> Result<Connected> {
        let unread = |source| HbaseAdminError::ReadTls { address: self.address.clone(), source };
        let tls = self.tls.as_ref().map(|current| current()).transpose().map_err(unread)?;
        let is_of_now = |connected: &Connected| match (&connected.tls, &tls) {
            (None, None) => true,
            (Some(then), Some(now)) => Arc::ptr_eq(then, now),
            _ => false,
        };
        match self.connected.take().filter(is_of_now) {
            Some(connected) => Ok(connected),
            None => Ok(Connected { client: connect(&self.address, self.limits, tls.as_ref())?, tls }),
        }
    }
}

/// The exception and its message, without the stack.
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or(message).trim().to_owned()
}
