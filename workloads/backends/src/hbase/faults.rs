//! What an error of HBase means: try again, or tell somebody.

use hbase_thrift::hbase::{IOError, IllegalArgument};

use super::connection::TLS_FAILED;
use super::pool::CallError;
use crate::fault::{BoxError, Fault};

/// Exceptions, anywhere in HBase's text, that no repetition heals, and what to do about them.
const PERMANENT: [(&str, &str); 8] = [
    (
        "TableNotFoundException",
        "there is no such table: let the operator create it, or check the names of namespace and table",
    ),
    (
        "NamespaceNotFoundException",
        "there is no such namespace: let the operator create it, or check its name",
    ),
    (
        "NoSuchColumnFamilyException",
        "the table lacks a column family: it was not made for this, or by another release; compare it with what the operator creates",
    ),
    ("TableNotEnabledException", "the table is disabled: enable it"),
    ("is disabled.", "the table is disabled: enable it"),
    (
        "AccessDeniedException",
        "the Thrift server's user may not do this: grant it read and write on the table",
    ),
    (
        "KeyValue size too large",
        "a cell is larger than HBase takes: raise hbase.client.keyvalue.maxsize and hbase.server.keyvalue.maxsize to 10 MB",
    ),
    (
        "Cell with size",
        "a cell is larger than HBase takes: raise hbase.client.keyvalue.maxsize and hbase.server.keyvalue.maxsize to 10 MB",
    ),
];

/// Exceptions that HBase calls final for its own client, though a new request may well succeed.
const TRANSIENT: [&str; 5] = [
    "UnknownScannerException",
    "OutOfOrderScannerNextException",
    "ScannerResetException",
    "RegionServerStoppedException",
    "RegionServerAbortedException",
];

/// The fault that an error at a table is. Transient ones are [`Fault::Unavailable`].
pub(crate) fn fault_of(table: &str, error: CallError) -> Fault {
    match error {
        CallError::Connect(address, source) => {
            Fault::Unavailable { place: format!("HBase's Thrift server at {address}"), source: source.into() }
        }
        CallError::Lost(reason) => {
            Fault::Failed { place: format!("table {table} of HBase"), source: reason.into() }
        }
        CallError::Answer(address, error) => answered(&format!("table {table} of HBase at {address}"), error),
    }
}

fn answered(place: &str, error: thrift::Error) -> Fault {
    let place = place.to_owned();
    match error {
        thrift::Error::User(source) => {
            if let Some(error) = source.downcast_ref::<IOError>() {
                refused(place, error.message.as_deref().unwrap_or(""), error.can_retry.unwrap_or(true))
            } else if let Some(error) = source.downcast_ref::<IllegalArgument>() {
                refused(place, error.message.as_deref().unwrap_or(""), false)
            } else {
                Fault::Failed { place, source }
            }
        }
        thrift::Error::Transport(error) if error.message.starts_with(TLS_FAILED) => {
            let source = format!(
                "{}: the proxy's certificate has to name the host and be signed by the authorities given, and the proxy has to take this program's certificate",
                error.message
            );
            Fault::Inaccessible { place, source: source.into() }
        }
        thrift::Error::Transport(error) => Fault::Unavailable { place, source: error.message.into() },
        thrift::Error::Application(error) if error.kind == thrift::ApplicationErrorKind::UnknownMethod => {
            let source = "it is no Thrift 1 server (perhaps Thrift 2): start one with `hbase thrift start`";
            Fault::Inaccessible { place, source: source.into() }
        }
        thrift::Error::Application(error) => Fault::Unavailable { place, source: error.message.into() },
        thrift::Error::Protocol(error) => {
            let source = format!(
                "{}; is it a Thrift 1 server with the unframed binary protocol, and TLS the same on both sides?",
                error.message
            );
            Fault::Inaccessible { place, source: source.into() }
        }
    }
}

/// HBase's own refusal: `message` is a Java stack trace.
fn refused(place: String, message: &str, can_retry: bool) -> Fault {
    let known = PERMANENT.iter().find(|(exception, _)| message.contains(exception));
    if let Some((_, remedy)) = known {
        return Fault::Inaccessible { place, source: format!("{remedy} ({})", first_line(message)).into() };
    }
    let source: BoxError = first_line(message).into();
    if can_retry || TRANSIENT.iter().any(|exception| message.contains(exception)) {
        Fault::Unavailable { place, source }
    } else {
        Fault::Failed { place, source }
    }
}

/// The exception and its message, cut to a readable length.
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or("no reason given").trim().chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &str, can_retry: bool) -> Fault {
        let error = IOError { message: Some(message.to_owned()), can_retry: Some(can_retry) };
        fault_of("ct:image_info", CallError::Answer("one:9090".into(), thrift::Error::User(Box::new(error))))
    }

    #[test]
    fn a_missing_table_or_family_is_named_with_what_to_do_and_not_tried_again() {
        let wrapped = "org.apache.hadoop.hbase.client.RetriesExhaustedWithDetailsException: Failed 2 actions\n\tCaused by: \
                       org.apache.hadoop.hbase.regionserver.NoSuchColumnFamilyException: Column family MD does not exist";
        for (message, expected) in [
            ("org.apache.hadoop.hbase.TableNotFoundException: ct:image_info\n\tat x", "no such table"),
            (wrapped, "lacks a column family"),
        ] {
            let fault = of(message, true);
            assert!(!fault.is_transient() && fault.needs_operator());
            let text = fault.to_string();
            assert!(
                text.contains("ct:image_info") && text.contains(expected) && !text.contains("\tat"),
                "{text}"
            );
        }
    }

    #[test]
    fn certificates_that_are_not_taken_are_told_and_not_tried_again() {
        let refused = std::io::Error::other("TLS failed (received fatal alert: DecryptError)");
        let fault = fault_of("t", CallError::Answer("proxy:9443".into(), refused.into()));
        assert!(fault.needs_operator() && !fault.is_transient());
        let text = fault.to_string();
        assert!(
            text.contains("proxy:9443") && text.contains("DecryptError") && text.contains("certificate"),
            "{text}"
        );
    }

    #[test]
    fn moving_regions_busy_servers_and_broken_connections_are_tried_again() {
        for (message, can_retry) in [
            ("org.apache.hadoop.hbase.NotServingRegionException: ct:image_info,0003|", true),
            ("org.apache.hadoop.hbase.RegionTooBusyException: Over memstore limit", true),
            ("org.apache.hadoop.hbase.UnknownScannerException: Unknown scanner '17'", false),
        ] {
            assert!(of(message, can_retry).is_transient(), "{message}");
        }
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(fault_of("t", CallError::Answer("a".into(), broken.into())).is_transient());
        assert!(!of("org.apache.hadoop.hbase.DoNotRetryIOException: no", false).is_transient());
    }
}
