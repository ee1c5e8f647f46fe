//! The programs of a cluster as processes over real servers.
//!
//! [`Servers`] starts Kafka, `HBase`, `MariaDB` and Redis and makes what an index needs on them; [`Cluster`] starts gateways, embedders and search
//! shards as processes of their own; [`Client`] talks to a gateway as any user does. Test code: it panics with what went wrong.

// Helpers of tests fail as tests do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc
)]

pub mod client;
pub mod cluster;
pub mod metrics;
pub mod pictures;
pub mod servers;
pub mod statistics;
pub mod traces;
pub mod waiting;

pub use client::Client;
pub use cluster::{Cluster, Shape};
pub use servers::{Servers, any_server_is_skipped};
