//! A trace across a call: W3C `traceparent` and `tracestate` in gRPC's metadata.

use std::collections::BTreeMap;

use medindex_pipeline::trace;
use tonic::Request;
use tonic::metadata::{AsciiMetadataKey, MetadataMap};
use tracing::Span;

/// Keys of a trace context.
const KEYS: [&str; 2] = ["traceparent", "tracestate"];

/// A call that goes on with the present trace.
pub(crate) fn carrying<Message>(message: Message) -> Request<Message> {
    let mut request = Request::new(message);
    for (key, value) in trace::carried() {
        // Both are plain ASCII; what is not is no trace context, and left out.
        if let (Ok(key), Ok(value)) = (key.parse::<AsciiMetadataKey>(), value.parse()) {
            request.metadata_mut().insert(key, value);
        }
    }
    request
}

/// Lets a new span go on with the caller's trace.
pub(crate) fn go_on(span: Span, metadata: &MetadataMap) -> Span {
    let told = KEYS
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), metadata.get(*key)?.to_str().ok()?.to_owned())));
    trace::go_on(&span, &told.collect::<BTreeMap<String, String>>());
    span
}
