//! Topics and tables: observed, compared, corrected; and what there is to tell of them.

use medindex_hbase_admin::TableDescription;

use super::conditions::Part;
use crate::external::tables::{self, desired_tables};
use crate::external::topics::{self, DesiredTopic, desired_topics};
use crate::external::{Access, Backends, ExternalError};
use crate::validate::ValidatedIndex;

/// What was found and done at one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrected {
    /// How it is now.
    pub part: Part,
    /// What was done, in words; under `paused` what would have been.
    pub done: Vec<String>,
    /// What only a person can change.
    pub stalled: Option<(&'static str, String)>,
    /// Where less is there than was asked for.
    pub degraded: Vec<String>,
}

impl Corrected {
    /// What follows from what was found; `well` when nothing is wrong.
    fn conclude(
        well: Part,
        done: Vec<String>,
        stalled: Option<(&'static str, String)>,
        degraded: Vec<String>,
        look_only: bool,
    ) -> Self {
        let part = match &stalled {
            Some((reason, message)) => Part::not_ready(reason, message.clone()),
            None if look_only && !done.is_empty() => {
                Part::not_ready("Paused", format!("paused; otherwise: {}", done.join("; ")))
            }
            None => well,
        };
        Self { part, done, stalled, degraded }
    }

    /// What was done before the backend failed is done.
    fn unavailable(reason: &'static str, error: &ExternalError, done: Vec<String>) -> Self {
        let message = format!("{error}; tried again within a minute");
        let is_refusal = matches!(error, ExternalError::KafkaRefusal { .. });
        let part = Part::not_ready(if is_refusal { "KafkaRefuses" } else { reason }, message);
        Self { part, done, stalled: None, degraded: Vec::new() }
    }
}

/// Makes the topics what they shall be, or only looks when `look_only`.
pub async fn topics(
    backends: &dyn Backends,
    access: &Access,
    index: &ValidatedIndex,
    look_only: bool,
) -> Corrected {
    let mut done = Vec::new();
    let corrected = correct_topics(backends, access, &desired_topics(index), look_only, &mut done).await;
    corrected.unwrap_or_else(|error| Corrected::unavailable("KafkaUnavailable", &error, done))
}

async fn correct_topics(
    backends: &dyn Backends,
    access: &Access,
    desired: &[DesiredTopic],
    look_only: bool,
    done: &mut Vec<String>,
) -> Result<Corrected, ExternalError> {
    let names: Vec<String> = desired.iter().map(|topic| topic.name.clone()).collect();
    let observed = backends.topics(access, &names).await?;
    let (mut stalled, mut degraded, mut refusal) = (None, Vec::new(), None);
    for topic in desired {
        let (change, problems) = topics::compare(topic, observed.get(&topic.name));
        for problem in problems {
            if problem.stalls {
                stalled = stalled.or(Some(("TopicIrreparable", problem.message)));
            } else {
                degraded.push(problem.message);
            }
        }
        if let Some(change) = change {
            if !look_only {
                match backends.change_topic(access, &change).await {
                    // The others may be taken.
                    Err(error @ ExternalError::KafkaRefusal { .. }) => {
                        refusal.get_or_insert(error);
                        continue;
                    }
                    outcome => outcome?,
                }
            }
            done.push(change.to_string());
        }
    }
    let well = match refusal {
        Some(refusal) => Corrected::unavailable("KafkaUnavailable", &refusal, Vec::new()).part,
        None => Part::ready("TopicsAsWanted", format!("{} topics are as wanted", desired.len())),
    };
    Ok(Corrected::conclude(well, std::mem::take(done), stalled, degraded, look_only))
}

/// Makes the tables what they shall be, or only looks when `look_only`.
pub async fn tables(
    backends: &dyn Backends,
    access: &Access,
    index: &ValidatedIndex,
    look_only: bool,
) -> Corrected {
    let mut done = Vec::new();
    let corrected = correct_tables(backends, access, &desired_tables(index), look_only, &mut done).await;
    corrected.unwrap_or_else(|error| Corrected::unavailable("HbaseUnavailable", &error, done))
}

async fn correct_tables(
    backends: &dyn Backends,
    access: &Access,
    desired: &[TableDescription],
    look_only: bool,
    done: &mut Vec<String>,
) -> Result<Corrected, ExternalError> {
    let observed = backends.tables(access, desired).await?;
    let mut stalled = None;
    for (table, observed) in desired.iter().zip(&observed) {
        let (changes, problems) = tables::compare(table, observed.as_ref());
        if let Some(problem) = problems.into_iter().next() {
            stalled = stalled.or(Some(("TableIrreparable", problem)));
        }
        for change in changes {
            if !look_only {
                backends.change_table(access, &change).await?;
            }
            done.push(change.to_string());
        }
    }
    let well = Part::ready("TablesAsWanted", format!("{} tables are as wanted", desired.len()));
    Ok(Corrected::conclude(well, std::mem::take(done), stalled, Vec::new(), look_only))
}
