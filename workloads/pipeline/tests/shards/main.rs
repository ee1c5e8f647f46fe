//! Search shards of a cluster over embedded backends: where their index comes from, what they publish, the memory limit, and what gateways
//! keep in the cache.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod alarms;
mod caches;
mod index;
mod loading;
mod memory;
mod mending;
mod refusals;
mod segments;
