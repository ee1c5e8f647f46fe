//! Searching with every stored image, by the index as the product runs it.
//!
//! Images without a label are passed over in the answers. They are not kept out by a filter: where few images match one, the index compares all of
//! them exactly, and what would be measured is not the index.

use std::collections::HashMap;

use medindex_index::{GroupBy, Index, IndexError, SearchRequest, SearchResponse};

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
    /// Candidates that were compared exactly for a query when it was asked first, at the most.
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
    let questions = Questions::new(corpus, depth, index.status().lists);
    let mut pages = Pages { qualities: Vec::with_capacity(queries.len()), reranked: 0 };
    for batch in queries.chunks(BATCH) {
        let (rankings, reranked) = questions
            .ask(batch, |requests| index.search_batch(requests))
            .map_err(|error| Failure::caused_by(Code::Storage, "the index failed", &error))?;
        let judged = batch.iter().zip(&rankings).map(|(query, ranking)| judge(corpus, *query, ranking));
        pages.qualities.extend(judged);
        pages.reranked = pages.reranked.max(reranked);
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

/// How the index is asked.
struct Questions<'a> {
    corpus: &'a Corpus,
    /// Image numbers, by id.
    numbers: HashMap<[u8; 16], u32>,
    /// Labelled images that every answer is to have.
    wanted: usize,
    /// Results that are asked for at first.
    first: usize,
    /// Lists to probe; the index chooses when `None`.
    probes: Option<usize>,
}

impl<'a> Questions<'a> {
    fn new(corpus: &'a Corpus, depth: Depth, lists: usize) -> Self {
        let numbered = corpus.ids.iter().enumerate();
        let numbers = numbered.map(|(number, id)| (*id.as_bytes(), number as u32)).collect();
        let others = corpus.len().saturating_sub(1);
        let (wanted, first, probes) = match depth {
            Depth::Page => (PAGE.min(others), PAGE, None),
            Depth::All => (others, corpus.len() + corpus.unlabelled, Some(lists.max(1))),
        };
        Self { corpus, numbers, wanted, first, probes }
    }

    /// The labelled images nearest to each query, and how many candidates were compared exactly for one at the first asking. A query whose answer has
    /// too few of them, because others that have no label lie nearer, is asked again for twice as many, until it has enough or has all there are.
    fn ask(
        &self,
        queries: &[usize],
        search: impl Fn(&[SearchRequest]) -> Result<Vec<SearchResponse>, IndexError>,
    ) -> Result<(Vec<Vec<u32>>, usize), IndexError> {
        let mut rankings = vec![Vec::new(); queries.len()];
        let mut places: Vec<usize> = (0..queries.len()).collect();
        let (mut k, mut reranked) = (self.first, 0);
        while !places.is_empty() {
            let requests: Vec<SearchRequest> =
                places.iter().map(|place| self.request(queries[*place], k)).collect();
            let answers = search(&requests)?;
            let mut short = Vec::new();
            for (place, answer) in places.into_iter().zip(answers) {
                if k == self.first {
                    reranked = reranked.max(answer.explain.reranked);
                }
                let labelled = answer.hits.iter().filter_map(|hit| self.numbers.get(&hit.key.id).copied());
                rankings[place] = labelled.take(self.wanted).collect();
                if rankings[place].len() < self.wanted && answer.hits.len() >= k {
                    short.push(place);
                }
            }
            places = short;
            k = k.saturating_mul(2);
        }
        Ok((rankings, reranked))
    }

    fn request(&self, query: usize, k: usize) -> SearchRequest {
        SearchRequest {
            group_by: GroupBy::Image,
            exclude: Some(*self.corpus.ids[query].as_bytes()),
            probes: self.probes,
            ..SearchRequest::new(self.corpus.vectors.row(query).to_vec(), k)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use medindex_index::{EntryKey, Explain, Filter, Hit};
    use medindex_proto::identity::ImageId;

    use super::*;

    /// Three labelled images; `unlabelled` others are nearer to each of them.
    fn corpus(unlabelled: usize) -> Corpus {
        Corpus { unlabelled, ..Corpus::of(&[[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]], vec![0, 0, 1]) }
    }

    /// What such an index answers, and how many results it was asked for each time.
    fn answer(
        corpus: &Corpus,
        requests: &[SearchRequest],
        asked: &RefCell<Vec<usize>>,
    ) -> Vec<SearchResponse> {
        let nearest: Vec<[u8; 16]> = (0..corpus.unlabelled).map(|_| *ImageId::new().as_bytes()).collect();
        let labelled = corpus.ids.iter().map(|id| *id.as_bytes());
        let all: Vec<[u8; 16]> = nearest.into_iter().chain(labelled).collect();
        let one = |request: &SearchRequest| {
            assert_eq!(request.filter, Filter::All, "a filter would have another way to the answer measured");
            asked.borrow_mut().push(request.k);
            let found = all.iter().filter(|id| Some(**id) != request.exclude).take(request.k);
            let hit = |id: &[u8; 16]| Hit { key: EntryKey::new(*id, 0), distance: 0.5, group: 0 };
            let explain = Explain { reranked: request.k * 10, ..Explain::default() };
            SearchResponse { hits: found.map(hit).collect(), explain }
        };
        requests.iter().map(one).collect()
    }

    #[test]
    fn images_without_a_label_are_passed_over_by_asking_for_more() {
        let corpus = corpus(30);
        let asked = RefCell::new(Vec::new());
        let questions = Questions::new(&corpus, Depth::Page, 4);
        let (rankings, reranked) =
            questions.ask(&[0, 1], |requests| Ok(answer(&corpus, requests, &asked))).unwrap();
        assert_eq!(rankings, [[1, 2], [0, 2]]);
        assert_eq!(reranked, 100, "what a search for ten compares");
        assert_eq!(asked.into_inner(), [10, 10, 20, 20, 40, 40]);
    }

    #[test]
    fn ten_results_are_enough_where_every_image_has_a_label() {
        let corpus = corpus(0);
        let asked = RefCell::new(Vec::new());
        let questions = Questions::new(&corpus, Depth::Page, 4);
        let (rankings, _) = questions.ask(&[2], |requests| Ok(answer(&corpus, requests, &asked))).unwrap();
        assert_eq!(rankings, [[0, 1]]);
        assert_eq!(asked.into_inner(), [10]);
    }

    #[test]
    fn an_index_that_has_no_more_is_not_asked_again() {
        let corpus = Corpus { ids: (0..3).map(|_| ImageId::new()).collect(), ..corpus(0) };
        let known = Corpus { ids: corpus.ids[..2].to_vec(), ..self::corpus(25) };
        let asked = RefCell::new(Vec::new());
        let questions = Questions::new(&corpus, Depth::All, 4);
        // The third labelled image was deleted meanwhile.
        let (rankings, _) = questions.ask(&[0], |requests| Ok(answer(&known, requests, &asked))).unwrap();
        assert_eq!(rankings, [[1]]);
        assert_eq!(asked.into_inner(), [3, 6, 12, 24, 48]);
    }

    #[test]
    fn a_whole_ranking_asks_for_all_images_from_all_lists() {
        let corpus = corpus(30);
        let questions = Questions::new(&corpus, Depth::All, 4);
        let request = questions.request(0, questions.first);
        assert_eq!((request.k, request.probes), (33, Some(4)));
        assert_eq!(request.exclude, Some(*corpus.ids[0].as_bytes()));
    }
}
