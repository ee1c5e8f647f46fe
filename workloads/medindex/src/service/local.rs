//! The operations on the data folder in this process.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use medindex_imaging::{Limits, WindowChoice};
use medindex_index::GroupBy;
use medindex_pipeline::{Query, Region, SearchRequest, TrainingStage, parse_filter};
use medindex_proto::identity::ImageId;
use medindex_sources::{file_name, read_file, unreadable};
use serde::Serialize;

use super::{Example, Question};
use crate::commands::to_json;
use crate::failure::{Code, Failure, describe};
use crate::local::Local;
use crate::output::note;
use crate::window::parse_window;

#[derive(Serialize)]
struct RolledBack {
    generation: u64,
}

impl Local {
    pub(crate) async fn search(&self, question: &Question) -> Result<String, Failure> {
        let request = request(question, &self.pipeline.settings().limits)?;
        let response =
            self.pipeline.search(request).await.map_err(|error| question.named(Failure::flow(&error)))?;
        to_json(&response)
    }

    pub(crate) async fn recognise(&self, file: PathBuf) -> Result<String, Failure> {
        let bytes = read_image(&file, &self.pipeline.settings().limits)?;
        let answer = self.pipeline.recognise(file_name(&file), bytes).await;
        to_json(&answer.map_err(|error| of_file(&file, &Failure::flow(&error)))?)
    }

    pub(crate) async fn status(&self) -> Result<String, Failure> {
        to_json(&self.pipeline.status().await.map_err(|error| Failure::flow(&error))?)
    }

    pub(crate) async fn waits(&self) -> bool {
        match self.pipeline.waiting().await {
            Ok(waiting) => waiting > 0,
            // An answer to something else is not lost over this.
            Err(error) => {
                tracing::warn!(%error, "it is not known whether images are on their way to the index");
                false
            }
        }
    }

    pub(crate) async fn train(&self) -> Result<String, Failure> {
        let progress = |stage: TrainingStage| note(words(stage));
        to_json(&self.pipeline.train(&progress).await.map_err(|error| Failure::flow(&error))?)
    }

    pub(crate) async fn rollback(&self) -> Result<String, Failure> {
        let generation = self.pipeline.roll_back(None).await.map_err(|error| Failure::flow(&error))?;
        to_json(&RolledBack { generation })
    }

    pub(crate) async fn delete(&self, id: &ImageId) -> Result<String, Failure> {
        to_json(&self.pipeline.delete(id).await.map_err(|error| Failure::flow(&error))?)
    }

    pub(crate) async fn delete_patient(&self, patient: &str) -> Result<String, Failure> {
        to_json(&self.pipeline.delete_patient(patient).await.map_err(|error| Failure::flow(&error))?)
    }
}

/// What a training is at, for the person watching.
fn words(stage: TrainingStage) -> &'static str {
    match stage {
        TrainingStage::Sample => "reading a sample of the stored vectors",
        TrainingStage::Learn => "learning the transform, the lists and the codebooks",
        TrainingStage::Build => "encoding all stored vectors",
        TrainingStage::Measure => "measuring recall on held-out queries",
        TrainingStage::Swap => "swapping the new generation in",
    }
}

/// The search that a question means.
fn request(question: &Question, limits: &Limits) -> Result<SearchRequest, Failure> {
    let query = match &question.example {
        Example::File(path) => Query::File { name: file_name(path), bytes: read_image(path, limits)? },
        Example::Stored(id) => Query::Stored(*id),
    };
    let window = question
        .window
        .as_deref()
        .map(|text| parse_window::<WindowChoice>(text).map_err(Failure::usage))
        .transpose()?;
    Ok(SearchRequest {
        k: question.k,
        region: question.region.map(|[x, y, width, height]| Region { x, y, width, height }),
        frame: question.frame,
        window,
        filter: parse_filter(&question.filter).map_err(|error| Failure::usage(describe(&error)))?,
        group_by: group_by(&question.group_by)?,
        probes: question.probes,
        exact: question.exact,
        explain: question.explain,
        ..SearchRequest::new(query)
    })
}

fn group_by(name: &str) -> Result<GroupBy, Failure> {
    match name {
        "none" => Ok(GroupBy::None),
        "image" => Ok(GroupBy::Image),
        "study" => Ok(GroupBy::Study),
        "patient" => Ok(GroupBy::Patient),
        other => Err(Failure::usage(format!(
            "results are grouped by none, image, study or patient, not by '{other}'"
        ))),
    }
}

/// Reads an image file given on the command line, up to the limit on file size.
pub(crate) fn read_image(path: &Path, limits: &Limits) -> Result<Bytes, Failure> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_file() {
        let kind = if metadata.is_dir() { "a folder" } else { "a device or a pipe" };
        return Err(Failure::new(Code::Refused, format!("{} is {kind}, not an image file", path.display())));
    }
    read_file(path, limits.max_file_bytes)
        .map_err(|error| Failure::new(Code::Refused, format!("{}: {error}", path.display())))
}

/// A failure that is about a file, with the file's name before it.
pub(crate) fn of_file(path: &Path, failure: &Failure) -> Failure {
    Failure::new(failure.code, format!("{}: {}", path.display(), failure.message))
}
