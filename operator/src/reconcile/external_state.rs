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

    fn unavailable(reason: &'static str, error: &ExternalError) -> Self {
        let part = Part::not_ready(reason, format!("{error}; tried again within a minute"));
        Self { part, done: Vec::new(), stalled: None, degraded: Vec::new() }
    }
}

/// Makes the topics what they shall be, or only looks when `look_only`.
pub async fn topics(
    backends: &dyn Backends,
    access: &Access,
    index: &ValidatedIndex,
    look_only: bool,
) -> Corrected {
    match correct_topics(backends, access, &desired_topics(index), look_only).await {
        Ok(corrected) => corrected,
        Err(error) => Corrected::unavailable("KafkaUnavailable", &error),
    }
}

async fn correct_topics(
    backends: &dyn Backends,
    access: &Access,
    desired: &[DesiredTopic],
    look_only: bool,
) -> Result<Corrected, ExternalError> {
    let names: Vec<String> = desired.iter().map(|topic| topic.name.clone()).collect();
    let observed = backends.topics(access, &names).await?;
    let (mut done, mut stalled, mut degraded) = (Vec::new(), None, Vec::new());
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
                backends.change_topic(access, &change).await?;
            }
            done.push(change.to_string());
        }
    }
    let well = Part::ready("TopicsAsWanted", format!("{} topics are as wanted", desired.len()));
    Ok(Corrected::conclude(well, done, stalled, degraded, look_only))
}

/// Makes the tables what they shall be, or only looks when `look_only`.
pub async fn tables(
    backends: &dyn Backends,
    access: &Access,
    index: &ValidatedIndex,
    look_only: bool,
) -> Corrected {
    match correct_tables(backends, access, &desired_tables(index), look_only).await {
        Ok(corrected) => corrected,
        Err(error) => Corrected::unavailable("HbaseUnavailable", &error),
    }
}

async fn correct_tables(
    backends: &dyn Backends,
    access: &Access,
    desired: &[TableDescription],
    look_only: bool,
) -> Result<Corrected, ExternalError> {
    let observed = backends.tables(access, desired).await?;
    let (mut done, mut stalled) = (Vec::new(), None);
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
    Ok(Corrected::conclude(well, done, stalled, Vec::new(), look_only))
}
