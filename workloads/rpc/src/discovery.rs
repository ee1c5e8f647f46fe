//! Where the processes of a kind are.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

/// Where to look for the processes of a kind.
///
/// As text: addresses joined by commas, each `host:port`. A name that stands for several addresses (a headless Service of Kubernetes) gives
/// them all, so that `search.medindex.svc:7000` finds every pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets(Vec<String>);

/// A text that names no targets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTargetsError {
    /// There is nothing in it.
    #[error("no address is given: write host:port, several joined by commas")]
    FindAddress,
    /// A part of it is no address.
    #[error("{0:?} is no address: write host:port")]
    ParseAddress(String),
}

impl FromStr for Targets {
    type Err = ParseTargetsError;

    fn from_str(text: &str) -> Result<Self, ParseTargetsError> {
        let parts: Vec<String> =
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
        if parts.is_empty() {
            return Err(ParseTargetsError::FindAddress);
        }
        for part in &parts {
            let port = part.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                return Err(ParseTargetsError::ParseAddress(part.clone()));
            }
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join(","))
    }
}

impl Targets {
    /// The addresses that there are now, and the error of the last name that could not be resolved.
    pub async fn resolve(&self) -> (BTreeSet<SocketAddr>, Option<io::Error>) {
        let (mut addresses, mut failure) = (BTreeSet::new(), None);
        for part in &self.0 {
            match tokio::net::lookup_host(part).await {
                Ok(found) => addresses.extend(found),
                Err(error) => failure = Some(io::Error::new(error.kind(), format!("{part}: {error}"))),
            }
        }
        (addresses, failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_joined_by_commas_and_what_is_none_is_named() {
        let targets: Targets = "127.0.0.1:7000, [::1]:7001,search.medindex:7000".parse().unwrap();
        assert_eq!(targets.to_string(), "127.0.0.1:7000,[::1]:7001,search.medindex:7000");
        assert_eq!(" , ".parse::<Targets>(), Err(ParseTargetsError::FindAddress));
        for wrong in ["search", "search:", ":7000", "search:x", "search:70000"] {
            assert_eq!(wrong.parse::<Targets>(), Err(ParseTargetsError::ParseAddress(wrong.into())));
        }
    }

    #[tokio::test]
    async fn fixed_addresses_stand_for_themselves() {
        let targets: Targets = "127.0.0.1:7000,127.0.0.1:7001".parse().unwrap();
        let (addresses, failure) = targets.resolve().await;
        assert_eq!(addresses.len(), 2);
        assert!(failure.is_none());
    }
}
