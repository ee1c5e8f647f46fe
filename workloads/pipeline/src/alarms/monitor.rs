//! The task that looks for causes, says again what is still there, and clears what nobody sees any more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use medindex_backends::CatalogError;
use medindex_backends::catalog::Alarm;

use super::{AlarmCheck, AlarmKind};
use crate::clock::TOLERANCE;
use crate::core::{Core, now_ms};
use crate::operations::{Action, Event, note, outcome};

/// For how many periods the catalog must have answered before anything is cleared: after it was down, whoever sees a cause gets to say so first.
const SETTLE_PERIODS: u32 = 2;
/// Alarms among which one is looked for that another process has told.
const RECENT: usize = 200;
/// What an alarm of another release is left alone for.
const UNKNOWN_QUIET: Duration = Duration::from_hours(1);

/// Runs until the core stops.
pub(crate) async fn run(core: Arc<Core>, mut checks: Vec<Box<dyn AlarmCheck>>) {
    let mut period = tokio::time::interval(core.settings.alarm_period);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut monitor = Monitor::default();
    loop {
        tokio::select! {
            () = core.stop.cancelled() => return,
            _ = period.tick() => {}
        }
        tokio::select! {
            () = core.stop.cancelled() => return,
            () = monitor.round(&core, &mut checks) => {}
        }
    }
}

#[derive(Default)]
struct Monitor {
    /// What the checks found in the round before.
    found: HashSet<(AlarmKind, String)>,
    /// Since when the catalog has answered without a break.
    answering: Option<Instant>,
    /// Since when the rows of open alarms are as they are, by the clock of this process.
    unchanged: HashMap<(String, String), (i64, Instant)>,
}

impl Monitor {
    async fn round(&mut self, core: &Core, checks: &mut [Box<dyn AlarmCheck>]) {
        let mut found = HashSet::new();
        for check in checks {
            for finding in check.look(core).await {
                hold(core, finding.kind, &finding.subject, &finding.detail);
                found.insert((finding.kind, finding.subject));
            }
        }
        for (kind, subject) in self.found.difference(&found) {
            core.alarms.release(*kind, subject, now_ms());
        }
        self.found = found;
        match write(core).await {
            Ok(open) => {
                let since = *self.answering.get_or_insert_with(Instant::now);
                self.note_unchanged(&open);
                if since.elapsed() >= core.settings.alarm_period * SETTLE_PERIODS {
                    self.clear_unseen(core, &open).await;
                }
                core.alarms.set_open(open);
            }
            Err(error) => {
                self.answering = None;
                self.unchanged.clear();
                tracing::warn!(%error, "alarms cannot be written and will be");
            }
        }
    }

    /// Notes when the row of each open alarm was seen first as it is now.
    fn note_unchanged(&mut self, open: &[Alarm]) {
        let mut unchanged = HashMap::with_capacity(open.len());
        for alarm in open {
            let key = (alarm.kind.clone(), alarm.subject.clone());
            let before =
                self.unchanged.get(&key).copied().filter(|(seen_ms, _)| *seen_ms == alarm.seen_at_ms);
            unchanged.insert(key, before.unwrap_or((alarm.seen_at_ms, Instant::now())));
        }
        self.unchanged = unchanged;
    }

    /// Clears what nobody has seen for as long as its kind says.
    ///
    /// The times in a row are those of other clocks. So whoever clears must have watched the row unchanged for a lease by its own; where the
    /// row's time lies in the future, for as long as the kind says.
    async fn clear_unseen(&self, core: &Core, open: &[Alarm]) {
        let now = now_ms();
        for alarm in open {
            core.clock.look("an alarm", alarm.seen_at_ms);
            let quiet = AlarmKind::of_name(&alarm.kind)
                .map_or(UNKNOWN_QUIET, |kind| kind.quiet(core.settings.alarm_period));
            let is_old = alarm.seen_at_ms < now - quiet.as_millis() as i64;
            let is_ahead = alarm.seen_at_ms > now + TOLERANCE.as_millis() as i64;
            let lease = AlarmKind::lease(core.settings.alarm_period).min(quiet);
            let watched_for = if is_ahead { quiet } else { lease };
            let key = (alarm.kind.clone(), alarm.subject.clone());
            let watched = self.unchanged.get(&key).is_some_and(|(_, since)| since.elapsed() >= watched_for);
            let at_ms = now.max(alarm.seen_at_ms);
            if (is_old || is_ahead)
                && watched
                && let Err(error) =
                    clear(core, &alarm.kind, &alarm.subject, at_ms, alarm.seen_at_ms + 1).await
            {
                tracing::warn!(alarm = alarm.kind, %error, "an alarm that is over cannot be cleared yet");
            }
        }
    }
}

/// Holds an alarm in this process; it is written within a round.
fn hold(core: &Core, kind: AlarmKind, subject: &str, detail: &str) {
    if core.alarms.hold(kind, subject, detail, now_ms()) {
        tracing::warn!(alarm = kind.name(), subject, detail, "alarm: {}", kind.advice());
    }
}

/// Says again what is there; returns what is open.
async fn write(core: &Core) -> Result<Vec<Alarm>, CatalogError> {
    for ((kind, subject), held) in core.alarms.held() {
        let seen = now_ms();
        if !held.is_written && held.since_ms < seen {
            raise(core, kind, &subject, &held.detail, held.since_ms).await?;
        }
        raise(core, kind, &subject, &held.detail, seen).await?;
        core.alarms.mark_written(kind, &subject);
    }
    write_missed(core).await?;
    core.ports.catalog.open_alarms().await
}

/// Writes what was over before the catalog could be told. Other processes may have told it of the same cause already, and it may be cleared by now.
async fn write_missed(core: &Core) -> Result<(), CatalogError> {
    let mut missed = core.alarms.take_missed();
    if missed.is_empty() {
        return Ok(());
    }
    let written = async {
        let recent = core.ports.catalog.recent_alarms(RECENT).await?;
        while let Some(((kind, subject), held, ended_ms)) = missed.last() {
            let is_told = recent.iter().any(|alarm| {
                (alarm.kind.as_str(), &alarm.subject) == (kind.name(), subject)
                    && alarm.raised_at_ms <= *ended_ms
                    && alarm.cleared_at_ms.is_some_and(|cleared_ms| cleared_ms >= held.since_ms)
            });
            if !is_told {
                raise(core, *kind, subject, &held.detail, held.since_ms).await?;
                // It is cleared when nobody has seen it for long enough, like any other.
                raise(core, *kind, subject, &held.detail, *ended_ms).await?;
            }
            missed.pop();
        }
        Ok(())
    };
    let outcome = written.await;
    core.alarms.keep_missed(missed);
    outcome
}

/// Writes an alarm; one that is new is in the operation log too.
pub(crate) async fn raise(
    core: &Core,
    kind: AlarmKind,
    subject: &str,
    detail: &str,
    at_ms: i64,
) -> Result<(), CatalogError> {
    let told = kind.told(detail);
    if core.ports.catalog.raise_alarm(kind.name(), subject, &told, at_ms).await? {
        let event = Event::new(core, Action::RaiseAlarm, named(kind.name(), subject), outcome::DONE);
        note(core, event.detail(told));
    }
    Ok(())
}

async fn clear(core: &Core, name: &str, subject: &str, at_ms: i64, unseen: i64) -> Result<(), CatalogError> {
    if core.ports.catalog.clear_alarm(name, subject, at_ms, unseen).await? {
        tracing::info!(alarm = name, subject, "alarm cleared");
        note(core, Event::new(core, Action::ClearAlarm, named(name, subject), outcome::DONE));
    }
    Ok(())
}

fn named(name: &str, subject: &str) -> String {
    if subject.is_empty() { name.to_owned() } else { format!("{name} {subject}") }
}

impl Core {
    /// Raises an alarm about something that happened. A catalog that cannot take it is told later.
    pub(crate) async fn raise_alarm(&self, kind: AlarmKind, subject: &str, detail: &str) {
        tracing::warn!(alarm = kind.name(), subject, detail, "alarm: {}", kind.advice());
        let now = now_ms();
        if let Err(error) = raise(self, kind, subject, detail, now).await {
            tracing::error!(alarm = kind.name(), subject, %error, "the alarm cannot be recorded yet");
            self.alarms.hold(kind, subject, detail, now);
            self.alarms.release(kind, subject, now);
        }
    }

    /// Raises an alarm about something that lasts, until [`Self::release_alarm`].
    pub(crate) async fn hold_alarm(&self, kind: AlarmKind, subject: &str, detail: &str) {
        hold(self, kind, subject, detail);
        if !self.alarms.is_unwritten(kind, subject) {
            return;
        }
        match raise(self, kind, subject, detail, now_ms()).await {
            Ok(()) => self.alarms.mark_written(kind, subject),
            Err(error) => {
                tracing::error!(alarm = kind.name(), subject, %error, "the alarm cannot be recorded yet");
            }
        }
    }

    /// Its cause is gone as far as this process sees; it is cleared when nobody else sees it either.
    pub(crate) fn release_alarm(&self, kind: AlarmKind, subject: &str) {
        if self.alarms.release(kind, subject, now_ms()) {
            tracing::info!(alarm = kind.name(), subject, "the cause of an alarm is gone");
        }
    }
}
