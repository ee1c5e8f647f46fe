//! What the import did: a JSON document on standard output, and a table of the files that failed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use medindex_pipeline::{ImportFailure, ImportSummary};
use medindex_sources::Remainder;
use serde::Serialize;

/// Reasons that are told; the others count together, because a reason may name its file.
const REASONS: usize = 20;
/// What the others are called.
const OTHERS: &str = "other reasons; --failures writes all of them to a file";

/// What the import did.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// New images that are stored and announced to the search shards.
    pub(crate) imported: u64,
    /// Files whose bytes were there before.
    pub(crate) duplicates: u64,
    /// Images that were there before without a label and have one now.
    pub(crate) labels_set: u64,
    /// Images that were there before with another label and keep that.
    pub(crate) labels_kept: u64,
    /// Files that failed.
    pub(crate) failed: u64,
    /// How many failed for each reason, at most [`REASONS`].
    pub(crate) failed_by_reason: BTreeMap<String, u64>,
    /// Files found in folders that are no images.
    pub(crate) skipped: u64,
    /// Files that the label table names and that were not imported.
    pub(crate) unused_labels: Vec<String>,
    /// New images that were not finished in time; the next import takes them up.
    pub(crate) waiting: u64,
    /// Seconds it took.
    pub(crate) seconds: f64,
    /// New images a second.
    pub(crate) images_per_second: f64,
    /// Stopped before the last file: started again it goes on.
    pub(crate) interrupted: bool,
}

impl Report {
    pub(crate) fn new(summary: &ImportSummary, remainder: Remainder) -> Self {
        Self {
            imported: summary.stored,
            duplicates: summary.duplicates,
            labels_set: summary.labels_set,
            labels_kept: summary.labels_kept,
            failed: summary.failed.len() as u64,
            failed_by_reason: by_reason(&summary.failed),
            skipped: remainder.skipped.len() as u64,
            unused_labels: remainder.unused_labels,
            waiting: summary.waiting,
            seconds: summary.seconds,
            images_per_second: summary.stored as f64 / summary.seconds.max(0.001),
            interrupted: summary.interrupted || remainder.stopped,
        }
    }

    /// Prints it.
    pub(crate) fn print(&self) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        writeln!(io::stdout(), "{text}")
    }
}

fn by_reason(failures: &[ImportFailure]) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for failure in failures {
        *counts.entry(&failure.reason).or_default() += 1;
    }
    let mut counts: Vec<(&str, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let others: u64 = counts.iter().skip(REASONS).map(|(_, count)| count).sum();
    let mut told: BTreeMap<String, u64> =
        counts.into_iter().take(REASONS).map(|(reason, count)| (reason.to_owned(), count)).collect();
    if others > 0 {
        told.insert(OTHERS.to_owned(), others);
    }
    told
}

/// The table of the files that failed. It is made before the import begins, so that a wrong path does not show after hours.
pub(crate) struct FailuresFile {
    writer: csv::Writer<File>,
}

impl FailuresFile {
    pub(crate) fn create(path: &Path) -> csv::Result<Self> {
        let mut writer = csv::Writer::from_path(path)?;
        writer.write_record(["file", "reason"])?;
        writer.flush()?;
        Ok(Self { writer })
    }

    pub(crate) fn write(&mut self, failures: &[ImportFailure]) -> csv::Result<()> {
        for failure in failures {
            self.writer.write_record([&failure.name, &failure.reason])?;
        }
        Ok(self.writer.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(name: &str, reason: &str) -> ImportFailure {
        ImportFailure { name: name.to_owned(), reason: reason.to_owned() }
    }

    #[test]
    fn the_most_frequent_reasons_are_told_and_the_others_counted() {
        let mut failures: Vec<_> = (0..30).map(|number| failure("x", &format!("line {number}"))).collect();
        failures.extend((0..5).map(|_| failure("y", "truncated")));
        let reasons = by_reason(&failures);
        assert_eq!(reasons.len(), REASONS + 1);
        assert_eq!((reasons["truncated"], reasons[OTHERS]), (5, 11));
    }

    #[test]
    fn failures_are_a_table_of_files_and_reasons() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("failures.csv");
        let mut file = FailuresFile::create(&path).unwrap();
        file.write(&[failure("a,b.dcm", "truncated")]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "file,reason\n\"a,b.dcm\",truncated\n");
    }
}
