//! The operator of MedIndex.
//!
//! A platform team applies one [`api::MedicalImageIndex`]; the operator makes topics, tables and workloads of it and keeps them so. One
//! reconcile reads everything, checks it ([`validate`], pure), builds what shall be ([`build`] and [`external`]'s comparisons, pure), applies and
//! prunes, and tells how things stand in conditions.

pub mod api;
pub mod build;
pub mod definition;
pub mod external;
pub mod names;
pub mod plan;
pub mod program;
pub mod quantity;
pub mod reconcile;
pub mod release;
pub mod validate;
