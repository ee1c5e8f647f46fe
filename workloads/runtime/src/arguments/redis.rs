//! Where Redis is.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use medindex_backends::redis_cache::{RedisOptions, RedisServer, RedisServers};

use super::{ArgumentError, login_of_default_user, parse_address, tls};

/// How Redis's servers work together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RedisMode {
    /// One server.
    Standalone,
    /// A primary with replicas; the addresses are those of its Sentinels.
    Sentinel,
    /// A Redis Cluster; the addresses are those of any of its servers.
    Cluster,
}

/// The servers of the cache.
#[derive(Debug, Clone, Args)]
pub struct RedisArguments {
    /// Redis servers (Sentinels in Sentinel mode), host:port joined by commas.
    #[arg(
        long,
        env = "MEDINDEX_REDIS_SERVERS",
        value_name = "HOST:PORT,…",
        value_delimiter = ',',
        required = true
    )]
    pub redis_servers: Vec<String>,
    /// How they work together.
    #[arg(long, env = "MEDINDEX_REDIS_MODE", value_name = "MODE", default_value = "standalone")]
    pub redis_mode: RedisMode,
    /// Name by which Sentinels know the primary.
    #[arg(long, env = "MEDINDEX_REDIS_SERVICE", value_name = "NAME", default_value = "mymaster")]
    pub redis_service: String,
    /// File with the user; `default` when left out.
    #[arg(long, env = "MEDINDEX_REDIS_USER_FILE", value_name = "FILE")]
    pub redis_user_file: Option<PathBuf>,
    /// File with the password.
    #[arg(long, env = "MEDINDEX_REDIS_PASSWORD_FILE", value_name = "FILE")]
    pub redis_password_file: Option<PathBuf>,
    /// File with the user of the Sentinels themselves, where they want a login; `default` when left out.
    #[arg(long, env = "MEDINDEX_REDIS_SENTINEL_USER_FILE", value_name = "FILE")]
    pub redis_sentinel_user_file: Option<PathBuf>,
    /// File with that user's password.
    #[arg(long, env = "MEDINDEX_REDIS_SENTINEL_PASSWORD_FILE", value_name = "FILE")]
    pub redis_sentinel_password_file: Option<PathBuf>,
    /// Speak TLS to Redis.
    #[arg(long, env = "MEDINDEX_REDIS_TLS")]
    pub redis_tls: bool,
    /// PEM file of the authorities that its certificates are checked against; the system's when left out. Implies TLS.
    #[arg(long, env = "MEDINDEX_REDIS_AUTHORITIES", value_name = "FILE")]
    pub redis_authorities: Option<PathBuf>,
    /// PEM file of this program's certificate, for mutual TLS.
    #[arg(long, env = "MEDINDEX_REDIS_CERTIFICATE", value_name = "FILE")]
    pub redis_certificate: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(long, env = "MEDINDEX_REDIS_KEY", value_name = "FILE")]
    pub redis_key: Option<PathBuf>,
    /// Milliseconds that a request waits for Redis at the most.
    #[arg(long, env = "MEDINDEX_REDIS_ANSWER_MILLISECONDS", value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub redis_answer_milliseconds: u64,
}

impl RedisArguments {
    /// The adapter's options for an index.
    ///
    /// # Errors
    /// [`ArgumentError`].
    pub fn options(&self, index: &str) -> Result<RedisOptions, ArgumentError> {
        let parse = |text: &String| {
            let (host, port) = parse_address("--redis-servers", text)?;
            Ok(RedisServer { host, port })
        };
        let mut servers: Vec<RedisServer> =
            self.redis_servers.iter().map(parse).collect::<Result<_, ArgumentError>>()?;
        let sentinel_login = login_of_default_user(
            "--redis-sentinel",
            self.redis_sentinel_user_file.as_ref(),
            self.redis_sentinel_password_file.as_ref(),
        )?;
        if sentinel_login.is_some() && self.redis_mode != RedisMode::Sentinel {
            return Err(ArgumentError::CheckSentinel);
        }
        let servers = match self.redis_mode {
            RedisMode::Standalone => {
                if servers.len() != 1 {
                    let text = self.redis_servers.join(",");
                    return Err(ArgumentError::ParseAddress { flag: "--redis-servers (standalone)", text });
                }
                RedisServers::Standalone(servers.remove(0))
            }
            RedisMode::Sentinel => RedisServers::Sentinel {
                sentinels: servers,
                service: self.redis_service.clone(),
                login: sentinel_login,
            },
            RedisMode::Cluster => RedisServers::Cluster(servers),
        };
        Ok(RedisOptions {
            login: login_of_default_user(
                "--redis",
                self.redis_user_file.as_ref(),
                self.redis_password_file.as_ref(),
            )?,
            tls: tls(
                "--redis",
                self.redis_tls,
                self.redis_authorities.as_ref(),
                self.redis_certificate.as_ref(),
                self.redis_key.as_ref(),
            )?,
            response_timeout: Duration::from_millis(self.redis_answer_milliseconds),
            ..RedisOptions::new(servers, index)
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use medindex_backends::credentials::LoginFiles;

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        redis: RedisArguments,
    }

    const USER: &str = "--redis-sentinel-user-file=/etc/medindex/sentinel/user";
    const PASSWORD: &str = "--redis-sentinel-password-file=/etc/medindex/sentinel/password";

    fn options(flags: &[&str]) -> Result<RedisOptions, ArgumentError> {
        Arguments::try_parse_from(["program", "--redis-servers=redis-0:26379"].iter().chain(flags))
            .unwrap()
            .redis
            .options("medindex")
    }

    #[test]
    fn sentinels_have_a_login_of_their_own() {
        let options = options(&[
            "--redis-mode=sentinel",
            "--redis-user-file=/etc/medindex/redis/user",
            "--redis-password-file=/etc/medindex/redis/password",
            USER,
            PASSWORD,
        ])
        .unwrap();
        let files = |name: &str| {
            LoginFiles::new(format!("/etc/medindex/{name}/user"), format!("/etc/medindex/{name}/password"))
        };
        assert_eq!(options.login, Some(files("redis")));
        let RedisServers::Sentinel { login, .. } = &options.servers else { panic!("{options:?}") };
        assert_eq!(login.as_ref(), Some(&files("sentinel")));
    }

    #[test]
    fn sentinels_without_a_login_are_asked_without_one() {
        let options = options(&["--redis-mode=sentinel"]).unwrap();
        let RedisServers::Sentinel { login, .. } = &options.servers else { panic!("{options:?}") };
        assert_eq!(login.as_ref(), None);
    }

    #[test]
    fn a_password_is_enough_for_the_default_user_and_a_user_is_not() {
        let password = "--redis-password-file=/etc/medindex/redis/password";
        let login = options(&[password]).unwrap().login.unwrap();
        assert_eq!((login.user, login.password), (None, "/etc/medindex/redis/password".into()));
        let refusal = options(&["--redis-mode=sentinel", USER]).unwrap_err().to_string();
        assert!(refusal.contains("without --redis-sentinel-password-file"), "{refusal}");
    }

    #[test]
    fn a_login_of_sentinels_without_sentinels_is_refused() {
        for mode in ["standalone", "cluster"] {
            let refusal = options(&[&format!("--redis-mode={mode}"), USER, PASSWORD]).unwrap_err();
            assert_eq!(refusal, ArgumentError::CheckSentinel);
            assert!(refusal.to_string().contains("--redis-mode"), "{refusal}");
        }
    }
}
