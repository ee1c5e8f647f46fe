//! The table of `cache`.

use std::fmt::Write as _;
use std::path::Path;

use super::{Figures, TOGETHER};
use crate::error::BenchError;
use crate::results::Results;

/// Writes `cache.md` and `cache.json`.
pub(super) fn write(figures: &Figures, folder: &Path) -> Result<(), BenchError> {
    let results = Results::in_folder(folder)?;
    results.put("cache.json", serde_json::to_string_pretty(figures)? + "\n")?;
    let table = markdown(figures);
    eprintln!("{table}");
    results.put("cache.md", table)
}

fn markdown(figures: &Figures) -> String {
    let Figures { machine, model, images, pictures, modes, failover } = figures;
    let mut text = format!(
        "# The cache\n\n`make bench-cache`: two gateways over one index of {images} images ({model}), with Redis in its three modes and without. \
         How to read it: [docs/benchmarks.md](../../docs/benchmarks.md).\n\nMachine: {}\n\n\
         {pictures} pictures are asked for, the n-th 1/n times as often as the first, four requests at a time, in the same order in every mode.\n\n\
         | cache | request | hit ratio | p50, ms | p99, ms |\n| --- | --- | ---: | ---: | ---: |\n",
        machine.sentence()
    );
    // Writing to a string cannot fail.
    for mode in modes {
        for kind in &mode.kinds {
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {:.2} | {:.2} |",
                mode.mode, kind.kind, kind.hit_ratio, kind.latency.p50, kind.latency.p99
            );
        }
    }
    let _ = write!(
        text,
        "\n## {TOGETHER} requests for one picture at the same time, over both gateways\n\n\
         | cache | computed | all answered after, ms |\n| --- | ---: | ---: |\n"
    );
    for mode in modes {
        let _ = writeln!(text, "| {} | {} | {:.0} |", mode.mode, mode.computed_together, mode.together);
    }
    let _ = write!(
        text,
        "\n## The primary killed in the middle (three Sentinels)\n\n\
         {} recognitions, {} failed; p50 {:.2} ms, p99 {:.2} ms, longest {:.0} ms; answers out of the cache again {:.0} ms after the kill.\n",
        failover.requests,
        failover.failed,
        failover.latency.p50,
        failover.latency.p99,
        failover.latency.most,
        failover.cached_again_after.unwrap_or(f64::NAN)
    );
    text
}
