//! Requests and answers.

use std::path::PathBuf;

use medindex_index::kernels::Kernel;
use serde::{Deserialize, Serialize};

/// What to scan.
#[derive(Debug, Deserialize)]
pub(crate) struct ScanLoad {
    /// Bits of a sub-quantizer, 4 or 8; a code has 32 bytes.
    pub(crate) bits: u32,
    /// File of random codes.
    pub(crate) codes: PathBuf,
    /// How many of them.
    pub(crate) count: usize,
    /// Components of a vector.
    pub(crate) dimension: usize,
    /// Vectors to learn codebooks from.
    pub(crate) sample: PathBuf,
    /// Kernel by its name in `hello`; the fastest for `None`.
    pub(crate) kernel: Option<String>,
}

/// What to build an index of.
#[derive(Debug, Deserialize)]
pub(crate) struct Build {
    /// Sub-quantizers, bits and lists, such as `PQ64x4,IVF4096`.
    pub(crate) variant: String,
    /// Raw f32 vectors.
    pub(crate) base: PathBuf,
    /// How many of them.
    pub(crate) count: usize,
    /// Components of a vector.
    pub(crate) dimension: usize,
    /// The index's folder.
    pub(crate) out: PathBuf,
}

/// One line of input.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Versions and kernels.
    Hello,
    /// Loads queries.
    Queries { path: PathBuf, dimension: usize },
    /// Measures reading memory.
    Bandwidth { bytes: usize, seconds: f64 },
    /// Prepares scans.
    ScanLoad(ScanLoad),
    /// Scans with tables and top-k.
    Scan { batch: usize, k: usize, seconds: f64 },
    /// Runs the kernel alone.
    ScanRaw { batch: usize, seconds: f64 },
    /// Builds an index into a folder.
    Build(Build),
    /// Opens one.
    Open { path: PathBuf },
    /// Sets the effort of searches.
    Set { probes: usize, rerank: usize },
    /// Searches all queries once.
    Search {
        batch: usize,
        k: usize,
        #[serde(default)]
        ids: bool,
        limit: Option<usize>,
    },
    /// What the index says of itself.
    Status,
}

/// What a build took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct BuildTime {
    /// Seconds that passed.
    pub(crate) wall: f64,
    /// Processor seconds of all threads.
    pub(crate) cpu: f64,
    /// Of these, processor seconds for learning the quantizer.
    pub(crate) train: f64,
    /// Threads.
    pub(crate) threads: usize,
}

/// One line of output.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    Hello { version: &'static str, kernel: String, kernels: Vec<String> },
    Queries { queries: usize },
    Seconds { seconds: f64 },
    Bandwidth { variants: Vec<(&'static str, f64)> },
    Built(BuildTime),
    Opened { bytes: u64, mapped: u64, build: BuildTime },
    Found { seconds: f64, queries: usize, ids: Option<Vec<Vec<u64>>> },
    Status { status: serde_json::Value },
    Done {},
    Error { error: String },
}

/// The answer to [`Request::Hello`].
pub(crate) fn hello() -> Answer {
    Answer::Hello {
        version: env!("CARGO_PKG_VERSION"),
        kernel: name_of(Kernel::detect()),
        kernels: Kernel::available().into_iter().map(name_of).collect(),
    }
}

/// The kernel's name, such as `Avx512Vbmi`.
pub(crate) fn name_of(kernel: Kernel) -> String {
    format!("{kernel:?}")
}
