//! The HTTP API and the search page.
//!
//! [`router`] makes the routes over a [`medindex_pipeline::Pipeline`]; [`listen`] and [`serve`] run them. docs/http-api.md
//! describes the API for its users, docs/metrics.md what `/metrics` tells.
//!
//! Guarantees: input is read strictly, what is not known is refused by name; every failure under `/api` is a problem of
//! RFC 9457; files are bounded while they arrive; no patient data is in the access log or in a metric. Assumes one
//! organisation and no accounts: it therefore listens on a loopback address by default, checks the `Host`, and lets no
//! other site post. Failure modes: a busy or unready system answers 503 with `Retry-After`; a fault in a request answers 500
//! and leaves the process alive.

mod access;
mod admission;
mod api;
mod extract;
mod form;
mod guard;
mod metrics;
mod page;
mod problem;
mod router;
mod search_options;
mod server;
mod settings;
mod state;

pub use router::router;
pub use server::{ServeError, listen, serve};
pub use settings::GatewaySettings;
