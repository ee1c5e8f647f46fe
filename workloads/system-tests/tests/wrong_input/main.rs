//! What is wrong around the programs, over real servers: messages that are none, and surroundings that do not fit.
//!
//! Each is a line in the log that says what to do, a metric and a condition; nothing is lost, and no program ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod messages;
mod surroundings;
