//! Settings of the importer.

use std::path::PathBuf;

use clap::Parser;
use medindex_pipeline::{DirectOptions, Settings};
use medindex_runtime::arguments::{BackendArguments, FramesArgument, LimitArguments, OperationArguments};
use medindex_runtime::model::ModelArguments;
use medindex_runtime::process_name;
use medindex_sources::LesionWindow;

/// Import files in bulk, straight into the image store and the change log. For research and teaching, not for diagnosis.
#[derive(Debug, Clone, Parser)]
#[command(name = "medindex-importer", version)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) backends: BackendArguments,
    #[command(flatten)]
    pub(crate) operation: OperationArguments,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// What to import: a file, a folder with all below it, a pattern, a DICOM directory (DICOMDIR), a zip archive, or the DeepLesion data set (its folder or
    /// its `DL_info.csv`). May be given several times.
    #[arg(long, env = "MEDINDEX_SOURCE", value_name = "PATH", required = true)]
    pub(crate) source: Vec<String>,
    /// CSV file with the columns file,label; paths relative to it, or base names.
    #[arg(long, env = "MEDINDEX_LABELS", value_name = "FILE", conflicts_with = "label_from_folder")]
    pub(crate) labels: Option<PathBuf>,
    /// Label each image with the name of its folder.
    #[arg(long, env = "MEDINDEX_LABEL_FROM_FOLDER")]
    pub(crate) label_from_folder: bool,
    /// Grey window of DeepLesion's slices: table (as their rows say), lung, mediastinum, bone, brain, `soft_tissue`, liver, full, or CENTER,WIDTH.
    #[arg(long, env = "MEDINDEX_LESION_WINDOW", value_name = "WINDOW", default_value = "table", allow_hyphen_values = true, value_parser = str::parse::<LesionWindow>)]
    pub(crate) lesion_window: LesionWindow,
    /// Frames of a multi-frame image that become searchable.
    #[arg(long, env = "MEDINDEX_FRAMES", value_name = "WHICH", default_value = "middle")]
    pub(crate) frames: FramesArgument,
    /// New images a second at the most; no bound when left out. Files that are there already are not slowed down.
    #[arg(long, env = "MEDINDEX_IMAGES_PER_SECOND", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) images_per_second: Option<u32>,
    /// Images embedded and written at once.
    #[arg(long, env = "MEDINDEX_BATCH", value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) batch: u32,
    /// Batches at work at the same time: while one is computed, another is written.
    #[arg(long, env = "MEDINDEX_BATCHES", value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) batches: u32,
    /// CSV file (columns file,reason) that the files that failed are written to.
    #[arg(long, env = "MEDINDEX_FAILURES", value_name = "FILE")]
    pub(crate) failures: Option<PathBuf>,
    /// End with status 4 when any file failed; without it, only when every one did.
    #[arg(long, env = "MEDINDEX_STRICT")]
    pub(crate) strict: bool,
}

impl Arguments {
    /// Settings of the flows.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            organisation: self.backends.index.organisation.clone(),
            process: process_name("importer"),
            alarm_period: self.operation.alarm_period(),
            partitions: self.backends.index.partitions,
            limits: self.limits.limits(),
            decode_memory: self.limits.decode_memory_bytes,
            frames: self.frames.into(),
            batch: self.batch as usize,
            // What is at work when the program is told to end must be finished in time.
            backlog: (self.batch * self.batches) as usize,
            ..Settings::default()
        }
    }

    /// How images are embedded.
    pub(crate) fn direct(&self) -> DirectOptions {
        let batches = self.batches as usize;
        DirectOptions { batches, images_per_second: self.images_per_second.map(f64::from) }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
