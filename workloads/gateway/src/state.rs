//! What every handler shares.

use std::future::Future;
use std::sync::Arc;

use medindex_pipeline::{Classified, Pipeline};
use tokio::time::timeout;
use utoipa::openapi::OpenApi;

use crate::admission::Admission;
use crate::metrics::Metrics;
use crate::problem::{Problem, ProblemKind};
use crate::settings::GatewaySettings;

/// The flows, the settings, and what counts and bounds requests. Clones share one state.
#[derive(Clone)]
pub(crate) struct Gateway(Arc<Shared>);

struct Shared {
    pipeline: Pipeline,
    settings: GatewaySettings,
    metrics: Metrics,
    admission: Admission,
    document: Vec<u8>,
}

impl Gateway {
    pub(crate) fn new(pipeline: Pipeline, settings: GatewaySettings, document: &OpenApi) -> Self {
        let largest_file = pipeline.settings().limits.max_file_bytes;
        let admission = Admission::new(settings.concurrent_uploads, settings.upload_memory.max(largest_file));
        let metrics = Metrics::new();
        let document = serde_json::to_vec(document).unwrap_or_default();
        Self(Arc::new(Shared { pipeline, settings, metrics, admission, document }))
    }

    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.0.pipeline
    }

    pub(crate) fn settings(&self) -> &GatewaySettings {
        &self.0.settings
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.0.admission
    }

    /// The `OpenAPI` document as JSON.
    pub(crate) fn document(&self) -> &[u8] {
        &self.0.document
    }

    /// Waits for a flow as long as [`GatewaySettings::answer_within`] allows.
    pub(crate) async fn within<T, E: Classified>(
        &self,
        flow: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Problem> {
        let limit = self.settings().answer_within;
        match timeout(limit, flow).await {
            Ok(answer) => answer.map_err(|error| Problem::from_flow(&error)),
            Err(_) => Err(Problem::new(
                ProblemKind::Timeout,
                format!("no answer within {} s; try again, or look at /api/v1/status", limit.as_secs()),
            )),
        }
    }

    /// Like [`Self::within`], but runs to its end even when the caller hangs up or the time is over: for flows
    /// that must not stop half way.
    pub(crate) async fn complete<T, E>(
        &self,
        flow: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: Classified + Send + 'static,
    {
        let limit = self.settings().answer_within;
        match timeout(limit, join(flow)).await {
            Ok(answer) => answer,
            Err(_) => Err(Problem::new(
                ProblemKind::Timeout,
                format!("not finished within {} s; it goes on, see /api/v1/status", limit.as_secs()),
            )),
        }
    }
}

/// Runs `flow` in a task of its own, so that it survives a caller who hangs up.
pub(crate) async fn join<T, E>(
    flow: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Classified + Send + 'static,
{
    use tracing::Instrument;
    match tokio::spawn(flow.in_current_span()).await {
        Ok(answer) => answer.map_err(|error| Problem::from_flow(&error)),
        Err(fault) => {
            tracing::error!(%fault, "a flow stopped on a fault");
            Err(Problem::new(ProblemKind::Internal, "the request stopped on a fault; see the log"))
        }
    }
}
