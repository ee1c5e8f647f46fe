//! What an evaluation found, as a table, as Markdown and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::baselines::{self, Baseline};
use super::corpus::Corpus;
use super::metrics::{MeanQuality, Quality, mean};
use crate::table::{Align, Table};

/// What an evaluation found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Model, as `name@version`.
    pub(crate) model: String,
    /// Generation of the index; 0 when it is exact, because it is not trained.
    pub(crate) generation: u64,
    /// Coarse lists of the index.
    pub(crate) lists: usize,
    /// Labelled images.
    pub(crate) images: usize,
    /// Searchable images without a label, left out.
    pub(crate) unlabelled: usize,
    /// Images that were queries, each against all others.
    pub(crate) queries: usize,
    /// Labelled images that are no queries, because no other image has their label: there is nothing to find for them.
    pub(crate) queries_left_out: usize,
    /// Seed of their choice.
    pub(crate) seed: u64,
    /// Rankings that were measured.
    pub(crate) rankings: Vec<Ranking>,
    /// Published figures for the same data.
    pub(crate) baselines: &'static [Baseline],
    /// Where they come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) baselines_source: Option<&'static str>,
    /// Seconds that the evaluation took.
    pub(crate) seconds: f64,
}

/// The quality of one way to rank.
#[derive(Debug, Serialize)]
pub(crate) struct Ranking {
    /// How images were ranked.
    pub(crate) name: String,
    /// Over all queries.
    pub(crate) overall: MeanQuality,
    /// By the label of the query.
    pub(crate) labels: Vec<LabelQuality>,
}

/// The quality for queries of one label.
#[derive(Debug, Serialize)]
pub(crate) struct LabelQuality {
    /// The label.
    pub(crate) label: String,
    #[serde(flatten)]
    pub(crate) quality: MeanQuality,
}

impl Ranking {
    /// Means of `qualities`, one for each of `queries`; `None` when no query had anything to find.
    pub(crate) fn new(
        name: impl Into<String>,
        corpus: &Corpus,
        queries: &[usize],
        qualities: &[Option<Quality>],
    ) -> Option<Self> {
        let overall = mean(qualities.iter().flatten())?;
        let of_label = |label: usize| {
            let theirs = queries.iter().zip(qualities).filter(|(query, _)| corpus.labels[**query] == label);
            mean(theirs.filter_map(|(_, quality)| quality.as_ref()))
        };
        let labels = corpus.label_names.iter().enumerate().filter_map(|(number, name)| {
            of_label(number).map(|quality| LabelQuality { label: name.clone(), quality })
        });
        Some(Self { name: name.into(), overall, labels: labels.collect() })
    }
}

impl Report {
    /// For people.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("{}\n\n{}", self.heading(), self.overall_table().render());
        let _ = write!(text, "\nby label\n{}", self.label_table().render());
        if let Some(source) = self.baselines_source {
            let _ = writeln!(text, "\npublished: {source}");
        }
        text
    }

    /// For a page.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("{}\n\n{}", self.heading(), self.overall_table().markdown());
        let _ = write!(text, "\nBy label:\n\n{}", self.label_table().markdown());
        if let Some(source) = self.baselines_source {
            let _ = writeln!(text, "\nPublished figures: {source}.");
        }
        text
    }

    fn heading(&self) -> String {
        let index = if self.generation == 0 {
            "index not trained: it compares exactly".to_owned()
        } else {
            format!("index of generation {} with {} lists", self.generation, self.lists)
        };
        let left_out = match self.queries_left_out {
            0 => String::new(),
            count => format!("{count} of them are no queries, because no other image has their label; "),
        };
        format!(
            "{}: {} queries, each against the {} others of {} labelled images (leave one out); {left_out}{index}; {:.0} s",
            self.model,
            self.queries,
            self.images - 1,
            self.images,
            self.seconds
        )
    }

    fn overall_table(&self) -> Table {
        let mut table = Table::new(&[
            ("ranking", Align::Left),
            ("P@1", Align::Right),
            ("P@10", Align::Right),
            ("mAP", Align::Right),
        ]);
        for ranking in &self.rankings {
            let MeanQuality { p_at_1, p_at_10, map, .. } = ranking.overall;
            table.row([ranking.name.clone(), figure(p_at_1), figure(p_at_10), figure(map)]);
        }
        for Baseline { name, p_at_1, p_at_10, map } in self.baselines {
            table.row([format!("published: {name}"), figure(*p_at_1), figure(*p_at_10), figure(*map)]);
        }
        table
    }

    fn label_table(&self) -> Table {
        let mut table = Table::new(&[
            ("label", Align::Left),
            ("ranking", Align::Left),
            ("P@1", Align::Right),
            ("P@10", Align::Right),
            ("mAP", Align::Right),
            ("queries", Align::Right),
        ]);
        let labels = self.rankings.first().map_or(0, |ranking| ranking.labels.len());
        for number in 0..labels {
            for ranking in &self.rankings {
                let Some(LabelQuality { label, quality }) = ranking.labels.get(number) else { continue };
                table.row([
                    label.clone(),
                    ranking.name.clone(),
                    figure(quality.p_at_1),
                    figure(quality.p_at_10),
                    figure(quality.map),
                    quality.queries.to_string(),
                ]);
            }
        }
        table
    }
}

/// Published figures for the corpus, and their source.
pub(crate) fn published(corpus: &Corpus) -> (&'static [Baseline], Option<&'static str>) {
    let figures = baselines::published(&corpus.label_names);
    (figures, (!figures.is_empty()).then_some(baselines::SOURCE))
}

fn figure(value: f64) -> String {
    format!("{value:.4}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(queries_left_out: usize) -> Report {
        Report {
            model: "lite@1".to_owned(),
            generation: 0,
            lists: 0,
            images: 9,
            unlabelled: 0,
            queries: 9 - queries_left_out,
            queries_left_out,
            seed: 1,
            rankings: Vec::new(),
            baselines: &[],
            baselines_source: None,
            seconds: 1.0,
        }
    }

    #[test]
    fn queries_that_were_left_out_are_told_wherever_the_result_is_read() {
        let words = "2 of them are no queries, because no other image has their label";
        let some = report(2);
        assert!(some.render().contains(words) && some.markdown().contains(words), "{}", some.render());
        assert_eq!(serde_json::to_value(&some).unwrap()["queries_left_out"], 2);
        assert!(!report(0).render().contains("no queries"));
    }
}
