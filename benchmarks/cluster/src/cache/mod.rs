//! What the cache saves: recognitions, searches and previews with Redis in its three modes, and without any.
//!
//! Two gateways share one index on embedded backends and one Redis; the model and the Redis servers are real. Requests ask for pictures
//! as people do: few of them often, most of them rarely.

mod redis;
mod report;
mod site;
mod workload;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use self::redis::{Mode, Servers};
use self::site::Site;
use self::workload::{Kind, Outcome, Workload};
use crate::error::BenchError;
use crate::machine::Machine;
use crate::statistics::Percentiles;

/// Requests for one picture at the same time.
const TOGETHER: usize = 50;

/// Arguments of `cache`.
#[derive(Debug, clap::Args)]
pub(crate) struct CacheArguments {
    /// Images in the index.
    #[arg(long, default_value_t = 200)]
    images: u32,
    /// Pictures that are asked for.
    #[arg(long, default_value_t = 60)]
    pictures: u32,
    /// Requests of each kind and mode.
    #[arg(long, default_value_t = 300)]
    requests: usize,
    /// Folder of the model.
    #[arg(long)]
    model: PathBuf,
    /// Folder for the results.
    #[arg(long)]
    out: PathBuf,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Figures {
    machine: Machine,
    model: String,
    images: u32,
    pictures: u32,
    modes: Vec<ModeFigures>,
    failover: FailoverFigures,
}

/// The figures of one mode.
#[derive(Debug, Serialize)]
struct ModeFigures {
    mode: &'static str,
    kinds: Vec<KindFigures>,
    /// Computations for fifty requests for one picture at the same time.
    computed_together: u64,
    /// Milliseconds until all fifty were answered.
    together: f64,
}

/// One kind of request.
#[derive(Debug, Serialize)]
struct KindFigures {
    kind: &'static str,
    hit_ratio: f64,
    latency: Percentiles,
}

/// Recognitions while the primary of a Redis with Sentinels is killed.
#[derive(Debug, Serialize)]
struct FailoverFigures {
    requests: usize,
    failed: usize,
    latency: Percentiles,
    /// Milliseconds from the kill to the first answer out of the cache.
    cached_again_after: Option<f64>,
}

/// Measures and writes the results.
pub(crate) async fn run(arguments: CacheArguments) -> Result<(), BenchError> {
    let machine = Machine::describe();
    let site = Site::start(&arguments.model, arguments.images).await?;
    let workload = Workload::new(arguments.pictures, arguments.requests)?;
    let mut modes = Vec::new();
    for mode in [Mode::Without, Mode::Standalone, Mode::Sentinel, Mode::Cluster] {
        let servers = Servers::start(mode)?;
        eprintln!("{}", mode.name());
        modes.push(measure(&site, &servers, &workload).await?);
    }
    let failover = fail_over(&site, &workload).await?;
    let figures = Figures {
        machine,
        model: site.model_name(),
        images: arguments.images,
        pictures: arguments.pictures,
        modes,
        failover,
    };
    report::write(&figures, &arguments.out)
}

async fn measure(site: &Site, servers: &Servers, workload: &Workload) -> Result<ModeFigures, BenchError> {
    let gateways = site.gateways(servers).await?;
    let (computed_together, together) = ask_together(&gateways, workload).await?;
    let mut kinds = Vec::new();
    for kind in [Kind::Recognise, Kind::Search, Kind::Preview] {
        let outcome = workload.run(&gateways, kind).await;
        if outcome.failed > 0 {
            return Err(BenchError::Check(format!("{} requests failed", outcome.failed)));
        }
        let (hit_ratio, latency) = (outcome.hit_ratio(), outcome.latency());
        kinds.push(KindFigures { kind: kind.name(), hit_ratio, latency });
    }
    Ok(ModeFigures { mode: servers.mode().name(), kinds, computed_together, together })
}

/// Fifty requests for one picture at two gateways at the same time: how often it was computed, and milliseconds until all had it.
async fn ask_together(gateways: &site::Gateways, workload: &Workload) -> Result<(u64, f64), BenchError> {
    let before = gateways.counts().recognition_misses;
    let begun = Instant::now();
    let picture = workload.unseen()?;
    let asked = (0..TOGETHER).map(|number| gateways.recognise(number, &picture));
    for outcome in futures::future::join_all(asked).await {
        outcome?;
    }
    let computed = gateways.counts().recognition_misses - before;
    Ok((computed, begun.elapsed().as_secs_f64() * 1e3))
}

/// Three runs of recognitions; the primary is killed after the first.
async fn fail_over(site: &Site, workload: &Workload) -> Result<FailoverFigures, BenchError> {
    let mut servers = Servers::start(Mode::Sentinel)?;
    let gateways = site.gateways(&servers).await?;
    // Filled first, so that every later request could be answered by the cache.
    workload.fill(&gateways).await?;
    let first = workload.run(&gateways, Kind::Recognise).await;
    servers.kill_primary()?;
    let killed = Instant::now();
    eprintln!("the primary is killed");
    let second = workload.run(&gateways, Kind::Recognise).await;
    let deadline = killed + Duration::from_mins(1);
    let mut cached_again_after = None;
    while cached_again_after.is_none() && Instant::now() < deadline {
        if workload.is_cached(&gateways).await? {
            cached_again_after = Some(killed.elapsed().as_secs_f64() * 1e3);
        } else {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let third = workload.run(&gateways, Kind::Recognise).await;
    let all = Outcome::joined([first, second, third]);
    let figures = FailoverFigures {
        requests: all.times.len() + all.failed,
        failed: all.failed,
        latency: all.latency(),
        cached_again_after,
    };
    if figures.failed > 0 || figures.cached_again_after.is_none() {
        return Err(BenchError::Check(format!("the failover was noticed: {figures:?}")));
    }
    Ok(figures)
}
