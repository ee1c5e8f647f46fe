//! Searching with every stored image, by the index as the product runs it.

use std::collections::HashMap;

use medindex_index::{Field, Filter, GroupBy, Index, SearchRequest};

use super::corpus::Corpus;
use super::exact::judge;
use super::metrics::Quality;
use crate::failure::{Code, Failure};

/// Queries handed over together.
const BATCH: usize = 32;
/// Results that P@1 and P@10 need.
const PAGE: usize = 10;

/// How deep the index is asked to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Ten results with default effort: what a person sees.
    Page,
    /// All images: what average precision needs.
    All,
}

/// The quality of each query: P@1 and P@10 from ten results with the product's own defaults, average precision from
/// a search for all images with all lists probed.
pub(crate) fn search_all(
    index: &Index,
    corpus: &Corpus,
    queries: &[usize],
    done: &(dyn Fn(usize) + Sync),
) -> Result<Vec<Option<Quality>>, Failure> {
    let numbers: HashMap<[u8; 16], u32> =
        corpus.ids.iter().enumerate().map(|(number, id)| (*id.as_bytes(), number as u32)).collect();
    let mut qualities = Vec::with_capacity(queries.len());
    for batch in queries.chunks(BATCH) {
        let pages = rankings(index, corpus, &numbers, batch, Depth::Page)?;
        let all = rankings(index, corpus, &numbers, batch, Depth::All)?;
        for ((query, page), all) in batch.iter().zip(pages).zip(all) {
            let whole = judge(corpus, *query, &all);
            let first = judge(corpus, *query, &page);
            qualities.push(
                first
                    .zip(whole)
                    .map(|(first, whole)| Quality { average_precision: whole.average_precision, ..first }),
            );
        }
        done(qualities.len());
    }
    Ok(qualities)
}

fn rankings(
    index: &Index,
    corpus: &Corpus,
    numbers: &HashMap<[u8; 16], u32>,
    queries: &[usize],
    depth: Depth,
) -> Result<Vec<Vec<u32>>, Failure> {
    let lists = index.status().lists.max(1);
    let requests: Vec<SearchRequest> = queries
        .iter()
        .map(|query| SearchRequest {
            filter: labelled(corpus),
            group_by: GroupBy::Image,
            exclude: Some(*corpus.ids[*query].as_bytes()),
            probes: (depth == Depth::All).then_some(lists),
            ..SearchRequest::new(
                corpus.vectors.row(*query).to_vec(),
                if depth == Depth::All { corpus.len() } else { PAGE },
            )
        })
        .collect();
    let answers = index
        .search_batch(&requests)
        .map_err(|error| Failure::caused_by(Code::Storage, "the index failed", &error))?;
    let number = |id: &[u8; 16]| numbers.get(id).copied();
    Ok(answers
        .into_iter()
        .map(|answer| answer.hits.iter().filter_map(|hit| number(&hit.key.id)).collect())
        .collect())
}

/// Keeps images without a label out of the results when there are any.
fn labelled(corpus: &Corpus) -> Filter {
    if corpus.unlabelled == 0 {
        return Filter::All;
    }
    Filter::In { field: Field::Label, values: corpus.label_names.clone() }
}
