//! `kubectl medindex`: what people do with indexes from a terminal.
//!
//! Everything that decides or formats is pure ([`tree`], [`redact`], [`act`]'s patches); [`access`] reaches the API server with the user's own
//! rights. It changes a resource only by `train`, `pause` and `resume`, each by one patch of one field; it never reads a Secret.

pub mod access;
pub mod act;
pub mod arguments;
pub mod bundle;
pub mod error;
pub mod logs;
pub mod redact;
pub mod status;
pub mod tree;
