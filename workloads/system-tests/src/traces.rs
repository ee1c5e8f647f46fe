//! A receiver of traces: OTLP over gRPC, as a collector speaks it.

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// A span and the program that sent it.
#[derive(Debug, Clone)]
pub struct Received {
    /// The program.
    pub program: String,
    /// The span.
    pub span: Span,
}

/// Receives traces until the runtime ends.
#[derive(Debug, Clone, Default)]
pub struct TraceReceiver {
    received: Arc<Mutex<Vec<Received>>>,
}

impl TraceReceiver {
    /// Listens on loopback; returns the receiver and its address for `--otlp-endpoint`.
    pub async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let receiver = Self::default();
        let service = TraceServiceServer::new(receiver.clone());
        tokio::spawn(async move {
            let server = Server::builder().add_service(service);
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        (receiver, endpoint)
    }

    /// Everything that came, for the message of a test that fails.
    pub fn summary(&self) -> Vec<String> {
        let shown =
            |one: &Received| format!("{} {} {}", hex::encode(&one.span.trace_id), one.program, one.span.name);
        self.received.lock().iter().map(shown).collect()
    }

    /// Names of the spans of a trace (32 hexadecimal digits), by the program that sent them.
    pub fn spans_of(&self, trace_id: &str) -> BTreeMap<String, Vec<String>> {
        let mut spans: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for received in self.received.lock().iter().filter(|one| hex::encode(&one.span.trace_id) == trace_id)
        {
            spans.entry(received.program.clone()).or_default().push(received.span.name.clone());
        }
        spans
    }
}

#[tonic::async_trait]
impl TraceService for TraceReceiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            let name = attributes.iter().find(|attribute| attribute.key == "service.name");
            let program = format!("{:?}", name.and_then(|name| name.value.as_ref()));
            // The value is printed with its type; the name is what stands between the quotes.
            let program = program.split('"').nth(1).unwrap_or_default().to_owned();
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.received.lock().extend(spans.map(|span| Received { program: program.clone(), span }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
