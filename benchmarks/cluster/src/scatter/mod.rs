//! What dividing an index costs: queries through shards in processes of their own over loopback gRPC, beside the same index in this process.
//!
//! The engine's data are the same everywhere: shards take their rows, codes included, out of one index. All processes run all the time and
//! are asked by turns, so that a slow minute of the machine slows all of them.

mod data;
mod report;
mod shard;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{StreamExt as _, TryStreamExt as _};
use medindex_embedding::Manifest;
use medindex_index::{Hit, Index, IndexOptions, SearchRequest};
use medindex_pipeline::Searcher;
use medindex_rpc::scatter::{Scatter, ScatterOptions};
use medindex_rpc::topology::Topology;
use medindex_testbed::Server;
use medindex_testbed::ports::free_port;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::data::{Generator, Layouts};
pub(crate) use self::shard::{ShardArguments, embedded_ports, serve};
use crate::error::BenchError;
use crate::machine::Machine;
use crate::statistics::{Percentiles, median, percentiles};

/// Partitions of the index.
pub(super) const PARTITIONS: u32 = 9;
/// Numbers of shards.
const LAYOUTS: [u32; 3] = [1, 3, 9];
/// Neighbours asked for.
const NEIGHBOURS: usize = 10;
/// Questions open at the same time in the second measurement.
const AT_ONCE: usize = 8;
const READY_WITHIN: Duration = Duration::from_mins(2);

/// Arguments of `scatter`.
#[derive(Debug, clap::Args)]
pub(crate) struct ScatterArguments {
    /// Vectors in the index.
    #[arg(long, default_value_t = 200_000)]
    vectors: usize,
    /// Queries a round and layout.
    #[arg(long, default_value_t = 300)]
    queries: usize,
    /// Rounds.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Folder of the model whose dimension the vectors have.
    #[arg(long)]
    model: PathBuf,
    /// Folder for indexes; they are kept for the next run.
    #[arg(long)]
    scratch: PathBuf,
    /// Folder for the results.
    #[arg(long)]
    out: PathBuf,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Figures {
    machine: Machine,
    vectors: usize,
    dimension: usize,
    rounds: usize,
    layouts: Vec<LayoutFigures>,
}

/// The figures of one way to ask.
#[derive(Debug, Serialize)]
struct LayoutFigures {
    /// Shards in processes of their own; 0 for the index in this process.
    shards: u32,
    /// One question at a time, milliseconds.
    alone: Percentiles,
    /// Median over rounds of this median divided by the in-process one of the same round.
    ratio: f64,
    /// Questions a second with eight open at a time: the median over rounds.
    throughput: f64,
    /// Share of the exact ten nearest that are found.
    recall: f64,
}

/// A way to ask.
struct Way {
    shards: u32,
    searcher: Arc<dyn Searcher>,
    times: Vec<Duration>,
    medians: Vec<f64>,
    throughputs: Vec<f64>,
    recall: f64,
}

/// Measures and writes the results.
pub(crate) async fn run(arguments: ScatterArguments) -> Result<(), BenchError> {
    let machine = Machine::describe();
    let model = Manifest::read(&arguments.model)?;
    let layouts = data::prepare(&arguments.scratch, &model, arguments.vectors, &LAYOUTS)?;
    let dimension = model.embedding.dimension;
    // Later draws than those that are stored.
    let mut generator = Generator::new(dimension);
    let queries: Vec<Vec<f32>> = {
        (0..arguments.vectors).for_each(|_| drop(generator.next()));
        (0..arguments.queries).map(|_| generator.next()).collect()
    };
    let options = IndexOptions::new(dimension, model.digest());
    let whole = Arc::new(Index::open(&layouts.whole(), options)?);
    let mut servers = Vec::new();
    let stop = CancellationToken::new();
    let mut ways = vec![Way::new(0, in_process(&whole))];
    for shards in LAYOUTS {
        let addresses = start_shards(&arguments, &layouts, shards, &mut servers)?;
        ways.push(Way::new(shards, connect(&addresses, &model, &stop).await?));
    }
    let exact = answers(&whole, &queries, true).await?;
    for way in &mut ways {
        way.recall = way.measure_recall(&queries, &exact).await?;
    }
    for round in 1..=arguments.rounds {
        for way in &mut ways {
            way.measure(&queries).await?;
        }
        eprintln!("round {round} of {}", arguments.rounds);
    }
    stop.cancel();
    drop(servers);
    let figures = Figures {
        machine,
        vectors: arguments.vectors,
        dimension,
        rounds: arguments.rounds,
        layouts: summarise(&ways),
    };
    report::write(&figures, &arguments.out)
}

/// Starts the processes of a layout; returns where they listen.
fn start_shards(
    arguments: &ScatterArguments,
    layouts: &Layouts,
    shards: u32,
    servers: &mut Vec<Server>,
) -> Result<String, BenchError> {
    let program = std::env::current_exe().map_err(BenchError::file("find", "this program"))?;
    let mut addresses = Vec::new();
    for number in 0..shards {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(&program);
        command.arg("shard").arg(format!("--index={}", layouts.shard(shards, number).display()));
        command.arg(format!("--model={}", arguments.model.display())).arg(format!("--listen={address}"));
        command.arg(format!("--shards={shards}")).arg(format!("--number={number}"));
        let name = format!("shard-{number}-of-{shards}");
        servers.push(Server::start(&name, &command, &arguments.scratch.join(format!("{name}.log")))?);
        addresses.push(address);
    }
    Ok(addresses.join(","))
}

/// Finds the shards and waits until every partition is held.
async fn connect(
    addresses: &str,
    model: &Manifest,
    stop: &CancellationToken,
) -> Result<Arc<dyn Searcher>, BenchError> {
    let targets = addresses.parse().map_err(|_| BenchError::Check(format!("{addresses} is no address")))?;
    let topology = Topology::new(targets, PARTITIONS, &model.digest());
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        topology.refresh().await;
        let shards = topology.shards();
        if shards.missing.is_empty() {
            break;
        }
        if Instant::now() > deadline {
            eprintln!("{:?}", shards.trouble);
            return Err(BenchError::Wait("the shards"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::spawn(Arc::clone(&topology).run(stop.clone()));
    Ok(Arc::new(Scatter::new(topology, PARTITIONS, &model.digest(), ScatterOptions::default())))
}

/// The index in this process, asked as a shard asks its own: off the threads that wait for others.
fn in_process(index: &Arc<Index>) -> Arc<dyn Searcher> {
    Arc::new(local::Local(Arc::clone(index)))
}

async fn answers(index: &Arc<Index>, queries: &[Vec<f32>], exact: bool) -> Result<Vec<Vec<Hit>>, BenchError> {
    let (index, queries) = (Arc::clone(index), queries.to_vec());
    let found = tokio::task::spawn_blocking(move || {
        let ask = |vector| index.search(&SearchRequest { exact, ..SearchRequest::new(vector, NEIGHBOURS) });
        queries.into_iter().map(ask).map(|answer| Ok(answer?.hits)).collect()
    });
    found.await?
}

impl Way {
    fn new(shards: u32, searcher: Arc<dyn Searcher>) -> Self {
        let (times, medians, throughputs) = (Vec::new(), Vec::new(), Vec::new());
        Self { shards, searcher, times, medians, throughputs, recall: 0.0 }
    }

    async fn ask(&self, vector: &[f32]) -> Result<Vec<Hit>, BenchError> {
        let found = self.searcher.search(SearchRequest::new(vector.to_vec(), NEIGHBOURS)).await?;
        if found.missing_partitions.is_empty() {
            Ok(found.hits)
        } else {
            Err(BenchError::Check(format!("partitions {:?} did not answer", found.missing_partitions)))
        }
    }

    async fn measure_recall(&self, queries: &[Vec<f32>], exact: &[Vec<Hit>]) -> Result<f64, BenchError> {
        let mut found = 0;
        for (query, exact) in queries.iter().zip(exact) {
            let hits = self.ask(query).await?;
            found += hits.iter().filter(|hit| exact.iter().any(|known| known.key == hit.key)).count();
        }
        Ok(found as f64 / (queries.len() * NEIGHBOURS) as f64)
    }

    /// One round: all queries one at a time, then eight at a time.
    async fn measure(&mut self, queries: &[Vec<f32>]) -> Result<(), BenchError> {
        let mut times = Vec::with_capacity(queries.len());
        for query in queries {
            let begun = Instant::now();
            self.ask(query).await?;
            times.push(begun.elapsed());
        }
        self.medians.push(percentiles(&times).p50);
        self.times.extend(times);
        let begun = Instant::now();
        let asked = futures::stream::iter(queries.iter().map(|query| self.ask(query)));
        asked.buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await?;
        self.throughputs.push(queries.len() as f64 / begun.elapsed().as_secs_f64());
        Ok(())
    }
}

fn summarise(ways: &[Way]) -> Vec<LayoutFigures> {
    let base = ways.first().map(|way| way.medians.clone()).unwrap_or_default();
    let figures = |way: &Way| LayoutFigures {
        shards: way.shards,
        alone: percentiles(&way.times),
        ratio: median(way.medians.iter().zip(&base).map(|(own, base)| own / base).collect()),
        throughput: median(way.throughputs.clone()),
        recall: way.recall,
    };
    ways.iter().map(figures).collect()
}

mod local {
    //! The index in this process behind the same port as the shards.

    use std::sync::Arc;

    use async_trait::async_trait;
    use medindex_backends::Positions;
    use medindex_index::{Index, IndexStatus, SearchRequest};
    use medindex_pipeline::{BackendError, Found, ImageId, Searcher};

    /// An index that changes no more.
    pub(super) struct Local(pub(super) Arc<Index>);

    #[async_trait]
    impl Searcher for Local {
        async fn search(&self, question: SearchRequest) -> Result<Found, BackendError> {
            let index = Arc::clone(&self.0);
            let answer = tokio::task::spawn_blocking(move || index.search(&question)).await??;
            Ok(Found { hits: answer.hits, explain: answer.explain, missing_partitions: Vec::new() })
        }

        async fn holds(&self, id: &ImageId) -> Result<bool, BackendError> {
            Ok(!self.0.frames(*id.as_bytes()).is_empty())
        }

        async fn generation(&self) -> Result<u64, BackendError> {
            Ok(self.0.status().generation)
        }

        async fn applied(&self) -> Result<Positions, BackendError> {
            Ok(self.0.log_positions())
        }

        async fn status(&self) -> Result<IndexStatus, BackendError> {
            Ok(self.0.status())
        }

        async fn catch_up(&self, _ends: &Positions) -> Result<(), BackendError> {
            Ok(())
        }

        async fn unready(&self) -> Option<String> {
            None
        }
    }
}
