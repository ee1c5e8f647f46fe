//! The log on standard error: one JSON object a line for machines, or text for people; its level, which may change while the program runs; and the
//! traces behind it.
//!
//! A line that is written inside a request carries the request's `trace_id` and `span_id`, whether traces are sent or not.

use std::fmt;
use std::sync::Arc;

use clap::ValueEnum;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::traces::{Traces, TracesError};
use crate::{LevelError, parse_filter};

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text for people.
    Text,
}

/// What the log of a program is to be.
#[derive(Debug)]
pub struct LogOptions<'a> {
    /// The program.
    pub program: &'static str,
    /// This process of it, as traces name it.
    pub instance: String,
    /// The level, or filter directives.
    pub level: &'a str,
    /// The form of a line.
    pub format: LogFormat,
    /// Where traces are sent: OTLP over gRPC.
    pub otlp_endpoint: Option<&'a str>,
}

/// Why the log cannot be started or changed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is none.
    #[error("--log {0}")]
    ParseLevel(#[from] LevelError),
    /// A log is there already.
    #[error("cannot start logging: {0}")]
    Start(String),
    /// The log is gone.
    #[error("cannot change the level of the log: {0}")]
    ChangeLevel(#[source] reload::Error),
    /// Traces cannot be sent.
    #[error(transparent)]
    SendTraces(#[from] TracesError),
}

/// A log that was started; dropping it sends the last traces.
#[derive(Debug)]
pub struct Log {
    level: Level,
    _traces: Traces,
}

impl Log {
    /// Changes its level.
    pub fn level(&self) -> Level {
        self.level.clone()
    }
}

/// Changes the level of the log.
#[derive(Debug, Clone)]
pub struct Level(Arc<reload::Handle<Gate, Registry>>);

impl Level {
    /// From now on it is another level, or other filter directives.
    ///
    /// # Errors
    /// [`LogError::ParseLevel`], [`LogError::ChangeLevel`].
    pub fn set(&self, text: &str) -> Result<(), LogError> {
        let filter = parse_filter(text)?;
        self.0.reload(Gate(filter)).map_err(LogError::ChangeLevel)
    }
}

/// Starts the log and the traces of a program. Keep what it returns until the program ends.
///
/// # Errors
/// [`LogError`].
pub fn start(options: LogOptions<'_>) -> Result<Log, LogError> {
    let LogOptions { program, instance, level, format, otlp_endpoint } = options;
    let (gate, handle) = reload::Layer::new(Gate(parse_filter(level)?));
    let traces = Traces::start(program, instance, otlp_endpoint)?;
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = match format {
        LogFormat::Json => log.json().event_format(WithTrace(json())).boxed(),
        LogFormat::Text => log.with_ansi(false).boxed(),
    };
    let spans = tracing_opentelemetry::layer()
        .with_tracer(traces.provider().tracer(program))
        .with_location(false)
        .with_threads(false);
    let started = Registry::default().with(gate).with(spans).with(log).try_init();
    started.map_err(|error| LogError::Start(error.to_string()))?;
    Ok(Log { level: Level(Arc::new(handle)), _traces: traces })
}

/// What passes at all: events that the log's filter lets through, and our own spans whatever its level. One filter before both layers and not one in
/// each: an event that all filters of single layers refuse leaves its refusal behind in the thread, and the next span is lost with it.
#[derive(Debug)]
struct Gate(EnvFilter);

impl<S: Subscriber> Layer<S> for Gate {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match metadata.is_span() {
            true if is_ours(metadata) => Interest::always(),
            true => Interest::never(),
            false => Layer::<S>::register_callsite(&self.0, metadata),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        if metadata.is_span() { is_ours(metadata) } else { self.0.enabled(metadata, context) }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.0.max_level_hint().map(|hint| hint.max(LevelFilter::INFO))
    }
}

/// Spans of our own code: those of the libraries would bury them, and sending would trace itself.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("medindex") && *metadata.level() <= LevelFilter::INFO
}

fn json() -> Format<Json> {
    tracing_subscriber::fmt::format().json().flatten_event(true)
}

/// Puts the trace before the other members of each line.
struct WithTrace(Format<Json>);

impl<S> FormatEvent<S, JsonFields> for WithTrace
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let present = Span::current().context();
        let span = present.span();
        let span = span.span_context();
        if !span.is_valid() {
            return self.0.format_event(context, writer, event);
        }
        let mut line = String::with_capacity(512);
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let members = line.strip_prefix('{').unwrap_or(&line);
        write!(writer, "{{\"trace_id\":\"{}\",\"span_id\":\"{}\",{members}", span.trace_id(), span.span_id())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_inside_a_span_carry_its_trace_and_others_none_whatever_the_level() {
        let lines = Lines::default();
        let written = lines.clone();
        let log = tracing_subscriber::fmt::layer()
            .json()
            .event_format(WithTrace(json()))
            .with_writer(move || lines.clone());
        // As without an endpoint: nothing is kept.
        let provider =
            SdkTracerProvider::builder().with_sampler(opentelemetry_sdk::trace::Sampler::AlwaysOff);
        let tracer = provider.build().tracer("test");
        let spans = tracing_opentelemetry::layer().with_tracer(tracer);
        let (gate, handle) = reload::Layer::new(Gate(EnvFilter::new("warn")));
        Registry::default().with(gate).with(spans).with(log).try_init().unwrap();
        tracing::warn!("outside");
        tracing::debug!(target: "a_library", "refused just before the span");
        tracing::info_span!(target: "medindex_test", "request").in_scope(|| {
            tracing::warn!(quoted = "a \"b\"", "inside");
            tracing::info!("not at this level");
        });
        let level = Level(Arc::new(handle));
        assert!(matches!(level.set("loud"), Err(LogError::ParseLevel(_))));
        level.set("info,a_library=debug").unwrap();
        tracing::debug!(target: "a_library", "asked for since");
        tracing::debug!("still not at this level");
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines.len(), 3, "{written}");
        assert!(lines[2].contains("asked for since"), "{written}");
        assert!(lines[0].contains("outside") && !lines[0].contains("trace_id"), "{written}");
        assert!(lines[1].starts_with("{\"trace_id\":\"") && lines[1].ends_with('}'), "{written}");
        let trace: String = lines[1].chars().skip("{\"trace_id\":\"".len()).take(32).collect();
        assert!(trace.bytes().all(|byte| byte.is_ascii_hexdigit()) && trace != "0".repeat(32), "{written}");
        assert!(
            lines[1].contains("\"span_id\":\"") && lines[1].contains("\"message\":\"inside\""),
            "{written}"
        );
    }
}
