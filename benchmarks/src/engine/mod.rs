//! `medindex-bench engine`: our side of `engine/worker.py`. One JSON object a line on standard input, one answer
//! a line on standard output, until the input ends. The peers' side is `engine/peer.py`, with the same operations.

mod bandwidth;
mod clock;
mod memory;
mod protocol;
mod retrieval;
mod scan;

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use medindex_index::linear::Matrix;

use self::protocol::{Answer, Request};
use self::retrieval::Retrieval;
use self::scan::Scan;

/// What can go wrong in an operation. The driver gets the text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// A file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds something else than announced.
    #[error("{} holds {found} values, expected {expected}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// Values found.
        found: usize,
        /// Values expected, at least.
        expected: usize,
    },
    /// An operation before the one that prepares it.
    #[error("ask {first} before {asked}")]
    Order {
        /// What to ask before.
        first: &'static str,
        /// What was asked.
        asked: &'static str,
    },
    /// The line is not a request.
    #[error("the request is not understood")]
    Request(#[source] serde_json::Error),
    /// The answer cannot be written.
    #[error("cannot write the answer")]
    Answer(#[source] std::io::Error),
    /// The engine refused.
    #[error("the engine could not {action}")]
    Engine {
        /// What was asked of it.
        action: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl EngineError {
    /// For `map_err`: the engine's error in `action`.
    fn engine<E: std::error::Error + Send + Sync + 'static>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Engine { action, source: Box::new(source) }
    }

    /// The error with all its causes in one line.
    fn in_one_line(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(source) = cause {
            text = format!("{text}: {source}");
            cause = source.source();
        }
        text
    }
}

/// What the operations leave behind for one another.
#[derive(Debug, Default)]
struct Session {
    queries: Option<Matrix>,
    scan: Option<Scan>,
    retrieval: Option<Retrieval>,
}

/// Answers requests until standard input ends.
pub(crate) fn serve() -> Result<(), EngineError> {
    let mut session = Session::default();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(EngineError::Answer)?;
        let answer = serde_json::from_str(&line)
            .map_err(EngineError::Request)
            .and_then(|request| session.answer(request))
            .unwrap_or_else(|error| Answer::Error { error: error.in_one_line() });
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &answer)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out))
            .and_then(|()| out.flush())
            .map_err(EngineError::Answer)?;
    }
    Ok(())
}

impl Session {
    fn answer(&mut self, request: Request) -> Result<Answer, EngineError> {
        match request {
            Request::Hello => Ok(protocol::hello()),
            Request::Queries { path, dimension } => {
                let queries = read_matrix(&path, dimension, None)?;
                let count = queries.rows();
                self.queries = Some(queries);
                Ok(Answer::Queries { queries: count })
            }
            Request::Bandwidth { bytes, seconds } => Ok(bandwidth::measure(bytes, seconds)),
            Request::ScanLoad(load) => {
                self.scan = Some(Scan::load(&load)?);
                Ok(Answer::Done {})
            }
            Request::Scan { batch, k, seconds } => {
                let (scan, queries) = self.scan("scan")?;
                Ok(Answer::Seconds { seconds: scan.search_repeatedly(queries, batch, k, seconds)? })
            }
            Request::ScanRaw { batch, seconds } => {
                let (scan, queries) = self.scan("scan_raw")?;
                Ok(Answer::Seconds { seconds: scan.run_kernel_repeatedly(queries, batch, seconds)? })
            }
            Request::Build(build) => retrieval::build(&build),
            Request::Open { path, .. } => {
                let (retrieval, answer) = Retrieval::open(&path)?;
                self.retrieval = Some(retrieval);
                Ok(answer)
            }
            Request::Set { probes, rerank } => {
                self.retrieval_mut("set")?.set(probes, rerank);
                Ok(Answer::Done {})
            }
            Request::Search { batch, k, ids, limit } => {
                let Self { queries: Some(queries), retrieval: Some(retrieval), .. } = self else {
                    return Err(EngineError::Order { first: "queries and open", asked: "search" });
                };
                retrieval.search(queries, batch, k, ids, limit)
            }
            Request::Status => self.retrieval_mut("status")?.status(),
        }
    }

    fn scan(&mut self, asked: &'static str) -> Result<(&Scan, &Matrix), EngineError> {
        match (&self.scan, &self.queries) {
            (Some(scan), Some(queries)) => Ok((scan, queries)),
            _ => Err(EngineError::Order { first: "queries and scan_load", asked }),
        }
    }

    fn retrieval_mut(&mut self, asked: &'static str) -> Result<&mut Retrieval, EngineError> {
        self.retrieval.as_mut().ok_or(EngineError::Order { first: "open", asked })
    }
}

/// Reads the first `rows` rows (all, for `None`) of a raw little-endian f32 file.
fn read_matrix(path: &Path, dimension: usize, rows: Option<usize>) -> Result<Matrix, EngineError> {
    let mut values = read_values::<f32>(path, rows.map(|rows| rows * dimension))?;
    values.truncate(values.len() / dimension * dimension);
    let rows = values.len() / dimension;
    Matrix::new(rows, dimension, values).map_err(EngineError::engine("take the vectors"))
}

/// Reads the first `count` values (all, for `None`) of a raw little-endian file.
fn read_values<T: bytemuck::Pod>(path: &Path, count: Option<usize>) -> Result<Vec<T>, EngineError> {
    use std::io::Read;
    let failed = |source| EngineError::File { action: "read", path: path.to_owned(), source };
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?.len() as usize / size_of::<T>();
    let expected = count.unwrap_or(found);
    if found < expected {
        return Err(EngineError::Shape { path: path.to_owned(), found, expected });
    }
    let mut values = vec![T::zeroed(); expected];
    file.read_exact(bytemuck::cast_slice_mut(&mut values)).map_err(failed)?;
    Ok(values)
}
