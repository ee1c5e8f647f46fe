//! The cache on Redis: one server, a set watched by Sentinels, or a cluster.
//!
//! Guarantees, beside those of [`crate::cache`]: an action takes at most [`RedisOptions::response_timeout`],
//! whatever the servers do, and after [`RedisOptions::failures`] failures in a row (or one that says that the
//! connection is of no use) actions fail at once, without a wait, until a task in the background has a
//! connection on which a write succeeds. So a Redis that is dead, hangs or fails over slows a request by at
//! most `response_timeout` × [`failures`](RedisOptions::failures) while nobody knows yet, and then not at
//! all. No request waits for a reconnect.
//!
//! With Sentinels the connection follows the primary that they name. In a cluster keys are spread by their
//! whole text (unless a caller puts braces into a key; a prefix with braces is refused), batches are split by
//! key, and while one primary does not answer the whole cache is out of use, until its replica took over.
//!
//! Files with a renewed login or certificate are read at every new connection, and a new connection is made
//! when they changed ([`RedisOptions::check_files_every`]).
//!
//! The login needs these commands on keys that begin with the prefix: GET, MGET, SET, UNLINK; and PING,
//! HELLO, CLIENT, ROLE (with Sentinels), CLUSTER (of a cluster).
//!
//! Failure modes: what does not answer is [`Fault::Unavailable`]; a login, certificate or setting that the
//! server refuses is [`Fault::Inaccessible`] and says what to do. [`RedisCache::open`] succeeds while Redis
//! is away: the cache is empty until it is there.

mod connect;
mod faults;
mod link;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::try_join_all;
use redis::{Cmd, RedisError, Value, cmd, pipe};

use self::connect::Connection;
use self::link::Link;
use crate::cache::{Cache, CacheEntry, CacheError, Result};
use crate::credentials::{CHECK_EVERY, LoginFiles, TlsFiles};
use crate::fault::Fault;

/// Longest time to live; Redis counts milliseconds in 63 bits.
const LONGEST: Duration = Duration::from_hours(24 * 365 * 10);

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisServer {
    /// Name or address. TLS checks that the certificate holds for it.
    pub host: String,
    /// Port, usually 6379, of Sentinels 26379.
    pub port: u16,
}

/// How the servers work together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisServers {
    /// One server.
    Standalone(RedisServer),
    /// A primary with replicas, watched by Sentinels.
    Sentinel {
        /// The Sentinels; one that answers is enough.
        sentinels: Vec<RedisServer>,
        /// Name by which they know the primary.
        service: String,
        /// Files with the login of the Sentinels themselves, if they want one.
        login: Option<LoginFiles>,
    },
    /// A cluster; any of its servers, one that answers is enough.
    Cluster(Vec<RedisServer>),
}

/// Where the cache lies and how it is used.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// The servers.
    pub servers: RedisServers,
    /// What every key begins with, before a colon: one for each index, so that several share servers. Without
    /// braces.
    pub prefix: String,
    /// Files with the user, unless it is `default`, and the password.
    pub login: Option<LoginFiles>,
    /// Files for TLS, of servers and Sentinels; `None`: unencrypted.
    pub tls: Option<TlsFiles>,
    /// How long a connection may take to be made; in the background, no request waits for it.
    pub connect_timeout: Duration,
    /// Longest that an action takes.
    pub response_timeout: Duration,
    /// After how many failures in a row actions fail at once, 1 and up.
    pub failures: u32,
    /// How often to look whether the files were renewed.
    pub check_files_every: Duration,
}

impl RedisOptions {
    /// The usual settings: 1 s to connect, 300 ms to answer, 3 failures; neither login nor TLS.
    pub fn new(servers: RedisServers, prefix: impl Into<String>) -> Self {
        Self {
            servers,
            prefix: prefix.into(),
            login: None,
            tls: None,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_millis(300),
            failures: 3,
            check_files_every: CHECK_EVERY,
        }
    }

    /// Files with every login: that of the servers and that of their Sentinels.
    fn logins(&self) -> impl Iterator<Item = &LoginFiles> {
        let sentinels = match &self.servers {
            RedisServers::Sentinel { login, .. } => login.as_ref(),
            RedisServers::Standalone(_) | RedisServers::Cluster(_) => None,
        };
        self.login.iter().chain(sentinels)
    }

    /// For messages.
    fn place(&self) -> String {
        let list = |servers: &[RedisServer]| {
            let names: Vec<_> =
                servers.iter().map(|server| format!("{}:{}", server.host, server.port)).collect();
            names.join(", ")
        };
        match &self.servers {
            RedisServers::Standalone(server) => format!("Redis on {}", list(std::slice::from_ref(server))),
            RedisServers::Sentinel { sentinels, service, .. } => {
                format!("Redis {service} of the Sentinels {}", list(sentinels))
            }
            RedisServers::Cluster(servers) => format!("the Redis cluster {}", list(servers)),
        }
    }
}

/// A cache on Redis. Cloning shares it; dropping the last clone closes its connections.
#[derive(Clone)]
pub struct RedisCache {
    prefix: String,
    link: Arc<Link>,
}

impl RedisCache {
    /// Opens the cache. It also succeeds while no server answers: every action fails until one does.
    ///
    /// # Errors
    /// [`CacheError::Open`] when a file cannot be read or a server refuses the login or the settings.
    pub async fn open(options: RedisOptions) -> Result<Self> {
        if options.prefix.contains(['{', '}']) {
            let text = format!(
                "the prefix {:?} has braces, which would keep keys on one server of a cluster",
                options.prefix
            );
            return Err(CacheError::Open(Fault::Inaccessible {
                place: options.place(),
                source: text.into(),
            }));
        }
        let prefix = format!("{}:", options.prefix);
        let link = Link::open(options).await.map_err(CacheError::Open)?;
        Ok(Self { prefix, link: Arc::new(link) })
    }

    /// Whether a connection is there. If not, actions fail at once.
    pub fn is_connected(&self) -> bool {
        self.link.is_connected()
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn set_command(&self, entry: &CacheEntry) -> Cmd {
        let mut command = cmd("SET");
        let life = milliseconds(entry.time_to_live);
        command.arg(self.key(&entry.key)).arg(entry.value.as_ref()).arg("PX").arg(life);
        command
    }
}

/// A time to live as Redis takes it: at least one millisecond.
fn milliseconds(time_to_live: Duration) -> u64 {
    (time_to_live.min(LONGEST).as_millis() as u64).max(1)
}

/// Runs commands one by one, all at the same time; each finds its own server.
async fn run_each(connection: &Connection, commands: Vec<Cmd>) -> Result<Vec<Value>, RedisError> {
    try_join_all(commands.into_iter().map(|command| {
        let mut connection = connection.clone();
        async move { connection.run(&command).await }
    }))
    .await
}

#[async_trait]
impl Cache for RedisCache {
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = keys.iter().map(|key| self.key(key)).collect();
        let count = keys.len();
        let values = self.link.run(async |mut connection: Connection| match connection {
            Connection::One(_) => {
                let values = connection.run(cmd("MGET").arg(&keys)).await?;
                Ok(redis::from_redis_value::<Vec<Option<Bytes>>>(values)?)
            }
            Connection::Cluster(_) => {
                let commands = keys.iter().map(|key| cmd("GET").arg(key).take());
                let values = run_each(&connection, commands.collect()).await?;
                Ok(values.into_iter().map(redis::from_redis_value).collect::<Result<_, _>>()?)
            }
        });
        values.await.map_err(|source| CacheError::Get { keys: count, source })
    }

    async fn set_many(&self, entries: Vec<CacheEntry>) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let commands: Vec<Cmd> = entries.iter().map(|entry| self.set_command(entry)).collect();
        let outcome = self.link.run(async |connection: Connection| match connection {
            Connection::One(mut one) => {
                let mut pipeline = pipe();
                for command in commands {
                    pipeline.add_command(command).ignore();
                }
                pipeline.query_async::<()>(&mut one).await
            }
            Connection::Cluster(_) => run_each(&connection, commands).await.map(drop),
        });
        outcome.await.map_err(|source| CacheError::Set { keys: entries.len(), source })
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, time_to_live: Duration) -> Result<bool> {
        let mut command = self.set_command(&CacheEntry { key: key.to_owned(), value, time_to_live });
        command.arg("NX");
        let answer = self.link.run(async |mut connection: Connection| connection.run(&command).await);
        let answer = answer.await.map_err(|source| CacheError::Set { keys: 1, source })?;
        Ok(answer != Value::Nil)
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = keys.iter().map(|key| self.key(key)).collect();
        let count = keys.len();
        let outcome = self.link.run(async |mut connection: Connection| match connection {
            Connection::One(_) => connection.run(cmd("UNLINK").arg(&keys)).await.map(drop),
            Connection::Cluster(_) => {
                let commands = keys.iter().map(|key| cmd("UNLINK").arg(key).take());
                run_each(&connection, commands.collect()).await.map(drop)
            }
        });
        outcome.await.map_err(|source| CacheError::Delete { keys: count, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_sentinels_login_are_followed_beside_those_of_the_servers() {
        let login = |name: &str| LoginFiles::new(format!("{name}/user"), format!("{name}/password"));
        let server = RedisServer { host: "redis".to_owned(), port: 26379 };
        let mut options = RedisOptions::new(
            RedisServers::Sentinel {
                sentinels: vec![server.clone()],
                service: "mymaster".to_owned(),
                login: Some(login("sentinel")),
            },
            "index",
        );
        options.login = Some(login("server"));
        assert!(options.logins().eq(&[login("server"), login("sentinel")]));
        options.servers = RedisServers::Standalone(server);
        assert!(options.logins().eq(&[login("server")]));
    }
}
