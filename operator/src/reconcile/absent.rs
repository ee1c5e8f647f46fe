//! Types of other operators that a cluster lacks, so that not every reconcile asks for them again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::objects::Kind;

/// A type that is installed meanwhile is noticed by the first reconcile after this.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// When types were found absent.
#[derive(Debug, Default)]
pub struct Absent {
    since: Mutex<BTreeMap<&'static str, Instant>>,
}

impl Absent {
    /// Whether a type was absent a moment ago, as of `now`.
    pub(super) fn knows(&self, kind: Kind, now: Instant) -> bool {
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.get(kind.kind).is_some_and(|found| now.duration_since(*found) < ASKED_AGAIN_AFTER)
    }

    /// Notes that a type is absent `now`.
    pub(super) fn note(&self, kind: Kind, now: Instant) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.insert(kind.kind, now);
    }
}

#[cfg(test)]
mod tests {
    use super::super::objects::{POD_MONITOR, SCALED_OBJECT};
    use super::*;

    #[test]
    fn an_absent_type_is_asked_for_again_after_a_while_and_others_at_once() {
        let (absent, now) = (Absent::default(), Instant::now());
        absent.note(POD_MONITOR, now);
        assert!(absent.knows(POD_MONITOR, now) && !absent.knows(SCALED_OBJECT, now));
        assert!(!absent.knows(POD_MONITOR, now + ASKED_AGAIN_AFTER));
    }
}
