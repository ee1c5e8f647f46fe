//! The gateway over a real pipeline with the real Lite0 model and real DICOM files: `make setup` prepares both.
//!
//! Every JSON answer that these tests get is held against the `OpenAPI` document (`schema.rs`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod images;
mod openapi;
mod operation;
mod page;
mod problems;
mod schema;
mod search;
mod serving;
mod support;
