//! The alarms that this process knows: those it holds itself, and those it read in the catalog.

use std::collections::BTreeMap;

use medindex_backends::catalog::Alarm;
use parking_lot::Mutex;

use super::{AlarmKind, Severity};
use crate::core::now_ms;

/// An alarm that is raised, as metrics count it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaisedAlarm {
    /// Name of its kind.
    pub name: String,
    /// How soon a person is needed; a kind of another release is a warning.
    pub severity: Severity,
    /// What it is about.
    pub subject: String,
}

/// An alarm whose cause this process sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) detail: String,
    pub(super) since_ms: i64,
    /// Whether the catalog has it.
    pub(super) is_written: bool,
}

pub(super) type Key = (AlarmKind, String);

/// What this process knows of alarms.
#[derive(Default)]
pub(crate) struct AlarmBoard {
    held: Mutex<BTreeMap<Key, Held>>,
    /// Those that were over before the catalog could be told, with the time of their end.
    missed: Mutex<Vec<(Key, Held, i64)>>,
    /// Those that were open when the catalog was read last.
    open: Mutex<Vec<Alarm>>,
}

impl AlarmBoard {
    /// Holds an alarm; returns whether it was not held before.
    pub(super) fn hold(&self, kind: AlarmKind, subject: &str, detail: &str, now_ms: i64) -> bool {
        let mut held = self.held.lock();
        let key = (kind, subject.to_owned());
        let is_new = !held.contains_key(&key);
        let entry = held.entry(key).or_insert_with(|| Held {
            detail: String::new(),
            since_ms: now_ms,
            is_written: false,
        });
        detail.clone_into(&mut entry.detail);
        is_new
    }

    /// Lets go of an alarm; returns whether it was held.
    pub(super) fn release(&self, kind: AlarmKind, subject: &str, now_ms: i64) -> bool {
        let key = (kind, subject.to_owned());
        let Some(held) = self.held.lock().remove(&key) else { return false };
        if !held.is_written {
            self.missed.lock().push((key, held, now_ms));
        }
        true
    }

    /// Whether an alarm that is held is not in the catalog yet.
    pub(super) fn is_unwritten(&self, kind: AlarmKind, subject: &str) -> bool {
        self.held.lock().get(&(kind, subject.to_owned())).is_some_and(|held| !held.is_written)
    }

    /// Alarms that this process has held since before `before_ms` and the catalog could not be told of, as rows.
    pub(crate) fn unwritten(&self, before_ms: i64) -> Vec<Alarm> {
        let held = self.held.lock();
        let unwritten = held.iter().filter(|(_, held)| !held.is_written && held.since_ms < before_ms);
        unwritten
            .map(|((kind, subject), held)| Alarm {
                kind: kind.name().to_owned(),
                subject: subject.clone(),
                raised_at_ms: held.since_ms,
                seen_at_ms: now_ms(),
                cleared_at_ms: None,
                detail: kind.told(&held.detail),
            })
            .collect()
    }

    pub(super) fn mark_written(&self, kind: AlarmKind, subject: &str) {
        if let Some(held) = self.held.lock().get_mut(&(kind, subject.to_owned())) {
            held.is_written = true;
        }
    }

    pub(super) fn held(&self) -> Vec<(Key, Held)> {
        self.held.lock().iter().map(|(key, held)| (key.clone(), held.clone())).collect()
    }

    pub(super) fn take_missed(&self) -> Vec<(Key, Held, i64)> {
        std::mem::take(&mut *self.missed.lock())
    }

    pub(super) fn keep_missed(&self, missed: Vec<(Key, Held, i64)>) {
        self.missed.lock().extend(missed);
    }

    pub(super) fn set_open(&self, alarms: Vec<Alarm>) {
        *self.open.lock() = alarms;
    }

    /// All that is raised, as far as this process knows: what it holds counts also while the catalog is down.
    pub(crate) fn raised(&self) -> Vec<RaisedAlarm> {
        let known = |name: &str| AlarmKind::of_name(name).map_or(Severity::Warning, AlarmKind::severity);
        let mut raised: BTreeMap<(String, String), Severity> = BTreeMap::new();
        for alarm in self.open.lock().iter() {
            raised.insert((alarm.kind.clone(), alarm.subject.clone()), known(&alarm.kind));
        }
        for (kind, subject) in self.held.lock().keys() {
            raised.insert((kind.name().to_owned(), subject.clone()), kind.severity());
        }
        let shown = |((name, subject), severity)| RaisedAlarm { name, severity, subject };
        raised.into_iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_that_ended_before_it_was_written_is_kept_with_both_times() {
        let board = AlarmBoard::default();
        assert!(board.hold(AlarmKind::CatalogDown, "", "no answer", 10));
        assert!(!board.hold(AlarmKind::CatalogDown, "", "still none", 20));
        assert_eq!(board.raised()[0].name, "catalog_down");
        assert_eq!((board.unwritten(10).len(), board.unwritten(11).len()), (0, 1));
        assert!(board.release(AlarmKind::CatalogDown, "", 30));
        assert!(!board.release(AlarmKind::CatalogDown, "", 40));
        let missed = board.take_missed();
        let (key, held, ended) = &missed[0];
        assert_eq!(
            (key.0, held.since_ms, held.detail.as_str(), *ended),
            (AlarmKind::CatalogDown, 10, "still none", 30)
        );
        assert!(board.raised().is_empty() && board.take_missed().is_empty());
    }

    #[test]
    fn an_alarm_that_the_catalog_has_is_not_written_again_when_it_ends() {
        let board = AlarmBoard::default();
        board.hold(AlarmKind::CacheDown, "", "no answer", 10);
        board.mark_written(AlarmKind::CacheDown, "");
        assert!(board.unwritten(i64::MAX).is_empty());
        board.release(AlarmKind::CacheDown, "", 20);
        assert!(board.take_missed().is_empty());
    }

    #[test]
    fn what_is_held_and_in_the_catalog_counts_once() {
        let board = AlarmBoard::default();
        let row = |kind: &str| Alarm {
            kind: kind.to_owned(),
            subject: String::new(),
            raised_at_ms: 1,
            seen_at_ms: 1,
            cleared_at_ms: None,
            detail: String::new(),
        };
        board.set_open(vec![row("cache_down"), row("of a later release")]);
        board.hold(AlarmKind::CacheDown, "", "no answer", 10);
        let names: Vec<String> = board.raised().into_iter().map(|alarm| alarm.name).collect();
        assert_eq!(names, ["cache_down", "of a later release"]);
    }
}
