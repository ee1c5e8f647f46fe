//! Random histories of an index, compared with a plain model after every step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod search_support;

use medindex_index::{Change, Index, LogPositions, SearchRequest};
use proptest::prelude::*;
use rand::RngExt;
use rand_pcg::Pcg64;
use search_support::{DIMENSION, Model, entry, id, learn, open, random, request};

#[derive(Clone, Copy, Debug)]
enum Step {
    Apply { changes: usize, removals: bool },
    Maintain,
    Snapshot,
    Reopen,
    Train,
    Rollback,
    Search,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1_usize..90, any::<bool>()).prop_map(|(changes, removals)| Step::Apply { changes, removals }),
        3 => Just(Step::Maintain),
        2 => Just(Step::Snapshot),
        1 => Just(Step::Reopen),
        1 => Just(Step::Train),
        1 => Just(Step::Rollback),
        4 => Just(Step::Search),
    ]
}

/// An index, the model of what it must hold, and the log that feeds both.
struct History {
    folder: tempfile::TempDir,
    index: Option<Index>,
    model: Model,
    log: Vec<Change>,
    images: u64,
    generation: u64,
    rng: Pcg64,
}

impl History {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let index = Some(open(folder.path()));
        let (model, log) = (Model::default(), Vec::new());
        Self { folder, index, model, log, images: 0, generation: 0, rng: random(seed) }
    }

    fn index(&self) -> &Index {
        self.index.as_ref().unwrap()
    }

    fn change(&mut self, removals: bool) -> Change {
        let rng = &mut self.rng;
        if removals && rng.random_bool(0.4) {
            return Change::Remove { id: id(rng.random_range(0..self.images.max(1))) };
        }
        let again = rng.random_bool(0.2);
        let number = if again { rng.random_range(0..self.images.max(1)) } else { self.images };
        self.images = self.images.max(number + 1);
        let frame = rng.random_range(0..3);
        Change::Upsert(entry(rng, DIMENSION, number, frame))
    }

    fn apply_from(&mut self, first: usize) {
        let positions = LogPositions::from([(0, self.log.len() as u64)]);
        self.index().apply(&self.log[first..], &positions).unwrap();
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Apply { changes, removals } => {
                let first = self.log.len();
                for _ in 0..changes {
                    let change = self.change(removals);
                    self.log.push(change);
                }
                self.model.apply(&self.log[first..]);
                self.apply_from(first);
            }
            Step::Maintain => {
                self.index().maintain().unwrap();
            }
            Step::Snapshot => {
                let durable = self.index().snapshot().unwrap();
                assert_eq!(durable, self.index().log_positions());
            }
            Step::Reopen => {
                self.index = None;
                self.index = Some(open(self.folder.path()));
                let from = self.index().log_positions().get(&0).copied().unwrap_or(0) as usize;
                self.apply_from(from);
            }
            Step::Train => {
                if self.model.entries.len() >= 64 {
                    self.generation += 1;
                    let quantizer = learn(self.index(), self.generation, 6, 8, 4);
                    self.index().build_generation(quantizer, &|_| ()).unwrap();
                    self.index().activate(self.generation).unwrap();
                    assert_eq!(self.index().status().generation, self.generation);
                }
            }
            Step::Rollback => {
                let status = self.index().status();
                if status.generation != 0 {
                    let now = self.index().rollback().unwrap();
                    assert_eq!(now, status.previous_generation.unwrap_or(0));
                    assert_eq!(self.index().status().generation, now);
                }
            }
            Step::Search => {
                let requests: Vec<SearchRequest> =
                    (0..6).map(|_| request(&mut self.rng, DIMENSION, self.images)).collect();
                self.check(&requests);
            }
        }
        assert_eq!(self.index().len(), self.model.entries.len());
    }

    /// Exact answers equal the model's; approximate ones have as many hits, each right in itself.
    fn check(&self, requests: &[SearchRequest]) {
        let exactly: Vec<SearchRequest> =
            requests.iter().map(|request| SearchRequest { exact: true, ..request.clone() }).collect();
        let approximate = self.index().search_batch(requests).unwrap();
        let exact = self.index().search_batch(&exactly).unwrap();
        for (request, (approximate, exact)) in requests.iter().zip(approximate.iter().zip(&exact)) {
            self.model.check(request, exact);
            self.model.check_hits(request, approximate);
            let alone = self.index().search(request).unwrap();
            self.model.check_hits(request, &alone);
            if self.index().status().generation == 0 {
                self.model.check(request, approximate);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn an_index_answers_as_its_model_after_any_history(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let mut history = History::new(seed);
        for step in steps {
            history.run(step);
        }
        history.run(Step::Search);
        history.run(Step::Reopen);
        history.run(Step::Search);
        history.index().verify().unwrap();
    }
}
