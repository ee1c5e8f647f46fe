//! Why a command failed, in one line that says what to do.

use std::path::PathBuf;

use medindex_operator::plan::{BoxError, PlanError};
use medindex_operator::reconcile::call::CallError;
use medindex_operator::reconcile::dereference::DereferenceError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The cluster is not known or cannot be reached.
    #[error("connecting to the API server failed: {0}; see --kubeconfig and --context")]
    Connect(#[source] BoxError),
    /// There is no such index.
    #[error(
        "there is no MedicalImageIndex {name} in namespace {namespace}; kubectl medindex status -A lists all"
    )]
    FindIndex {
        /// Its name.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// The API server refused, or did not answer.
    #[error("{action} failed: {source}")]
    Call {
        /// What was to be done.
        action: String,
        /// Why.
        #[source]
        source: CallError,
    },
    /// Objects of an index could not be read.
    #[error(transparent)]
    Dereference(#[from] DereferenceError),
    /// What is asked for cannot be done now.
    #[error("{0}")]
    Refuse(String),
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A file could not be written.
    #[error("writing {} failed: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Standard output is gone.
    #[error("writing to standard output failed: {0}")]
    Print(#[source] std::io::Error),
}

impl PluginError {
    /// An action that the API server did not do.
    pub fn call(action: impl Into<String>) -> impl FnOnce(CallError) -> Self {
        move |source| Self::Call { action: action.into(), source }
    }
}
