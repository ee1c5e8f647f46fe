//! What an import did, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use medindex_sources::Refusal;
use serde::{Deserialize, Serialize};

use crate::table::{Align, Table, keep_end};

/// What an import did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Images that are searchable now and were not before.
    pub(crate) stored: u64,
    /// Files whose bytes were stored before, also by another file of the same import.
    pub(crate) duplicates: u64,
    /// Images that were stored before without a label and have one now.
    pub(crate) labels_set: u64,
    /// Images that were stored before with another label and keep that.
    pub(crate) labels_kept: u64,
    /// Images that were refused.
    pub(crate) failed: Vec<Refusal>,
    /// Files found in folders that are no images.
    pub(crate) skipped: Vec<Refusal>,
    /// Files that the label table names and that were not imported.
    pub(crate) unused_labels: Vec<String>,
    /// Images that were accepted and are not searchable yet, because the import was stopped.
    pub(crate) waiting: u64,
    /// Seconds it took.
    pub(crate) seconds: f64,
    /// Stopped before the last file; the same command goes on.
    pub(crate) interrupted: bool,
}

impl Summary {
    /// The summary for people.
    pub(crate) fn render(&self) -> String {
        let rate = if self.stored == 0 {
            String::new()
        } else {
            format!(" ({:.1} images/s)", self.stored as f64 / self.seconds.max(0.001))
        };
        let mut text = format!(
            "{} stored, {} duplicates, {} failed, {} skipped in {:.1} s{rate}\n",
            self.stored,
            self.duplicates,
            self.failed.len(),
            self.skipped.len(),
            self.seconds,
        );
        for (title, refusals) in [("failed", &self.failed), ("skipped", &self.skipped)] {
            if !refusals.is_empty() {
                text.push('\n');
                text.push_str(&by_reason(title, refusals).render());
            }
        }
        if self.labels_set > 0 {
            let _ = writeln!(
                text,
                "\n{} labels set: these images were stored before without one",
                self.labels_set
            );
        }
        if self.labels_kept > 0 {
            let _ = writeln!(
                text,
                "\n{} labels kept: these images were stored before with another label; to change it, delete the image and import it again",
                self.labels_kept
            );
        }
        if !self.unused_labels.is_empty() {
            let (count, names) = (self.unused_labels.len(), shorten(&self.unused_labels));
            let _ = writeln!(text, "\n{count} files in the label table were not imported: {names}");
        }
        if self.waiting > 0 {
            let _ = writeln!(
                text,
                "\n{} more are accepted and become searchable when the data folder is open again",
                self.waiting
            );
        }
        if self.interrupted {
            text.push_str("\nstopped before the last file: run the same command again to go on\n");
        }
        text
    }
}

/// How many files share each reason, the most frequent first, with one of their names.
fn by_reason(title: &'static str, refusals: &[Refusal]) -> Table {
    let mut reasons: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for refusal in refusals {
        reasons.entry(&refusal.reason).or_insert((0, &refusal.name)).0 += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let mut table = Table::new(&[(title, Align::Right), ("file", Align::Left), ("reason", Align::Left)]);
    for (reason, (count, example)) in reasons {
        let file =
            if count == 1 { keep_end(example, 44) } else { format!("such as {}", keep_end(example, 36)) };
        table.row([count.to_string(), file, reason.to_owned()]);
    }
    table
}

fn shorten(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(", …");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_failed_files_and_counts_skipped_ones() {
        let refusal = |name: &str, reason: &str| Refusal { name: name.to_owned(), reason: reason.to_owned() };
        let summary = Summary {
            stored: 3,
            duplicates: 1,
            labels_set: 0,
            labels_kept: 1,
            failed: vec![refusal("a.dcm", "truncated")],
            skipped: vec![refusal("x.txt", "plain text"), refusal("y.txt", "plain text")],
            unused_labels: vec!["z.dcm".to_owned()],
            waiting: 0,
            seconds: 1.5,
            interrupted: false,
        };
        let text = summary.render();
        assert!(text.starts_with("3 stored, 1 duplicates, 1 failed, 2 skipped in 1.5 s (2.0 images/s)\n"));
        assert!(text.contains("failed  file   reason\n     1  a.dcm  truncated\n"), "{text}");
        assert!(text.contains("      2  such as x.txt  plain text\n"), "{text}");
        assert!(text.contains("1 labels kept: ") && !text.contains("labels set"), "{text}");
        assert!(text.contains("1 files in the label table were not imported: z.dcm"), "{text}");
    }
}
