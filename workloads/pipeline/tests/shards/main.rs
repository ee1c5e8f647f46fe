//! Search shards of a cluster over embedded backends: where their index comes from, what they publish, and the memory limit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod index;
mod memory;
mod refusals;
mod segments;
