//! `medindex search`: the stored images most like an example.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use medindex_imaging::WindowChoice;
use medindex_proto::identity::ImageId;
use medindex_sources::unreadable;
use serde::Deserialize;

use super::{Context, from_json};
use crate::failure::{Code, Failure};
use crate::output::note;
use crate::service::{Example, Question, Service};
use crate::table::{Align, Table, keep_end};
use crate::window::parse_window;

/// Search the images most like a file or a stored image, nearest first.
#[derive(Debug, Args)]
pub(crate) struct SearchArguments {
    /// An image file, or the id of a stored image.
    #[arg(value_name = "IMAGE|ID")]
    example: String,
    /// How many results.
    #[arg(short, long, default_value_t = 10, value_name = "N", value_parser = parse_results, allow_negative_numbers = true)]
    k: usize,
    /// Only images that match, such as `modality=CT`, `body_part=CHEST|HEAD` or `time>=2020-01-01`; several must all match.
    #[arg(long, value_name = "CONDITION")]
    filter: Vec<String>,
    /// At most one result of each.
    #[arg(long, value_name = "WHAT", default_value = "image", value_parser = ["none", "image", "study", "patient"])]
    group_by: String,
    /// Search with this box of the example only: left, top, width and height in pixels.
    #[arg(long, value_name = "X,Y,W,H", value_parser = parse_region, allow_hyphen_values = true)]
    roi: Option<Box>,
    /// Grey window of the example: lung, mediastinum, bone, brain, `soft_tissue`, liver, file, full, or CENTER,WIDTH.
    #[arg(long, value_name = "WINDOW", allow_hyphen_values = true)]
    window: Option<String>,
    /// Frame of a multi-frame example, from 0; the middle one when left out.
    #[arg(long, value_name = "N", value_parser = parse_frame, allow_negative_numbers = true)]
    frame: Option<u32>,
    /// Lists of the index to probe; more finds more, more slowly.
    #[arg(long, value_name = "N", value_parser = parse_probes, allow_negative_numbers = true)]
    probes: Option<usize>,
    /// Compare with every stored vector instead of scanning codes.
    #[arg(long)]
    exact: bool,
    /// Tell how the answer was found.
    #[arg(long)]
    explain: bool,
}

/// Left, top, width and height; a name of its own, because clap reads an array as several values.
#[derive(Debug, Clone, Copy)]
struct Box([u32; 4]);

#[derive(Deserialize)]
struct View {
    generation: u64,
    partial: bool,
    #[serde(default)]
    missing_partitions: Vec<u32>,
    took_ms: f64,
    results: Vec<Row>,
    explain: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Row {
    rank: usize,
    id: String,
    frame: u32,
    distance: f32,
    name: String,
    label: Option<String>,
    modality: Option<String>,
    body_part: Option<String>,
}

pub(crate) async fn run(context: &Context, asked: &SearchArguments) -> Result<(), Failure> {
    let question = asked.question()?;
    let service = Service::open_existing(&context.options).await?;
    let outcome = service.search(&question).await;
    let waits = outcome.is_ok() && service.waits().await;
    let json = service.finish(outcome).await?;
    if waits {
        note(
            "medindex: not all accepted images are searchable yet, so they are in no answer; medindex status says how many wait",
        );
    }
    context.output.result(&json, render)
}

impl SearchArguments {
    fn question(&self) -> Result<Question, Failure> {
        // Checked here, so that a server is not needed to say what is wrong with it.
        if self.filter.iter().any(|condition| condition.trim().is_empty()) {
            return Err(Failure::usage(
                "--filter is empty: write a condition like modality=CT, or leave it out",
            ));
        }
        let filter = self.filter.join(",");
        medindex_pipeline::parse_filter(&filter).map_err(|error| Failure::usage(error.to_string()))?;
        if let Some(window) = &self.window {
            parse_window::<WindowChoice>(window).map_err(Failure::usage)?;
        }
        Ok(Question {
            example: example(&self.example)?,
            k: self.k,
            filter,
            group_by: self.group_by.clone(),
            region: self.roi.map(|Box(numbers)| numbers),
            window: self.window.clone(),
            frame: self.frame,
            probes: self.probes,
            exact: self.exact,
            explain: self.explain,
        })
    }
}

/// A file that exists comes first, then an id.
fn example(text: &str) -> Result<Example, Failure> {
    let path = Path::new(text);
    match path.try_exists() {
        Ok(true) => return Ok(Example::File(PathBuf::from(path))),
        Ok(false) => {}
        Err(error) => return Err(unreadable(path, &error).into()),
    }
    match ImageId::parse(text) {
        Ok(id) => Ok(Example::Stored(id)),
        Err(_) => {
            Err(Failure::new(Code::NotFound, format!("'{text}' is neither a file nor the id of an image")))
        }
    }
}

fn parse_results(text: &str) -> Result<usize, String> {
    parse_count(text, "-k asks for at least 1 result")
}

fn parse_probes(text: &str) -> Result<usize, String> {
    parse_count(text, "probe at least 1 list")
}

fn parse_count(text: &str, too_few: &str) -> Result<usize, String> {
    match text.parse::<i64>() {
        Ok(..=0) => Err(too_few.to_owned()),
        Ok(count) => usize::try_from(count).map_err(|error| error.to_string()),
        Err(_) => Err("not a whole number".to_owned()),
    }
}

fn parse_frame(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "frames are counted from 0 in whole numbers".to_owned())
}

fn parse_region(text: &str) -> Result<Box, String> {
    let form = || "write it as x,y,width,height in whole pixels, such as 10,20,64,64".to_owned();
    let numbers: Vec<u32> =
        text.split(',').map(|part| part.trim().parse()).collect::<Result<_, _>>().map_err(|_| form())?;
    let numbers: [u32; 4] = numbers.try_into().map_err(|_| form())?;
    if numbers[2] == 0 || numbers[3] == 0 {
        Err("a box is at least 1 pixel wide and high".to_owned())
    } else {
        Ok(Box(numbers))
    }
}

fn render(json: &str) -> Result<String, Failure> {
    let view: View = from_json(json)?;
    let mut table = Table::new(&[
        ("#", Align::Right),
        ("distance", Align::Right),
        ("label", Align::Left),
        ("modality", Align::Left),
        ("body part", Align::Left),
        ("frame", Align::Right),
        ("name", Align::Left),
        ("id", Align::Left),
    ]);
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    for row in &view.results {
        table.row([
            row.rank.to_string(),
            format!("{:.4}", row.distance),
            shown(&row.label),
            shown(&row.modality),
            shown(&row.body_part),
            row.frame.to_string(),
            keep_end(&row.name, 40),
            row.id.clone(),
        ]);
    }
    let mut text = if table.is_empty() { "no images match\n".to_owned() } else { table.render() };
    let how =
        if view.generation == 0 { "exact".to_owned() } else { format!("generation {}", view.generation) };
    let _ = writeln!(text, "\n{} results in {:.1} ms ({how})", view.results.len(), view.took_ms);
    if view.partial {
        let _ = writeln!(text, "partial: partitions {:?} did not answer", view.missing_partitions);
    }
    if let Some(explain) = &view.explain {
        text.push('\n');
        explain_lines(explain, "", &mut text);
    }
    Ok(text)
}

/// One line for each figure, nested names joined by dots.
fn explain_lines(value: &serde_json::Value, name: &str, text: &mut String) {
    match value {
        serde_json::Value::Object(fields) => {
            for (field, value) in fields {
                let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                explain_lines(value, &name, text);
            }
        }
        serde_json::Value::String(word) => {
            let _ = writeln!(text, "{name:<32} {word}");
        }
        other => {
            let _ = writeln!(text, "{name:<32} {other}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_four_numbers_with_a_size() {
        assert_eq!(parse_region("1, 2,3,4").unwrap().0, [1, 2, 3, 4]);
        for wrong in ["1,2,3", "1,2,3,4,5", "-1,2,3,4", "a,b,c,d", "1,2,0,4", ""] {
            assert!(parse_region(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_example_is_a_file_or_an_id() {
        assert_eq!(example("/nowhere/at/all").unwrap_err().code, Code::NotFound);
        let id = ImageId::new();
        assert_eq!(example(&id.to_string()).unwrap(), Example::Stored(id));
    }

    #[test]
    fn explain_is_shown_one_figure_a_line() {
        let mut text = String::new();
        explain_lines(&serde_json::json!({"index": {"lists_probed": 3, "plan": "none"}}), "", &mut text);
        assert!(text.contains("index.lists_probed               3\n"), "{text}");
        assert!(text.contains("index.plan                       none\n"), "{text}");
    }
}
