//! Every call that leaves the operator, by name: counted, and a place where a test can have the process end.
//!
//! Names of calls to the API server are its verb and the resource (`list pods`, `patch medicalimageindexes/status`), those of calls to backends the
//! methods of [`crate::external::Backends`]. The set is closed ([`all`]): metrics stay bounded, and a test can go through it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::client::Body;
use tower::{BoxError, Layer, Service};
use tracing::{Instrument as _, Span};

use super::metrics::Metrics;
use crate::external::ExternalError;
use crate::external::told::Observer;
use crate::reconcile::objects::{CLAIM, KINDS};

/// A request other than a watch is given up after this.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);
/// Calls to backends.
const BACKEND_CALLS: [&str; 9] = [
    "topics",
    "change_topic",
    "delete_topics",
    "tables",
    "change_table",
    "delete_tables",
    "index_status",
    "unreadiness",
    "roll_back",
];
/// Calls to the API server beside those for the objects that the operator makes.
const OTHER_CALLS: [&str; 11] = [
    "get medicalimageindexes",
    "list medicalimageindexes",
    "watch medicalimageindexes",
    "patch medicalimageindexes",
    "patch medicalimageindexes/status",
    "get secrets",
    "create events",
    "patch events",
    "get leases",
    "create leases",
    "patch leases",
];
/// What is done to the objects that the operator makes.
const VERBS: [&str; 4] = ["list", "get", "patch", "delete"];

/// Names of all calls that the operator makes, in order.
pub fn all() -> &'static BTreeSet<String> {
    static ALL: LazyLock<BTreeSet<String>> = LazyLock::new(|| names().into_iter().collect());
    &ALL
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = BACKEND_CALLS.into_iter().chain(OTHER_CALLS).map(str::to_owned).collect();
    names.extend(["list", "patch"].map(|verb| format!("{verb} {}", CLAIM.resource().plural)));
    for kind in KINDS {
        let plural = kind.resource().plural;
        let verbs = VERBS.into_iter().filter(|verb| kind.is_made() || *verb == "list");
        names.extend(verbs.map(|verb| format!("{verb} {plural}")));
        // Types that others may lack are only listed.
        let is_watched = kind.is_made() && !kind.may_be_missing();
        names.extend(is_watched.then(|| format!("watch {plural}")));
    }
    names
}

/// Whether the process ends before a call is made or after it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing was done.
    Before,
    /// It was done, and the operator has not seen so.
    After,
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

/// A call at which the process ends at once, as if it were killed: for tests of what a dead operator leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbortAt {
    moment: Moment,
    call: String,
}

/// A text that names no call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no place to end at: write before:CALL or after:CALL; the calls are {list}", list = listed())]
pub struct AbortError(String);

fn listed() -> String {
    all().iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

impl FromStr for AbortAt {
    type Err = AbortError;

    fn from_str(text: &str) -> Result<Self, AbortError> {
        let wrong = || AbortError(text.to_owned());
        let (moment, call) = text.split_once(':').ok_or_else(wrong)?;
        let moment = match moment {
            "before" => Moment::Before,
            "after" => Moment::After,
            _ => return Err(wrong()),
        };
        if !all().contains(call) {
            return Err(wrong());
        }
        Ok(Self { moment, call: call.to_owned() })
    }
}

/// What is done about every call.
#[derive(Debug, Clone)]
pub struct Calls {
    /// Where they are counted.
    metrics: Arc<Metrics>,
    /// Where the process ends.
    abort: Option<AbortAt>,
}

impl Calls {
    /// Counts in `metrics`, ends at `abort`.
    pub fn new(metrics: Arc<Metrics>, abort: Option<AbortAt>) -> Self {
        Self { metrics, abort }
    }

    fn reach(&self, moment: Moment, call: &str) {
        if self.abort.as_ref().is_some_and(|abort| abort.moment == moment && abort.call == call) {
            tracing::error!(%moment, call, "ending at once, as --abort-at says");
            std::process::abort();
        }
    }
}

impl Observer for Calls {
    async fn around<T: Send>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, ExternalError>> + Send,
    ) -> Result<T, ExternalError> {
        self.reach(Moment::Before, call);
        let begun = Instant::now();
        let outcome = work.instrument(span(call)).await;
        self.reach(Moment::After, call);
        self.metrics.call(call, outcome.is_ok(), begun.elapsed());
        outcome
    }
}

/// Has the client of an API server tell [`Calls`] of every request, and gives up those that are not answered: libraries that make calls of
/// their own (finalizer, lease) set no limit. Watches are open for minutes.
#[derive(Debug, Clone)]
pub struct CallLayer(pub Calls);

impl<S> Layer<S> for CallLayer {
    type Service = CalledService<S>;

    fn layer(&self, inner: S) -> CalledService<S> {
        CalledService { inner, calls: self.0.clone() }
    }
}

/// A client's service whose requests are told.
#[derive(Debug, Clone)]
pub struct CalledService<S> {
    inner: S,
    calls: Calls,
}

impl<S, B> Service<Request<Body>> for CalledService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let call = name(request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
        self.calls.reach(Moment::Before, &call);
        let (calls, work) = (self.calls.clone(), self.inner.call(request));
        async move {
            let outcome = if call.starts_with("watch ") {
                work.await.map_err(Into::into)
            } else {
                answered(work).instrument(span(&call)).await
            };
            calls.reach(Moment::After, &call);
            calls.metrics.api_call(call, outcome.as_ref().ok().map(|answer| answer.status().as_u16()));
            outcome
        }
        .boxed()
    }
}

/// The span of a call in the trace of the reconcile that makes it; calls of the lease belong to none.
fn span(call: &str) -> Span {
    if Span::current().is_none() { Span::none() } else { tracing::info_span!("call", otel.name = call) }
}

/// Waits for an answer, longer than [`crate::reconcile::call::bounded`] does, whose error says more.
async fn answered<T, E: Into<BoxError>>(work: impl Future<Output = Result<T, E>>) -> Result<T, BoxError> {
    match tokio::time::timeout(ANSWERED_WITHIN, work).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(format!("the API server did not answer in {} s", ANSWERED_WITHIN.as_secs()).into()),
    }
}

/// The name of a request to the API server; `other` for one that the operator does not make.
pub fn name(method: &Method, path: &str, query: &str) -> String {
    let (resource, is_one) = resource(path);
    let verb = match *method {
        Method::GET if query.split('&').any(|part| part == "watch=true") => "watch",
        Method::GET if is_one => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PATCH | Method::PUT => "patch",
        Method::DELETE => "delete",
        _ => "",
    };
    let name = format!("{verb} {resource}");
    if all().contains(&name) { name } else { "other".to_owned() }
}

/// The resource type that a path is about, with its subresource, and whether it is about one object: the path is `/api/VERSION` or `/apis/GROUP/VERSION`, then
/// `/namespaces/NAMESPACE` or nothing, `/RESOURCE`, `/NAME`, `/SUBRESOURCE`.
fn resource(path: &str) -> (String, bool) {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let prefix = if parts.first() == Some(&"api") { 2 } else { 3 };
    parts.drain(..prefix.min(parts.len()));
    if parts.first() == Some(&"namespaces") && parts.len() > 2 {
        parts.drain(..2);
    }
    match parts.as_slice() {
        [] => (String::new(), false),
        [resource] => ((*resource).to_owned(), false),
        [resource, _] => ((*resource).to_owned(), true),
        [resource, _, subresource, ..] => (format!("{resource}/{subresource}"), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_names_that_are_listed() {
        for (method, target, wanted) in [
            (Method::GET, "/api/v1/namespaces/imaging/secrets/login", "get secrets"),
            (Method::GET, "/apis/apps/v1/namespaces/imaging/deployments?labelSelector=a", "list deployments"),
            (Method::GET, "/apis/apps/v1/deployments?watch=true&timeoutSeconds=290", "watch deployments"),
            (
                Method::PATCH,
                "/apis/medindex.dev/v1alpha1/namespaces/a/medicalimageindexes/b",
                "patch medicalimageindexes",
            ),
            (
                Method::PATCH,
                "/apis/medindex.dev/v1alpha1/namespaces/a/medicalimageindexes/b/status",
                "patch medicalimageindexes/status",
            ),
            (Method::POST, "/apis/events.k8s.io/v1/namespaces/a/events", "create events"),
            (Method::DELETE, "/apis/batch/v1/namespaces/a/jobs/b", "delete jobs"),
            (Method::DELETE, "/api/v1/namespaces/a", "other"),
            (Method::GET, "/version", "other"),
        ] {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            assert_eq!(name(&method, path, query), wanted, "{target}");
        }
    }

    #[test]
    fn a_call_is_a_span_of_the_reconcile_that_makes_it_and_others_are_none() {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            assert!(span("patch leases").is_none());
            tracing::info_span!("reconcile").in_scope(|| assert!(!span("topics").is_none()));
        });
    }

    #[test]
    fn a_place_to_end_at_names_a_call() {
        let place: AbortAt = "after:patch statefulsets".parse().unwrap();
        assert_eq!(place, AbortAt { moment: Moment::After, call: "patch statefulsets".to_owned() });
        for wrong in ["patch statefulsets", "after:patch pods", "during:topics", ""] {
            let refused = wrong.parse::<AbortAt>().unwrap_err().to_string();
            assert!(refused.contains("change_topic") && refused.contains("patch deployments"), "{refused}");
        }
    }
}
