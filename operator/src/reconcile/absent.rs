//! Types of other operators that a cluster lacks, so that not every reconcile asks for them again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::objects::Kind;

/// What is installed meanwhile is noticed after this, at the latest.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// When types were found absent, by type and namespace: rights may differ.
#[derive(Debug, Default)]
pub struct Absent {
    since: Mutex<BTreeMap<(&'static str, String), Instant>>,
}

impl Absent {
    /// Whether a type was absent a moment ago.
    pub(super) fn knows(&self, kind: Kind, namespace: &str) -> bool {
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let found = since.get(&(kind.kind, namespace.to_owned()));
        found.is_some_and(|found| found.elapsed() < ASKED_AGAIN_AFTER)
    }

    /// Notes that a type is absent now.
    pub(super) fn note(&self, kind: Kind, namespace: &str) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.insert((kind.kind, namespace.to_owned()), Instant::now());
    }
}
