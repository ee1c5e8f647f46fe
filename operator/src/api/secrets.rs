//! References to secrets: their content never appears in the resource, in a log or in an event.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::patterns::{ENTRY, OBJECT_NAME};

/// One entry of a Secret or ConfigMap in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
    /// Entry in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = ENTRY))]
    pub key: String,
}

/// TLS to a backend.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsSpec {
    /// Certificate authorities that the server's certificate is checked against, as PEM; the system's when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorities: Option<SecretKey>,
    /// Secret of type `kubernetes.io/tls` with the client's certificate and key, for mutual TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub client_secret: Option<String>,
}
