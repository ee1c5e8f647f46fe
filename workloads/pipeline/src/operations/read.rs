//! Reading the log back.

use std::sync::Arc;

use medindex_backends::catalog::{Cursor, Operation, OperationFilter};
use serde::Serialize;

use crate::context::Context;
use crate::operations::event::{ACTIONS, outcome};
use crate::read::{MAX_LIST, ReadError};

/// Which operations to list.
#[derive(Debug, Clone, Default)]
pub struct OperationRequest {
    /// Operations of one page, 1 to [`MAX_LIST`].
    pub limit: usize,
    /// Where the page before ended: its `next`.
    pub after: Option<String>,
    /// Only those of this person or part of the system.
    pub actor: Option<String>,
    /// Only those of this kind, such as `image.delete`.
    pub action: Option<String>,
    /// Only those on this, such as an image id.
    pub subject: Option<String>,
    /// Only those that ended so.
    pub outcome: Option<String>,
    /// Only those at or after this time, Unix milliseconds.
    pub from_ms: Option<i64>,
    /// Only those before this time, Unix milliseconds.
    pub before_ms: Option<i64>,
}

/// One operation.
#[derive(Debug, Clone, Serialize)]
pub struct OperationEntry {
    /// Id of the event.
    pub id: String,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// Who: a person or a part of the system.
    pub actor: String,
    /// What was done, such as `image.upload`.
    pub action: String,
    /// To what, such as an image id.
    pub subject: String,
    /// How it ended.
    pub outcome: String,
    /// Anything more, for people.
    pub detail: String,
    /// Whose images it was about.
    pub organisation: String,
    /// Trace that it belongs to; empty where there was none.
    pub trace_id: String,
}

/// A page of operations, latest first.
#[derive(Debug, Clone, Serialize)]
pub struct OperationPage {
    /// The operations.
    pub operations: Vec<OperationEntry>,
    /// Where the next page begins; absent at the end.
    pub next: Option<String>,
}

pub(crate) async fn list(
    context: &Arc<Context>,
    request: &OperationRequest,
) -> Result<OperationPage, ReadError> {
    if !(1..=MAX_LIST).contains(&request.limit) {
        return Err(ReadError::CheckLimit { limit: request.limit });
    }
    let after = match &request.after {
        None => None,
        Some(text) => Some(text.parse::<Cursor>().map_err(|_| ReadError::ParseCursor(text.clone()))?),
    };
    let filter = OperationFilter {
        actor: request.actor.clone(),
        action: request.action.clone(),
        subject: request.subject.clone(),
        outcome: request.outcome.clone(),
        organisation: None,
        from_ms: request.from_ms,
        before_ms: request.before_ms,
    };
    let is_first = after.is_none();
    let page = context.ports.catalog.list_operations(&filter, after, request.limit).await?;
    if is_first && page.items.is_empty() {
        let actions = ACTIONS.map(|description| description.name);
        check_known("action", request.action.as_deref(), &actions)?;
        check_known("outcome", request.outcome.as_deref(), &outcome::ALL)?;
    }
    Ok(OperationPage {
        operations: page.items.into_iter().map(shown).collect(),
        next: page.next.map(|cursor| cursor.to_string()),
    })
}

/// A misspelt name finds nothing, which would look like nothing having happened. One that is not known here may be that of a newer program, and is
/// looked for first.
fn check_known(field: &'static str, asked: Option<&str>, known: &[&str]) -> Result<(), ReadError> {
    match asked {
        Some(name) if !known.contains(&name) => {
            Err(ReadError::CheckName { field, name: name.to_owned(), known: known.join(", ") })
        }
        _ => Ok(()),
    }
}

fn shown(operation: Operation) -> OperationEntry {
    OperationEntry {
        id: operation.id.to_string(),
        at_ms: operation.at_ms,
        actor: operation.actor,
        action: operation.action,
        subject: operation.subject,
        outcome: operation.outcome,
        detail: operation.detail,
        organisation: operation.organisation,
        trace_id: operation.trace_id,
    }
}
