//! The table and the plot of `scatter`.

use std::fmt::Write as _;
use std::path::Path;

use plotters::prelude::*;

use super::{Figures, LayoutFigures};
use crate::error::BenchError;
use crate::results::Results;

/// Writes `scatter.md`, `scatter.json` and `scatter.svg`.
pub(super) fn write(figures: &Figures, folder: &Path) -> Result<(), BenchError> {
    let results = Results::in_folder(folder)?;
    results.put("scatter.json", serde_json::to_string_pretty(figures)? + "\n")?;
    results.put("scatter.svg", draw(figures).map_err(|error| BenchError::Plot(error.to_string()))?)?;
    let table = markdown(figures);
    eprintln!("{table}");
    results.put("scatter.md", table)
}

fn name(layout: &LayoutFigures) -> String {
    match layout.shards {
        0 => "in this process".to_owned(),
        1 => "1 shard".to_owned(),
        shards => format!("{shards} shards"),
    }
}

fn markdown(figures: &Figures) -> String {
    let Figures { vectors, dimension, rounds, .. } = figures;
    let mut text = format!(
        "# Scatter and gather\n\n`make bench-scatter`: the same index in this process, and divided over shards in processes of their own, asked over \
         gRPC on loopback. How to read it: [docs/benchmarks.md](../../docs/benchmarks.md).\n\nMachine: {}\n\n\
         {vectors} synthetic vectors of {dimension} dimensions in clusters, 64x4-bit codes, the ten nearest asked for; {rounds} rounds of {} queries, \
         all ways by turns in each. Ratios are medians over rounds of the ratio of medians inside a round. All processes share this machine's \
         cores: on machines of their own, shards would also scan at the same time.\n\n\
         | asked | p50, ms | p99, ms | p50 to in-process | queries a second, 8 at a time | recall@10 |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n",
        figures.machine.sentence(),
        figures.layouts.first().map_or(0, |layout| layout.alone.count / rounds.max(&1)),
    );
    for layout in &figures.layouts {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {:.2} | {:.2} | {:.2} | {:.0} | {:.3} |",
            name(layout),
            layout.alone.p50,
            layout.alone.p99,
            layout.ratio,
            layout.throughput,
            layout.recall
        );
    }
    text.push_str("\n![Latency of a query](scatter.svg)\n");
    text
}

/// Bars of p50 and p99, one pair a way.
fn draw(figures: &Figures) -> Result<String, Box<dyn std::error::Error>> {
    const COLOURS: [(&str, RGBColor); 2] = [("p50", RGBColor(0, 114, 178)), ("p99", RGBColor(213, 94, 0))];
    let most = figures.layouts.iter().map(|layout| layout.alone.p99).fold(0.0, f64::max);
    let names: Vec<String> = figures.layouts.iter().map(name).collect();
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (720, 400)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(format!("One query among {} vectors", figures.vectors), ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..names.len() as f64, 0.0..most * 1.1)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(names.len() * 2 + 1)
            .x_label_formatter(&|at| {
                // Between the borders of a group.
                let inside = (at.fract() - 0.5).abs() < 0.01;
                names.get(*at as usize).filter(|_| inside).cloned().unwrap_or_default()
            })
            .y_desc("milliseconds")
            .draw()?;
        for (place, (label, colour)) in COLOURS.into_iter().enumerate() {
            let bars = figures.layouts.iter().enumerate().map(|(group, layout)| {
                let value = if place == 0 { layout.alone.p50 } else { layout.alone.p99 };
                let left = group as f64 + 0.18 + 0.32 * place as f64;
                Rectangle::new([(left, 0.0), (left + 0.3, value)], colour.filled())
            });
            chart
                .draw_series(bars)?
                .label(label)
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
        }
        chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).draw()?;
        area.present()?;
    }
    Ok(svg)
}
