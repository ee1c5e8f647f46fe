//! What Redis's errors mean.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::connect::ConnectError;
use crate::fault::Fault;

/// Beginnings of what a server says when login or rights are not right; within a cluster's error they stand
/// inside the text.
const REFUSALS: [&str; 4] = ["WRONGPASS", "NOAUTH", "NOPERM", "AuthenticationFailed"];

/// Whether the connection is of no use for the next action either.
pub(super) fn ends_connection(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly};
    error.is_unrecoverable_error()
        || error.is_connection_dropped()
        || is_refusal(error)
        || matches!(
            error.kind(),
            ErrorKind::Server(ReadOnly | BusyLoading | MasterDown | ClusterDown)
                | ErrorKind::ClusterConnectionNotFound
        )
}

/// Whether the login or its rights are refused.
fn is_refusal(error: &RedisError) -> bool {
    let text = error.to_string();
    error.kind() == ErrorKind::AuthenticationFailed || REFUSALS.iter().any(|word| text.contains(word))
}

/// Why an action failed.
pub(super) fn action_fault(place: &str, error: RedisError) -> Fault {
    let place = place.to_owned();
    if is_refusal(&error) {
        return Fault::Inaccessible { place, source: refused(&error).into() };
    }
    Fault::Unavailable { place, source: Box::new(error) }
}

/// Why there is no connection, and whether trying again without anybody's doing may succeed.
pub(super) fn connect_fault(place: &str, error: ConnectError) -> Fault {
    let place = place.to_owned();
    let error = match error {
        ConnectError::Files(fault) => return fault,
        ConnectError::Late(patience) => {
            return Fault::Unavailable { place, source: format!("no connection within {patience:?}").into() };
        }
        ConnectError::Redis(error) => error,
    };
    let text = error.to_string();
    if is_refusal(&error) {
        return Fault::Inaccessible { place, source: refused(&error).into() };
    }
    if text.contains("certificate") || text.contains("InvalidContentType") || text.contains("corrupt message")
    {
        let text = format!(
            "TLS failed ({error}): the server has to offer TLS, its certificate has to name the host, and the file of authorities has to hold \
             who signed it"
        );
        return Fault::Inaccessible { place, source: text.into() };
    }
    match error.kind() {
        ErrorKind::InvalidClientConfig | ErrorKind::EmptySentinelList | ErrorKind::Client => {
            Fault::Inaccessible { place, source: Box::new(error) }
        }
        _ if error.is_connection_dropped() && !error.is_connection_refusal() => Fault::Unavailable {
            place,
            source: format!("{error}; if the server wants TLS, give the files for it").into(),
        },
        _ => Fault::Unavailable { place, source: Box::new(error) },
    }
}

fn refused(error: &RedisError) -> String {
    format!(
        "{error}; check the files with the user and the password, and what the server's ACL lets the user do"
    )
}
