//! One set of operations, answered by the data folder in this process or by a running server.
//!
//! Answers are JSON text in both cases, the very same shapes, so that the commands print them in one way.

pub(crate) mod local;
pub(crate) mod remote;

use std::path::PathBuf;

use medindex_proto::identity::ImageId;

use crate::arguments::GlobalOptions;
use crate::failure::{Code, Failure};
use crate::local::Local;
use remote::Remote;

/// Who answers.
pub(crate) enum Service {
    /// The data folder, open in this process.
    Local(Local),
    /// A server.
    Remote(Remote),
}

/// What a search starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Example {
    /// An image file.
    File(PathBuf),
    /// A stored image.
    Stored(ImageId),
}

/// A search as the command line asks for it.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// What it starts from.
    pub(crate) example: Example,
    /// Results wanted.
    pub(crate) k: usize,
    /// Conditions, joined by commas; empty for none.
    pub(crate) filter: String,
    /// `none`, `image`, `study` or `patient`.
    pub(crate) group_by: String,
    /// `x`, `y`, width and height of the box.
    pub(crate) region: Option<[u32; 4]>,
    /// Name of a window, or `CENTER,WIDTH`.
    pub(crate) window: Option<String>,
    /// Frame of the example, from 0.
    pub(crate) frame: Option<u32>,
    /// Lists to probe.
    pub(crate) probes: Option<usize>,
    /// Compare with every vector.
    pub(crate) exact: bool,
    /// Tell how the answer was found.
    pub(crate) explain: bool,
}

impl Question {
    /// A failure of this search, with the example's name before it when it is about the example.
    pub(crate) fn named(&self, failure: Failure) -> Failure {
        match &self.example {
            Example::File(path) if failure.code == Code::Refused => local::of_file(path, &failure),
            Example::File(_) | Example::Stored(_) => failure,
        }
    }
}

impl Service {
    /// The server that `--server` names, or the data folder, which must have been imported into before.
    pub(crate) async fn open_existing(options: &GlobalOptions) -> Result<Self, Failure> {
        match &options.server {
            Some(url) => Ok(Self::Remote(Remote::new(url, options.limits())?)),
            None => Ok(Self::Local(Local::open_existing(options).await?)),
        }
    }

    /// Closes the data folder; the outcome's own failure comes first.
    pub(crate) async fn finish<T>(self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        match self {
            Self::Local(local) => local.close(outcome).await,
            Self::Remote(_) => outcome,
        }
    }

    /// The images most like the example.
    pub(crate) async fn search(&self, question: &Question) -> Result<String, Failure> {
        match self {
            Self::Local(local) => local.search(question).await,
            Self::Remote(remote) => remote.search(question).await,
        }
    }

    /// What an image file looks like.
    pub(crate) async fn recognise(&self, file: PathBuf) -> Result<String, Failure> {
        match self {
            Self::Local(local) => local.recognise(file).await,
            Self::Remote(remote) => remote.recognise(file).await,
        }
    }

    /// How the system stands.
    pub(crate) async fn status(&self) -> Result<String, Failure> {
        match self {
            Self::Local(local) => local.status().await,
            Self::Remote(remote) => remote.get("/api/v1/status").await,
        }
    }

    /// Whether accepted images are on their way to the index of a folder. A server is not asked: its work goes on without this command.
    pub(crate) async fn waits(&self) -> bool {
        match self {
            Self::Local(local) => local.waits().await,
            Self::Remote(_) => false,
        }
    }

    /// Trains a new generation.
    pub(crate) async fn train(&self) -> Result<String, Failure> {
        match self {
            Self::Local(local) => local.train().await,
            Self::Remote(remote) => remote.post("/api/v1/train").await,
        }
    }

    /// Goes one generation back.
    pub(crate) async fn rollback(&self) -> Result<String, Failure> {
        match self {
            Self::Local(local) => local.rollback().await,
            Self::Remote(remote) => remote.post("/api/v1/index/rollback").await,
        }
    }

    /// Deletes an image.
    pub(crate) async fn delete(&self, id: &ImageId) -> Result<String, Failure> {
        match self {
            Self::Local(local) => local.delete(id).await,
            Self::Remote(remote) => remote.delete(id).await,
        }
    }

    /// Deletes the images of a patient.
    pub(crate) async fn delete_patient(&self, patient: &str) -> Result<String, Failure> {
        match self {
            Self::Local(local) => local.delete_patient(patient).await,
            Self::Remote(remote) => remote.delete_patient(patient).await,
        }
    }
}
