//! The operator of MedIndex.
//!
//! A platform team applies one [`api::MedicalImageIndex`]; the operator makes topics, tables and workloads of it and keeps them so.
//! Begun: the resource type with its rules, and the generated definition in `crds/`.

pub mod api;
pub mod definition;
