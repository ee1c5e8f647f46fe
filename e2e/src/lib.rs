//! The operator and an index on a real Kubernetes over real Kafka, `HBase`, `MariaDB` and Redis.
//!
//! Tests do what a user does: `kubectl` and HTTP through the gateway's Service. `e2e/run.sh` (`make e2e`) makes the cluster, the backends and the
//! operator, and runs them in the cluster's network. Test code: it panics with what went wrong.

// Helpers of tests fail as tests do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::missing_panics_doc
)]

pub mod backends;
pub mod cluster;
pub mod gitops;
pub mod index;
pub mod kubectl;
pub mod load;
pub mod plugin;

pub use index::Gateway;
pub use load::QueryLoad;
