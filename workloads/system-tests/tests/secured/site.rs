//! Four servers that want TLS and logins, what their clients are given, and the renewal of both.

use std::fs;
use std::path::{Path, PathBuf};

use medindex_system_tests::Servers;
use medindex_testbed::certificates::Certificates;
use medindex_testbed::hbase::ThriftServers as _;
use medindex_testbed::kafka::Listener;
use medindex_testbed::redis::USER;
use medindex_testbed::tls_proxy::TlsProxy;
use tempfile::TempDir;

/// Passwords before and after the renewal: texts that no log has by chance.
pub(crate) const PASSWORDS: [&str; 2] = ["Fuchsbau-4711", "Dachsbau-0815"];

/// What the programs are given for one server; each has files of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    /// The login for Kafka.
    KafkaLogin,
    /// The authority of Kafka's certificate.
    KafkaAuthority,
    /// Authority, certificate and key for `HBase`'s proxy.
    Hbase,
    /// The authority of `MariaDB`'s certificate, and the login.
    Catalog,
    /// The authority of Redis' certificate, and the login.
    Cache,
}

impl Given {
    pub(crate) const ALL: [Self; 5] =
        [Self::KafkaLogin, Self::KafkaAuthority, Self::Hbase, Self::Catalog, Self::Cache];
}

/// The servers and the files of their clients.
pub(crate) struct Site {
    pub(crate) servers: Servers,
    proxy: TlsProxy,
    proxy_certificates: Certificates,
    password: &'static str,
    folder: TempDir,
}

impl Site {
    /// Starts the servers. No file of a client is there.
    pub(crate) async fn start() -> Self {
        let password = PASSWORDS[0];
        let servers = Servers::start_secured(password).await;
        let folder = tempfile::tempdir().unwrap();
        let proxy_certificates = Certificates::new(&folder.path().join("proxy")).unwrap();
        let proxy = TlsProxy::start(&proxy_certificates, servers.hbase.thrift1()).unwrap();
        servers.kafka.set_password(USER, password).unwrap();
        servers.mariadb.set_user(USER, password).unwrap();
        Self { servers, proxy, proxy_certificates, password, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Arguments of the programs for all four servers.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--kafka-bootstrap={}", self.servers.kafka.bootstrap(Listener::Scram)),
            format!("--hbase-thrift={}", self.proxy.address()),
        ];
        let file = |setting: &str, name: &str| format!("--{setting}={}", self.file(name).display());
        for server in ["kafka", "mysql", "redis"] {
            arguments.push(file(&format!("{server}-authorities"), &format!("{server}-authority.pem")));
            arguments.push(file(&format!("{server}-user-file"), &format!("{server}-user")));
            arguments.push(file(&format!("{server}-password-file"), &format!("{server}-password")));
        }
        for (setting, name) in
            [("authorities", "authority.pem"), ("certificate", "client.pem"), ("key", "client.key")]
        {
            arguments.push(file(&format!("hbase-{setting}"), &format!("hbase-{name}")));
        }
        arguments
    }

    /// Writes the files that fit the server as it is now.
    pub(crate) fn give(&self, given: Given) {
        let servers = &self.servers;
        match given {
            Given::KafkaLogin => self.write_login("kafka", self.password),
            Given::KafkaAuthority => {
                self.write("kafka-authority.pem", &servers.kafka.certificates().unwrap().authority);
            }
            Given::Hbase => self.give_hbase(&self.proxy_certificates),
            Given::Catalog => {
                self.write("mysql-authority.pem", &servers.mariadb.certificates().unwrap().authority);
                self.write_login("mysql", self.password);
            }
            Given::Cache => {
                self.write("redis-authority.pem", &servers.redis.certificates().unwrap().authority);
                self.write_login("redis", self.password);
            }
        }
    }

    /// Writes files of the right form that no server takes: another authority, another's certificate, a wrong password.
    pub(crate) fn give_wrong_ones(&self) {
        let strangers = Certificates::new(&self.file("strangers")).unwrap();
        self.give_hbase(&Certificates {
            authority: self.proxy_certificates.authority.clone(),
            ..strangers.clone()
        });
        for server in ["kafka", "mysql", "redis"] {
            self.write(&format!("{server}-authority.pem"), &strangers.authority);
            self.write_login(server, "Irrweg-1234");
        }
    }

    fn give_hbase(&self, certificates: &Certificates) {
        self.write("hbase-authority.pem", &certificates.authority);
        self.write("hbase-client.pem", &certificates.client_certificate);
        self.write("hbase-client.key", &certificates.client_key);
    }

    fn write_login(&self, server: &str, password: &str) {
        fs::write(self.file(&format!("{server}-user")), USER).unwrap();
        fs::write(self.file(&format!("{server}-password")), password).unwrap();
    }

    fn write(&self, name: &str, source: &Path) {
        fs::copy(source, self.file(name)).unwrap();
    }

    /// Gives every server certificates of another authority and every user another password. Connections end. Programs are not given them.
    pub(crate) fn renew_servers(&mut self) {
        self.password = PASSWORDS[1];
        let servers = &mut self.servers;
        servers.kafka.set_password(USER, self.password).unwrap();
        servers.kafka.renew_certificates().unwrap();
        servers.kafka.kill(1);
        servers.kafka.restart(1).unwrap();
        servers.mariadb.set_user(USER, self.password).unwrap();
        servers.mariadb.renew_certificates(USER).unwrap();
        servers.redis.set_password(self.password).unwrap();
        servers.redis.renew_certificates().unwrap();
        self.proxy_certificates = Certificates::new(&self.file("proxy-renewed")).unwrap();
        self.proxy.renew(&self.proxy_certificates).unwrap();
        self.proxy.close_connections();
    }
}
