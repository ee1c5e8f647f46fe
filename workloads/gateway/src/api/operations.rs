//! `GET /api/v1/operations`, `GET /api/v1/alarms`: what was done, and what needs a person.

use axum::Json;
use axum::extract::State;
use medindex_pipeline::{Alarm, OperationPage, OperationRequest};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::api::schemas;
use crate::extract::Parameters;
use crate::problem::Problem;
use crate::state::Gateway;

/// Operations or alarms of one page when nothing else is asked for.
const DEFAULT_LIMIT: usize = 50;

/// Which operations to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OperationParameters {
    /// Operations of a page; 50 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the page before ended: its `next`.
    after: Option<String>,
    /// Only those of this person or part of the system.
    actor: Option<String>,
    /// Only those of this kind, such as `image.delete`.
    action: Option<String>,
    /// Only those on this, such as an image id.
    subject: Option<String>,
    /// Only those that ended so, such as `refused`.
    outcome: Option<String>,
    /// Only those at or after this time, Unix milliseconds.
    from_ms: Option<i64>,
    /// Only those before this time, Unix milliseconds.
    before_ms: Option<i64>,
}

/// Lists what people and the system did, the latest first. An operation is listed about a second after it was done.
#[utoipa::path(
    get,
    path = "/api/v1/operations",
    tag = "operation",
    params(OperationParameters),
    responses((status = 200, description = "One page of the operation log.", body = schemas::OperationPage))
)]
pub(crate) async fn operations(
    State(gateway): State<Gateway>,
    Parameters(parameters): Parameters<OperationParameters>,
) -> Result<Json<OperationPage>, Problem> {
    let wanted = OperationRequest {
        limit: parameters.limit.unwrap_or(DEFAULT_LIMIT),
        after: parameters.after,
        actor: parameters.actor,
        action: parameters.action,
        subject: parameters.subject,
        outcome: parameters.outcome,
        from_ms: parameters.from_ms,
        before_ms: parameters.before_ms,
    };
    gateway.within(gateway.pipeline().operations(&wanted)).await.map(Json)
}

/// Which alarms to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AlarmParameters {
    /// Alarms at the most; 50 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `false`: those that are over, too.
    raised: Option<bool>,
}

/// Alarms, latest first.
#[derive(Debug, Serialize)]
pub(crate) struct Alarms {
    alarms: Vec<Alarm>,
}

/// Lists the alarms that are raised, or all, the latest first.
#[utoipa::path(
    get,
    path = "/api/v1/alarms",
    tag = "operation",
    params(AlarmParameters),
    responses((status = 200, description = "The alarms.", body = schemas::Alarms))
)]
pub(crate) async fn alarms(
    State(gateway): State<Gateway>,
    Parameters(parameters): Parameters<AlarmParameters>,
) -> Result<Json<Alarms>, Problem> {
    let only_raised = parameters.raised.unwrap_or(true);
    let limit = parameters.limit.unwrap_or(DEFAULT_LIMIT);
    let alarms = gateway.within(gateway.pipeline().alarms(only_raised, limit)).await?;
    Ok(Json(Alarms { alarms }))
}
