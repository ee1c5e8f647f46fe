//! Searching with every stored image, by the index as the product runs it.

use std::collections::HashMap;

use medindex_index::{Field, Filter, GroupBy, Index, SearchRequest};

use super::corpus::Corpus;
use super::exact::judge;
use super::metrics::Quality;
use crate::failure::{Code, Failure};

/// Queries handed over together.
const BATCH: usize = 64;
/// Results that P@1 and P@10 need.
const PAGE: usize = 10;

/// How much the index is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Ten results with default effort: what a person looks at.
    Page,
    /// All images from all lists. The index compares as many exactly as it returns, so it takes as long as exact search.
    All,
}

/// What the index answered.
#[derive(Debug)]
pub(crate) struct Pages {
    /// The quality of the results of each query; average precision is of these alone.
    pub(crate) qualities: Vec<Option<Quality>>,
    /// Candidates that were compared exactly for a query, at the most.
    pub(crate) reranked: usize,
}

/// Searches with each query.
pub(crate) fn search(
    index: &Index,
    corpus: &Corpus,
    queries: &[usize],
    depth: Depth,
    done: &(dyn Fn(usize) + Sync),
) -> Result<Pages, Failure> {
    let numbers: HashMap<[u8; 16], u32> =
        corpus.ids.iter().enumerate().map(|(number, id)| (*id.as_bytes(), number as u32)).collect();
    let filter = labelled(corpus);
    let (k, probes) = match depth {
        Depth::Page => (PAGE, None),
        Depth::All => (corpus.len(), Some(index.status().lists.max(1))),
    };
    let mut pages = Pages { qualities: Vec::with_capacity(queries.len()), reranked: 0 };
    for batch in queries.chunks(BATCH) {
        let requests: Vec<SearchRequest> = batch
            .iter()
            .map(|query| SearchRequest {
                filter: filter.clone(),
                group_by: GroupBy::Image,
                exclude: Some(*corpus.ids[*query].as_bytes()),
                probes,
                ..SearchRequest::new(corpus.vectors.row(*query).to_vec(), k)
            })
            .collect();
        let answers = index
            .search_batch(&requests)
            .map_err(|error| Failure::caused_by(Code::Storage, "the index failed", &error))?;
        for (query, answer) in batch.iter().zip(answers) {
            let images = answer.hits.iter().filter_map(|hit| numbers.get(&hit.key.id).copied());
            let ranking: Vec<u32> = images.collect();
            pages.qualities.push(judge(corpus, *query, &ranking));
            pages.reranked = pages.reranked.max(answer.explain.reranked);
        }
        done(pages.qualities.len());
    }
    Ok(pages)
}

/// P@1 and P@10 of what the index answered, average precision of a whole ranking.
pub(crate) fn with_average_precision(pages: &Pages, whole: &[Option<Quality>]) -> Vec<Option<Quality>> {
    let join = |(page, whole): (&Option<Quality>, &Option<Quality>)| {
        page.zip(*whole).map(|(page, whole)| Quality { average_precision: whole.average_precision, ..page })
    };
    pages.qualities.iter().zip(whole).map(join).collect()
}

/// Keeps images without a label out of the results when there are any.
fn labelled(corpus: &Corpus) -> Filter {
    if corpus.unlabelled == 0 {
        return Filter::All;
    }
    Filter::In { field: Field::Label, values: corpus.label_names.clone() }
}
