//! The HTTP API, one file a group of routes.

pub(crate) mod files;
pub(crate) mod health;
pub(crate) mod images;
pub(crate) mod metrics;
pub(crate) mod openapi;
pub(crate) mod operations;
pub(crate) mod recognise;
mod schemas;
pub(crate) mod search;
pub(crate) mod status;
pub(crate) mod training;
pub(crate) mod upload;
