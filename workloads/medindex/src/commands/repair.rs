//! `medindex repair`: makes a data folder whole again that lost a part, and says what is gone.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use medindex_pipeline::{LostImage, RepairReport};

use super::{Context, to_json};
use crate::failure::{Code, Failure};
use crate::local::Local;
use crate::output::note;
use crate::table::{Align, Table, keep_end};

/// Lost images named on the terminal; `--json` names all.
const MOST_NAMED: usize = 20;
/// Longest name in the table.
const NAME_WIDTH: usize = 48;

/// Repair a data folder that lost store.redb, catalog.sqlite or the index, or got an older one back.
///
/// Saves what the other parts hold, makes the index anew and says which images are gone; importing those again completes it.
/// Ends with code 6 when there are any. It may be run at any time and as often as wanted.
#[derive(Debug, Args)]
pub(crate) struct RepairArguments {}

pub(crate) async fn run(context: &Context, _asked: &RepairArguments) -> Result<ExitCode, Failure> {
    if context.options.server.is_some() {
        return Err(Failure::usage(
            "repair works on a data folder that nobody has open: stop the server and leave out --server",
        ));
    }
    let report = Local::repair(&context.options).await?;
    context.output.result(&to_json(&report)?, |_| Ok(render(&report)))?;
    let gone = report.lost.len() + report.unreadable.len();
    if gone == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    // Said on standard error too: the result goes wherever standard output goes.
    let what = if gone == 1 {
        "1 image is gone; import it".to_owned()
    } else {
        format!("{gone} images are gone; import them")
    };
    note(&format!("medindex: the folder is repaired, but {what} again"));
    Ok(Code::Storage.into())
}

fn render(report: &RepairReport) -> String {
    let RepairReport { catalog_set_aside, store_set_aside, recovered, lost, unreadable, searchable } = report;
    let mut text = format!(
        "{searchable} images can be searched; {recovered} catalog records written again, {} images lost, {} unreadable\n",
        lost.len(),
        unreadable.len(),
    );
    for (part, kept) in [("catalog", catalog_set_aside), ("store", store_set_aside)] {
        if let Some(kept) = kept {
            let _ = writeln!(text, "\nthe damaged {part} is kept as {}", kept.display());
        }
    }
    for (title, images) in [("lost", lost), ("unreadable", unreadable)] {
        if !images.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{}", table(title, images));
        }
    }
    if !lost.is_empty() {
        text.push_str("\nimport the lost images again: they keep their ids\n");
    }
    text
}

fn table(title: &'static str, images: &[LostImage]) -> String {
    let mut table = Table::new(&[(title, Align::Left), ("id", Align::Left), ("reason", Align::Left)]);
    for image in images.iter().take(MOST_NAMED) {
        table.row([keep_end(&image.name, NAME_WIDTH), image.id.to_string(), image.reason.clone()]);
    }
    let mut text = table.render();
    if images.len() > MOST_NAMED {
        let _ = writeln!(text, "and {} more; --json names all", images.len() - MOST_NAMED);
    }
    text
}
