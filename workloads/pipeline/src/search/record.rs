//! A search and its event in the operation log.

use std::sync::Arc;

use crate::context::Context;
use crate::operations::{Action, Event, note, outcome};
use crate::search::{Query, SearchError, SearchRequest, SearchResponse, run};

/// Searches, and records it in the background: who looked for what is kept, and nobody waits for it.
pub(crate) async fn search(
    context: &Arc<Context>,
    request: SearchRequest,
) -> Result<SearchResponse, SearchError> {
    let (subject, name) = match &request.query {
        Query::Stored(id) => (id.to_string(), String::new()),
        Query::File { name, .. } => (String::new(), name.clone()),
    };
    let k = request.k;
    let answer = run::search(context, request).await;
    let (ended, told) = match &answer {
        Ok(answer) => {
            let ended = if answer.partial { outcome::PARTIAL } else { outcome::ANSWERED };
            (ended, format!("{} of {k} results in {:.1} ms", answer.results.len(), answer.took_ms))
        }
        Err(error) => (outcome::REFUSED, error.to_string()),
    };
    let detail = if name.is_empty() { told } else { format!("{name}: {told}") };
    note(context, Event::new(context, Action::Search, subject, ended).detail(detail));
    answer
}
