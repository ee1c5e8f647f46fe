//! Traces across processes: which trace the present work belongs to, and how it travels with a message.
//!
//! The programs decide whether traces are made and where they go; without them there is nothing to carry and this costs a look at the present
//! span. Messages carry a W3C trace context (`traceparent`, `tracestate`); what cannot be read there is taken as no trace.

use std::collections::{BTreeMap, HashMap};

use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, global};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Trace id of the present work, 32 hexadecimal digits; `None` where no traces are made.
pub fn current_trace_id() -> Option<String> {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| span.trace_id().to_string())
}

/// The present trace as a message carries it; empty where there is none.
pub fn carried() -> BTreeMap<String, String> {
    let context = Span::current().context();
    if !context.span().span_context().is_valid() {
        return BTreeMap::new();
    }
    let mut carrier = HashMap::new();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut carrier));
    carrier.into_iter().collect()
}

/// Lets a new span go on with the trace that a message carried. Call it before anything happens in the span.
pub fn go_on(span: &Span, carrier: &BTreeMap<String, String>) {
    if carrier.is_empty() {
        return;
    }
    let carrier: HashMap<String, String> = carrier.clone().into_iter().collect();
    adopt(span, global::get_text_map_propagator(|propagator| propagator.extract(&carrier)));
}

/// Makes a span a child of the span in `context`, where there is one.
pub fn adopt(span: &Span, context: Context) {
    if context.span().span_context().is_valid()
        && let Err(error) = span.set_parent(context)
    {
        // Without traces there is nothing to set, which is no fault.
        tracing::trace!(?error, "a span does not go on with its trace");
    }
}
