//! How a connection is made, in each of the three ways.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, RedisResult, TlsCertificates, TlsMode, Value, cmd,
};

use super::{RedisOptions, RedisServer, RedisServers};
use crate::credentials::{LoginFiles, Secret, TlsFiles};
use crate::fault::Fault;

/// How long the value lives that a new connection is tried with.
const PROBE_LIFE: Duration = Duration::from_secs(1);

/// A connection that many tasks use at the same time.
#[derive(Clone)]
pub(super) enum Connection {
    /// To one server.
    One(MultiplexedConnection),
    /// To all servers of a cluster.
    Cluster(ClusterConnection),
}

impl Connection {
    /// Runs a command; what the server refuses is an error.
    pub(super) async fn run(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        }
    }

    /// Fails unless every primary answers and a write succeeds.
    async fn probe(&mut self, prefix: &str) -> RedisResult<()> {
        self.run(&cmd("PING")).await?;
        let life = PROBE_LIFE.as_millis() as u64;
        self.run(cmd("SET").arg(format!("{prefix}:probe")).arg("").arg("PX").arg(life)).await?;
        Ok(())
    }
}

/// Why there is no connection.
pub(super) enum ConnectError {
    /// Files cannot be read.
    Files(Fault),
    /// The server or the client refused.
    Redis(RedisError),
    /// It took too long.
    Late(Duration),
}

impl From<Fault> for ConnectError {
    fn from(fault: Fault) -> Self {
        Self::Files(fault)
    }
}

impl From<RedisError> for ConnectError {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

struct Login {
    /// `None`: the servers' user `default`.
    user: Option<Secret>,
    password: Secret,
}

fn read_login(files: Option<&LoginFiles>) -> Result<Option<Login>, Fault> {
    files.map(|files| Ok(Login { user: files.read_user()?, password: files.read_password()? })).transpose()
}

fn read_certificates(files: &TlsFiles) -> Result<TlsCertificates, Fault> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|source| Fault::Inaccessible {
            place: path.display().to_string(),
            source: source.into(),
        })
    };
    let client_tls = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key)) => {
            Some(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
        }
        _ => None,
    };
    Ok(TlsCertificates { client_tls, root_cert: files.authorities.as_ref().map(read).transpose()? })
}

/// Makes a connection with the login and the certificates as the files hold them now, and tries it with a
/// write.
pub(super) async fn connect(options: &RedisOptions) -> Result<Connection, ConnectError> {
    // A name is looked up, servers and Sentinels are asked one after the other: some of these times, but not
    // without end.
    let patience = options.connect_timeout * 5;
    let make = async {
        let mut connection = make(options).await?;
        connection.probe(&options.prefix).await?;
        Ok(connection)
    };
    tokio::time::timeout(patience, make).await.unwrap_or(Err(ConnectError::Late(patience)))
}

async fn make(options: &RedisOptions) -> Result<Connection, ConnectError> {
    let login = read_login(options.login.as_ref())?;
    let certificates = options.tls.as_ref().map(read_certificates).transpose()?;
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(options.connect_timeout))
        .set_response_timeout(Some(options.response_timeout));
    match &options.servers {
        RedisServers::Standalone(server) => {
            let information = information(server, login.as_ref(), certificates.is_some())?;
            let client = match certificates {
                Some(certificates) => Client::build_with_tls(information, certificates)?,
                None => Client::open(information)?,
            };
            Ok(Connection::One(client.get_multiplexed_async_connection_with_config(&settings).await?))
        }
        RedisServers::Sentinel { sentinels, service, login: sentinel_login } => {
            let sentinel_login = read_login(sentinel_login.as_ref())?;
            let addresses: Vec<_> =
                sentinels.iter().map(|sentinel| address(sentinel, certificates.is_some())).collect();
            let mut builder = SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)?;
            if let Some(login) = &login {
                builder = builder.set_client_to_redis_password(login.password.reveal());
                if let Some(user) = &login.user {
                    builder = builder.set_client_to_redis_username(user.reveal());
                }
            }
            if let Some(login) = &sentinel_login {
                builder = builder.set_client_to_sentinel_password(login.password.reveal());
                if let Some(user) = &login.user {
                    builder = builder.set_client_to_sentinel_username(user.reveal());
                }
            }
            if let Some(certificates) = certificates {
                builder = builder
                    .set_client_to_redis_tls_mode(TlsMode::Secure)
                    .set_client_to_redis_certificates(certificates.clone())
                    .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                    .set_client_to_sentinel_certificates(certificates);
            }
            let mut client = builder.build()?;
            Ok(Connection::One(client.get_async_connection_with_config(&settings).await?))
        }
        RedisServers::Cluster(servers) => {
            let nodes: RedisResult<Vec<_>> = servers
                .iter()
                .map(|server| information(server, login.as_ref(), certificates.is_some()))
                .collect();
            let mut builder = ClusterClientBuilder::new(nodes?)
                .connection_timeout(options.connect_timeout)
                .response_timeout(options.response_timeout)
                .retries(2)
                .min_retry_wait(10)
                .max_retry_wait(100);
            if let Some(certificates) = certificates {
                builder = builder.tls(TlsMode::Secure).certs(certificates);
            }
            Ok(Connection::Cluster(builder.build()?.get_async_connection().await?))
        }
    }
}

fn address(server: &RedisServer, tls: bool) -> ConnectionAddr {
    let (host, port) = (server.host.clone(), server.port);
    if tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}

fn information(server: &RedisServer, login: Option<&Login>, tls: bool) -> RedisResult<ConnectionInfo> {
    let mut settings = RedisConnectionInfo::default();
    if let Some(login) = login {
        settings = settings.set_password(login.password.reveal());
        if let Some(user) = &login.user {
            settings = settings.set_username(user.reveal());
        }
    }
    Ok(address(server, tls).into_connection_info()?.set_redis_settings(settings))
}
