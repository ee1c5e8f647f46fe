//! The table of `operator`.

use std::fmt::Write as _;
use std::path::Path;

use super::{Figures, Phase};
use crate::error::BenchError;
use crate::results::Results;

/// Writes `operator.md` and `operator.json`.
pub(super) fn write(figures: &Figures, folder: &Path) -> Result<(), BenchError> {
    let results = Results::in_folder(folder)?;
    results.put("operator.json", serde_json::to_string_pretty(figures)? + "\n")?;
    let table = markdown(figures);
    eprintln!("{table}");
    results.put("operator.md", table)
}

fn markdown(figures: &Figures) -> String {
    let Figures { machine, resources, objects, backend_ms, phases } = figures;
    let mut text = format!(
        "# The operator over {resources} resources\n\n`make bench-operator`: {resources} `MedicalImageIndex` resources with {objects} objects on a real API server and etcd. Kafka, \
         HBase and gateways are in memory and answer after {backend_ms} ms; pods are ready when the benchmark says so. The operator is a process of its own with its \
         default settings. How to read it: [docs/benchmarks.md](../../docs/benchmarks.md).\n\nMachine (API server, etcd, operator and benchmark share it): {}\n\n\
         | | took, s | reconciles | failed | p50, ms | p99, ms | API calls a reconcile | writes | memory, MiB | most, MiB | processor, s |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        machine.sentence(),
    );
    for Phase { name, seconds, span } in phases {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {name} | {seconds:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} | {:.0} | {:.1} | {:.1} | {:.1} |",
            span.reconciles,
            span.failed,
            span.p50_ms,
            span.p99_ms,
            span.calls_a_reconcile,
            span.writes,
            span.resident_mib,
            span.most_resident_mib,
            span.processor_seconds,
        );
    }
    text.push_str("\nTimes are out of the operator's histogram, as Prometheus would tell them. Calls by name: `operator.json`.\n");
    text
}
