//! `medindex models`: the models that are ready to use.

use std::path::Path;

use clap::Args;
use medindex_embedding::Manifest;
use serde::Serialize;

use super::{Context, to_json};
use crate::failure::{Failure, describe};
use crate::models;
use crate::output::note;
use crate::table::{Align, Table};

/// List the models in the cache.
#[derive(Debug, Args)]
pub(crate) struct ModelsArguments {}

#[derive(Serialize)]
struct Entry {
    name: String,
    version: u32,
    dimension: usize,
    recognises: bool,
    licence: String,
    folder: String,
}

pub(crate) fn run(context: &Context, _asked: &ModelsArguments) -> Result<(), Failure> {
    let mut entries = Vec::new();
    let models = models::folder()?;
    for name in medindex_embedding::available_models(&models) {
        let folder = models.join(&name);
        match Manifest::read(&folder) {
            Ok(manifest) => entries.push(describe_model(name, &manifest, &folder)),
            Err(error) => note(&format!("medindex: {}: {}", folder.display(), describe(&error))),
        }
    }
    let json = to_json(&entries)?;
    context.output.result(&json, |_| Ok(render(&entries, &models)))
}

fn describe_model(name: String, manifest: &Manifest, folder: &Path) -> Entry {
    Entry {
        name,
        version: manifest.version,
        dimension: manifest.embedding.dimension,
        recognises: manifest.classification.is_some(),
        licence: manifest.licence.clone(),
        folder: folder.display().to_string(),
    }
}

fn render(entries: &[Entry], models: &Path) -> String {
    if entries.is_empty() {
        let looked_in = models.display();
        return format!(
            "no models in {looked_in} yet: run `make setup` to fetch them, or set MEDINDEX_CACHE\n"
        );
    }
    let mut table = Table::new(&[
        ("name", Align::Left),
        ("version", Align::Left),
        ("dimension", Align::Right),
        ("recognises", Align::Left),
        ("folder", Align::Left),
        ("licence", Align::Left),
    ]);
    for entry in entries {
        table.row([
            entry.name.clone(),
            entry.version.to_string(),
            entry.dimension.to_string(),
            if entry.recognises { "yes" } else { "no" }.to_owned(),
            entry.folder.clone(),
            entry.licence.clone(),
        ]);
    }
    table.render()
}
