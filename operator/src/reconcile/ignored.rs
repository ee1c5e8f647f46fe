//! Fields that the API server takes and does not keep, such as those of a feature that it does not have.
//!
//! An object with such a field never is as it shall be. It is applied once, found out by the answer, told in a condition, and left alone for a
//! while instead of being applied in every round.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After this it is tried again: somebody may have switched the feature on.
const TRY_AGAIN_AFTER: Duration = Duration::from_mins(10);

/// What was found out, by namespace, kind and name. Lost with the process, at the cost of one more apply.
#[derive(Debug, Default)]
pub struct Ignored(Mutex<HashMap<String, Known>>);

#[derive(Debug)]
struct Known {
    fields: Vec<String>,
    since: Instant,
}

impl Ignored {
    /// Whether all of these fields are known not to be kept.
    pub fn knows(&self, object: &str, fields: &[String]) -> bool {
        let known = self.lock();
        known.get(object).is_some_and(|known| {
            known.since.elapsed() < TRY_AGAIN_AFTER && fields.iter().all(|field| known.fields.contains(field))
        })
    }

    /// Notes what an object lacked right after it was applied: nothing, as a rule.
    pub fn note(&self, object: &str, fields: &[String]) {
        let mut known = self.lock();
        if fields.is_empty() {
            known.remove(object);
        } else {
            known.insert(object.to_owned(), Known { fields: fields.to_vec(), since: Instant::now() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
