//! What is published of the queries: a table, a plot, and every query's time.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use medindex_system_tests::statistics::percentiles;
use plotters::prelude::*;
use serde_json::json;

use crate::watch::{ASKERS, EVERY};

/// One query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// When it was asked, since the first one.
    pub(crate) at: Duration,
    /// Until the answer was there.
    pub(crate) took: Duration,
    /// From a stored image; else with a file, which is embedded first.
    pub(crate) by_id: bool,
}

/// Something that moved.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) begun: Duration,
    /// When what was done was done.
    pub(crate) done: Duration,
    /// A moment later.
    pub(crate) ended: Duration,
}

impl Event {
    /// Whether the query was under way at any time from the beginning to a moment after the end.
    pub(crate) fn covers(&self, sample: &Sample) -> bool {
        sample.at + sample.took >= self.begun && sample.at <= self.ended
    }
}

/// Writes `movement.svg`, `movement.md` and `movement.json`.
pub(crate) fn write(
    folder: &Path,
    samples: &[Sample],
    events: &[Event],
    failed: usize,
    uploads: (usize, usize),
) {
    fs::create_dir_all(folder).unwrap();
    let mut samples = samples.to_vec();
    samples.sort_by_key(|sample| sample.at);
    fs::write(folder.join("movement.svg"), draw(&samples, events)).unwrap();
    fs::write(folder.join("movement.md"), table(&samples, events, failed, uploads)).unwrap();
    fs::write(folder.join("movement.json"), record(&samples, events, failed, uploads)).unwrap();
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!("{}, {cores} cores, load {load} at the end", processor.trim_matches([':', ' ', '\t']))
}

/// Every query as `[asked at, took, by id]` in milliseconds, one a line.
fn record(samples: &[Sample], events: &[Event], failed: usize, uploads: (usize, usize)) -> String {
    let times = |event: &Event| {
        json!({
            "name": event.name,
            "begun_ms": millis(event.begun),
            "done_ms": millis(event.done),
            "ended_ms": millis(event.ended),
        })
    };
    let head = json!({
        "machine": machine(),
        "queries": samples.len(),
        "failed": failed,
        "uploads": { "accepted": uploads.0, "refused": uploads.1 },
        "events": events.iter().map(times).collect::<Vec<_>>(),
        "samples_are": ["asked_ms", "took_ms", "by_id"],
    });
    let head = serde_json::to_string_pretty(&head).unwrap();
    let mut text = head.trim_end_matches("\n}").to_owned();
    text.push_str(",\n  \"samples\": [\n");
    for (number, sample) in samples.iter().enumerate() {
        let comma = if number + 1 == samples.len() { "" } else { "," };
        let by_id = u8::from(sample.by_id);
        writeln!(text, "[{:.0},{:.1},{by_id}]{comma}", millis(sample.at), millis(sample.took)).unwrap();
    }
    text.push_str("  ]\n}\n");
    text
}

fn table(samples: &[Sample], events: &[Event], failed: usize, uploads: (usize, usize)) -> String {
    let mut text = format!(
        "# Queries while everything moves\n\n`make movement` over real servers on one machine: three Kafka brokers, HBase over HDFS with two region \
         servers, MariaDB, Redis; two shards with two replicas, two embedders, one gateway. {ASKERS} people ask by turns from a stored image and \
         with a file, each {} ms after the question before or when its answer is there; one more uploads. An answer counts as failed when it is \
         partial, too.\n\nMachine (servers, programs and clients share it): {}.\n\n{} queries, **{failed} failed**; {} uploads accepted and all \
         searchable at the end, {} refused.\n\n| meanwhile | took, s | queries | p50, ms | p99, ms | longest, ms |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n",
        EVERY.as_millis(),
        machine(),
        samples.len(),
        uploads.0,
        uploads.1,
    );
    let mut line = |name: &str, took: String, times: Vec<Duration>| {
        if times.is_empty() {
            return;
        }
        let found = percentiles(&times);
        let [p50, p99, most] = [found.p50, found.p99, found.most].map(millis);
        writeln!(text, "| {name} | {took} | {} | {p50:.0} | {p99:.0} | {most:.0} |", times.len()).unwrap();
    };
    let quiet = |sample: &&Sample| !events.iter().any(|event| event.covers(sample));
    line("nothing", String::new(), samples.iter().filter(quiet).map(|sample| sample.took).collect());
    let mut names: Vec<&str> = Vec::new();
    for event in events {
        if !names.contains(&event.name.as_str()) {
            names.push(&event.name);
        }
    }
    for name in names {
        let own: Vec<&Event> = events.iter().filter(|event| event.name == name).collect();
        let longest =
            own.iter().map(|event| event.done.saturating_sub(event.begun)).max().unwrap_or_default();
        let moved = samples.iter().filter(|sample| own.iter().any(|event| event.covers(sample)));
        line(name, format!("{:.1}", longest.as_secs_f64()), moved.map(|sample| sample.took).collect());
    }
    text.push_str(
        "\nEvery query and the time of every event: `movement.json`.\n\n![Latency over time](movement.svg)\n",
    );
    text
}

/// The longest query of every second and half of the queries, for either kind, over the times at which things moved.
fn draw(samples: &[Sample], events: &[Event]) -> String {
    let end = samples.iter().map(|sample| sample.at.as_secs_f64()).fold(1.0, f64::max);
    let most = samples.iter().map(|sample| millis(sample.took)).fold(10.0, f64::max);
    let top = most * 30.0;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (1_100, 520)).into_drawing_area();
        area.fill(&WHITE).unwrap();
        let mut chart = ChartBuilder::on(&area)
            .caption(
                "Queries while things move: median (line) and longest (dots) of every second",
                ("sans-serif", 16),
            )
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..end, (1.0..top).log_scale())
            .unwrap();
        chart.configure_mesh().x_desc("seconds").y_desc("milliseconds").disable_x_mesh().draw().unwrap();
        for (number, event) in events.iter().enumerate() {
            let (left, right) = (event.begun.as_secs_f64(), event.done.as_secs_f64());
            let shade =
                if number.is_multiple_of(2) { RGBColor(222, 233, 245) } else { RGBColor(248, 236, 216) };
            chart.draw_series([Rectangle::new([(left, 1.0), (right, top)], shade.filled())]).unwrap();
        }
        for (by_id, colour, label) in [
            (true, RGBColor(0, 114, 178), "from a stored image"),
            (false, RGBColor(213, 94, 0), "with a file"),
        ] {
            let seconds = by_second(samples, by_id);
            let line = seconds.iter().map(|(second, median, _)| (*second, *median));
            chart.draw_series(LineSeries::new(line, &colour)).unwrap();
            let dots =
                seconds.iter().map(|(second, _, most)| Circle::new((*second, *most), 2, colour.filled()));
            chart
                .draw_series(dots)
                .unwrap()
                .label(label)
                .legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
        }
        for event in events {
            let style = ("sans-serif", 11).into_font().transform(FontTransform::Rotate90).color(&BLACK);
            let place = (event.begun.as_secs_f64(), top * 0.9);
            chart.draw_series([Text::new(event.name.clone(), place, style)]).unwrap();
        }
        let mut labels = chart.configure_series_labels();
        labels.position(SeriesLabelPosition::LowerRight).background_style(WHITE).draw().unwrap();
        area.present().unwrap();
    }
    svg
}

/// Of every second with queries: its middle, the median and the longest time in milliseconds.
fn by_second(samples: &[Sample], by_id: bool) -> Vec<(f64, f64, f64)> {
    let own: Vec<&Sample> = samples.iter().filter(|sample| sample.by_id == by_id).collect();
    let chunks = own.chunk_by(|one, next| one.at.as_secs() == next.at.as_secs());
    chunks
        .map(|second| {
            let times: Vec<Duration> = second.iter().map(|sample| sample.took).collect();
            let found = percentiles(&times);
            let middle = second[0].at.as_secs() as f64 + 0.5;
            (middle, millis(found.p50).max(1.0), millis(found.most).max(1.0))
        })
        .collect()
}
