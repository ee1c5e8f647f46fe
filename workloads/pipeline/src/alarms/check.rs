//! Looking for causes of alarms.

use async_trait::async_trait;

use super::AlarmKind;
use crate::core::Core;

/// A cause that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub kind: AlarmKind,
    /// With what: a shard, a process; empty for the system as a whole.
    pub subject: String,
    /// What was met.
    pub detail: String,
}

impl Finding {
    /// A cause that concerns the system as a whole.
    pub(crate) fn of_all(kind: AlarmKind, detail: impl Into<String>) -> Self {
        Self { kind, subject: String::new(), detail: detail.into() }
    }
}

/// Looks for causes again and again; whether one look is enough is its own to decide.
#[async_trait]
pub trait AlarmCheck: Send {
    /// Takes one look; returns every cause that is there now.
    async fn look(&mut self, core: &Core) -> Vec<Finding>;
}
