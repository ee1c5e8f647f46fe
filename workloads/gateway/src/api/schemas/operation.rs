//! Answers about what was done, and about what needs a person.

use utoipa::ToSchema;

/// An alarm, raised or over.
#[derive(ToSchema)]
pub(crate) struct Alarm {
    /// What kind, such as `dead_letter`.
    kind: String,
    /// How soon a person is needed.
    severity: Severity,
    /// What it is about; empty for the system as a whole.
    subject: String,
    /// What happened and what to do.
    detail: String,
    /// Unix milliseconds when it was raised.
    raised_at_ms: i64,
    /// Unix milliseconds when its cause was seen last.
    seen_at_ms: i64,
    /// Unix milliseconds when it was over; absent while it is raised.
    #[schema(nullable = false)]
    cleared_at_ms: Option<i64>,
}

/// How soon a person is needed.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Soon.
    Warning,
    /// Now.
    Critical,
}

/// Alarms, latest first.
#[derive(ToSchema)]
pub(crate) struct Alarms {
    /// The alarms.
    alarms: Vec<Alarm>,
}

/// A page of the operation log.
#[derive(ToSchema)]
pub(crate) struct OperationPage {
    /// The operations, latest first.
    operations: Vec<Operation>,
    /// Where the next page begins; null at the end.
    #[schema(required)]
    next: Option<String>,
}

/// One operation.
#[derive(ToSchema)]
pub(crate) struct Operation {
    /// Id of the event.
    id: String,
    /// When, Unix milliseconds.
    at_ms: i64,
    /// Who: a person or a part of the system.
    actor: String,
    /// What was done, such as `image.upload`.
    action: String,
    /// To what, such as an image id.
    subject: String,
    /// How it ended.
    outcome: String,
    /// Anything more, for people.
    detail: String,
    /// Whose images it was about.
    organisation: String,
    /// Trace that it belongs to; empty where there was none.
    trace_id: String,
}
