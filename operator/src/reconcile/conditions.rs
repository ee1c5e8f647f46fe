//! How things stand, in conditions. Pure: what was observed goes in, conditions come out.
//!
//! Times change only when a status does, so that a reconcile that finds nothing new writes nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::condition_types as types;
use crate::definition::PENDING;

/// The reason of `Reconciling` after a reconcile that failed.
pub const FAILED: &str = "ReconcileFailed";

/// What is known of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// `True`, `False` or `Unknown`.
    pub status: Truth,
    /// One word.
    pub reason: &'static str,
    /// What is so, and what to do.
    pub message: String,
}

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// Nobody knows.
    Unknown,
}

impl Truth {
    fn text(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl Part {
    /// All is well.
    pub fn ready(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: Truth::True, reason, message: message.into() }
    }

    /// It is not.
    pub fn not_ready(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: Truth::False, reason, message: message.into() }
    }

    /// Nobody knows.
    pub fn unknown(reason: &'static str, message: impl Into<String>) -> Self {
        Self { status: Truth::Unknown, reason, message: message.into() }
    }
}

/// Everything that the conditions follow from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// The topics.
    pub topics: Part,
    /// The tables.
    pub tables: Part,
    /// The generation.
    pub quantizer: Part,
    /// Embedders.
    pub embedder: Part,
    /// Search.
    pub search: Part,
    /// Gateways.
    pub gateway: Part,
    /// What only a person can change.
    pub stalled: Option<(&'static str, String)>,
    /// It works with less than was asked for.
    pub degraded: Vec<String>,
    /// The resource asks that nothing be changed.
    pub paused: bool,
    /// The resource asks that nothing run.
    pub suspended: bool,
    /// Something was written in this reconcile.
    pub changed: bool,
}

impl Findings {
    /// Nothing known yet, for the reason given.
    pub fn unknown(reason: &'static str, message: &str) -> Self {
        let part = Part::unknown(reason, message);
        Self {
            topics: part.clone(),
            tables: part.clone(),
            quantizer: part.clone(),
            embedder: part.clone(),
            search: part.clone(),
            gateway: part,
            stalled: None,
            degraded: Vec::new(),
            paused: false,
            suspended: false,
            changed: false,
        }
    }

    fn parts(&self) -> [(&'static str, &Part); 6] {
        [
            (types::TOPICS_READY, &self.topics),
            (types::TABLE_READY, &self.tables),
            (types::EMBEDDER_READY, &self.embedder),
            (types::SEARCH_READY, &self.search),
            (types::GATEWAY_READY, &self.gateway),
            (types::QUANTIZER_READY, &self.quantizer),
        ]
    }

    /// The summary: the first part that is not well names the reason.
    fn ready(&self) -> Part {
        if let Some((reason, message)) = &self.stalled {
            return Part::not_ready(reason, message.clone());
        }
        if self.suspended {
            return Part::not_ready("Suspended", "spec.suspend is true: nothing runs, all data are kept");
        }
        match self.parts().into_iter().find(|(_, part)| part.status != Truth::True) {
            None => Part::ready("Ready", "images are accepted and found"),
            Some((name, part)) => Part {
                status: if part.status == Truth::Unknown { Truth::Unknown } else { Truth::False },
                reason: part.reason,
                message: format!("{name}: {}", part.message),
            },
        }
    }

    fn reconciling(&self) -> Part {
        let ready = self.ready();
        if self.paused {
            Part::not_ready("Paused", "spec.paused is true: nothing is changed until it is false")
        } else if self.stalled.is_some() {
            Part::not_ready("Stalled", "nothing more is done until a person acts; see Stalled")
        } else if self.changed || (ready.status != Truth::True && !self.suspended) {
            Part::ready(
                "Progressing",
                if self.changed { "objects were changed".to_owned() } else { ready.message },
            )
        } else {
            Part::not_ready("UpToDate", "everything is as asked for")
        }
    }

    fn stalled(&self) -> Part {
        match &self.stalled {
            Some((reason, message)) => Part::ready(reason, message.clone()),
            None => Part::not_ready("NotStalled", "nothing waits for a person"),
        }
    }

    fn degraded(&self) -> Part {
        if self.degraded.is_empty() {
            Part::not_ready("AsAskedFor", "nothing is less than was asked for")
        } else {
            Part::ready("Degraded", self.degraded.join("; "))
        }
    }
}

/// The conditions, in the order in which they are shown. `before` are those that are there; `generation` is the resource's.
pub fn conditions(
    findings: &Findings,
    before: &[Condition],
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    let summary = [
        (types::READY, findings.ready()),
        (types::RECONCILING, findings.reconciling()),
        (types::STALLED, findings.stalled()),
    ];
    let parts = findings.parts().into_iter().map(|(name, part)| (name, part.clone()));
    let all = summary.into_iter().chain(parts).chain([(types::DEGRADED, findings.degraded())]);
    all.map(|(name, part)| condition(name, part, before, generation, now)).collect()
}

/// The conditions after a reconcile that failed: those that are there, but for `Reconciling`, which names the error. A resource that was never
/// looked at to the end gets them all, as unknown.
pub fn failing(before: &[Condition], error: &str, generation: Option<i64>, now: &Time) -> Vec<Condition> {
    // The API server takes messages of 32 KiB.
    let message: String =
        format!("{error}; it is tried again, ever more slowly").chars().take(2_000).collect();
    let mut all = if before.iter().any(is_found) {
        before.to_vec()
    } else {
        conditions(&Findings::unknown(FAILED, "not looked at: see Reconciling"), &[], generation, now)
    };
    let failed = condition(types::RECONCILING, Part::ready(FAILED, message), before, generation, now);
    match all.iter_mut().find(|condition| condition.type_ == types::RECONCILING) {
        Some(found) => *found = failed,
        None => all.push(failed),
    }
    all
}

/// Whether the operator found out what a condition says; else the resource has it from the schema.
pub(super) fn is_found(condition: &Condition) -> bool {
    condition.reason != PENDING
}

fn condition(name: &str, part: Part, before: &[Condition], generation: Option<i64>, now: &Time) -> Condition {
    let status = part.status.text();
    let known = before.iter().find(|known| known.type_ == name && known.status == status && is_found(known));
    Condition {
        type_: name.to_owned(),
        status: status.to_owned(),
        reason: part.reason.to_owned(),
        message: part.message,
        observed_generation: generation,
        last_transition_time: known.map_or_else(|| now.clone(), |known| known.last_transition_time.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_well() -> Findings {
        let part = Part::ready("Fine", "fine");
        Findings {
            topics: part.clone(),
            tables: part.clone(),
            quantizer: part.clone(),
            embedder: part.clone(),
            search: part.clone(),
            gateway: part,
            ..Findings::unknown("None", "")
        }
    }

    fn at(second: i64) -> Time {
        serde_json::from_value(serde_json::json!(format!("2026-01-01T00:00:{second:02}Z"))).unwrap()
    }

    fn status<'a>(conditions: &'a [Condition], name: &str) -> (&'a str, &'a str) {
        let found = conditions.iter().find(|condition| condition.type_ == name).unwrap();
        (&found.status, &found.reason)
    }

    #[test]
    fn ready_names_the_first_part_that_is_not_well() {
        let mut findings = all_well();
        let found = conditions(&findings, &[], Some(1), &at(0));
        assert_eq!((status(&found, "Ready"), status(&found, "Reconciling").0), (("True", "Ready"), "False"));
        assert_eq!(found.len(), types::ALL.len());
        findings.search = Part::not_ready("PodsMissing", "1 of 2 pods is ready");
        let found = conditions(&findings, &[], Some(1), &at(0));
        assert_eq!(
            (status(&found, "Ready"), status(&found, "Reconciling").0),
            (("False", "PodsMissing"), "True")
        );
    }

    #[test]
    fn a_stalled_resource_is_neither_ready_nor_reconciling() {
        let findings =
            Findings { stalled: Some(("InvalidSpec", "spec.x: write y".to_owned())), ..all_well() };
        let found = conditions(&findings, &[], Some(1), &at(0));
        assert_eq!(status(&found, "Stalled"), ("True", "InvalidSpec"));
        assert_eq!((status(&found, "Ready").0, status(&found, "Reconciling").0), ("False", "False"));
    }

    #[test]
    fn a_failed_reconcile_says_so_and_forgets_nothing() {
        let first = failing(&[], "reading services failed", Some(1), &at(0));
        assert_eq!(first.len(), types::ALL.len());
        assert_eq!((status(&first, "Ready").0, status(&first, "Reconciling")), ("Unknown", ("True", FAILED)));
        let before = conditions(&all_well(), &[], Some(1), &at(0));
        let after = failing(&before, "reading services failed", Some(2), &at(9));
        assert_eq!(
            (status(&after, "Ready"), status(&after, "Reconciling")),
            (("True", "Ready"), ("True", FAILED))
        );
        assert_eq!(failing(&after, "reading services failed", Some(2), &at(30)), after);
    }

    #[test]
    fn what_the_schema_says_of_a_resource_that_nobody_looked_at_is_no_finding() {
        let pending: Vec<Condition> = serde_json::from_value(serde_json::json!([
            {"type": "Ready", "status": "Unknown", "reason": PENDING, "message": "", "lastTransitionTime": "1970-01-01T00:00:00Z"},
        ]))
        .unwrap();
        let failed = failing(&pending, "reading services failed", Some(1), &at(5));
        assert_eq!(failed.len(), types::ALL.len());
        assert_eq!(status(&failed, "Ready"), ("Unknown", FAILED));
        assert!(failed.iter().all(|condition| condition.last_transition_time == at(5)));
        assert_eq!(failing(&failed, "reading services failed", Some(1), &at(9)), failed);
    }

    #[test]
    fn times_change_only_with_the_status() {
        let before = conditions(&all_well(), &[], Some(1), &at(0));
        assert_eq!(conditions(&all_well(), &before, Some(1), &at(30)), before);
        let worse = Findings { gateway: Part::not_ready("PodsMissing", "0 of 1"), ..all_well() };
        let after = conditions(&worse, &before, Some(1), &at(30));
        let time = |conditions: &[Condition], name: &str| {
            conditions.iter().find(|condition| condition.type_ == name).unwrap().last_transition_time.clone()
        };
        assert_eq!(time(&after, "GatewayReady"), at(30));
        assert_eq!(time(&after, "TopicsReady"), at(0));
    }
}
