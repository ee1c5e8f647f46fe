//! The data folder: which one, which model it belongs to, and which server has it open.
//!
//! The pipeline's own `medindex.json` names the model and its digest. Two small files stand beside it: `command-line.json`
//! remembers where that model is and the frames setting (replaced atomically), `server.json` is there while `medindex serve` runs
//! and says at which address. A stale `server.json` after a crash does no harm: it is only read when the folder is locked.

use std::path::{Path, PathBuf};

use medindex_pipeline::{FolderError, SearchableFrames, describe_folder};
use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure, describe};
use crate::models::{DEFAULT_MODEL, is_path, short_name};

const CHOICES_FILE: &str = "command-line.json";
const SERVER_FILE: &str = "server.json";

/// What was chosen for a data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Choices {
    /// Name in the cache, or absolute path, of the model.
    pub(crate) model: String,
    /// Frames that become searchable.
    #[serde(default)]
    pub(crate) frames: SearchableFrames,
}

/// Where a running server listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerInfo {
    /// Address, such as `http://127.0.0.1:8080`.
    pub(crate) url: String,
    /// Process id.
    pub(crate) pid: u32,
}

/// A data folder and its model, before anything is opened.
#[derive(Debug, Clone)]
pub(crate) struct DataFolder {
    /// Path of the folder.
    pub(crate) path: PathBuf,
    /// What was chosen for it now or before.
    pub(crate) choices: Choices,
    /// Choices on disk.
    written: Option<Choices>,
    /// Whether images were ever kept here.
    exists: bool,
}

impl DataFolder {
    /// The folder that `--data` and `--model` mean. Without `--data` it is `.medindex/<model>`; without `--model` the model is the
    /// folder's own, and `vgg16` for a new folder.
    ///
    /// # Errors
    /// When what the folder says about itself cannot be read, or it is something else than a data folder.
    pub(crate) fn resolve(data: Option<&Path>, model: Option<&str>) -> Result<Self, Failure> {
        let path = data.map_or_else(
            || Path::new(".medindex").join(short_name(model.unwrap_or(DEFAULT_MODEL))),
            Path::to_owned,
        );
        let description = describe_folder(&path).map_err(|error| folder_failed(&error))?;
        let written = if description.is_some() { read_choices(&path)? } else { None };
        let own = written
            .as_ref()
            .map(|choices| choices.model.clone())
            .or_else(|| description.as_ref().map(|description| description.model.clone()));
        let model = match model.map(remembered_name).transpose()? {
            Some(asked) => asked,
            None => own.unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
        };
        let frames = written.as_ref().map(|choices| choices.frames).unwrap_or_default();
        Ok(Self { path, choices: Choices { model, frames }, written, exists: description.is_some() })
    }

    /// Refuses a folder that nothing was imported into, for commands that only read.
    pub(crate) fn require_existing(&self) -> Result<(), Failure> {
        if self.exists {
            return Ok(());
        }
        let path = self.path.display();
        Err(Failure::new(
            Code::NotFound,
            format!(
                "there is no data in {path}: import images first (medindex import PATH --data {path}), or name the folder with --data"
            ),
        ))
    }

    /// Writes the choices down; call it once the folder is open, so that only choices that work are remembered.
    pub(crate) fn remember(&mut self) -> Result<(), Failure> {
        if self.written.as_ref() != Some(&self.choices) {
            write_json(&self.path.join(CHOICES_FILE), &self.choices)?;
            self.written = Some(self.choices.clone());
        }
        Ok(())
    }

    /// Writes down that this process serves the folder at `url`, until the guard is dropped.
    pub(crate) fn announce_server(&self, url: &str) -> Result<ServerFile, Failure> {
        let path = self.path.join(SERVER_FILE);
        write_json(&path, &ServerInfo { url: url.to_owned(), pid: std::process::id() })?;
        Ok(ServerFile(path))
    }

    /// The server that has this folder open, as far as the folder tells.
    pub(crate) fn server(&self) -> Option<ServerInfo> {
        let text = std::fs::read_to_string(self.path.join(SERVER_FILE)).ok()?;
        serde_json::from_str(&text).ok()
    }
}

/// Removes `server.json` when dropped.
#[derive(Debug)]
pub(crate) struct ServerFile(PathBuf);

impl Drop for ServerFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// A model as a folder remembers it: a name stays a name, a path becomes absolute.
fn remembered_name(model: &str) -> Result<String, Failure> {
    if !is_path(model) {
        return Ok(model.to_owned());
    }
    let path = std::path::absolute(model).map_err(|error| Failure::file("find", Path::new(model), &error))?;
    let text = path.to_string_lossy();
    Ok(text.trim_end_matches('/').to_owned())
}

fn read_choices(folder: &Path) -> Result<Option<Choices>, Failure> {
    let path = folder.join(CHOICES_FILE);
    // Read as bytes: text that is not UTF-8 is damage, with its advice, and not a failure of the disk.
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::new(Code::Storage, Failure::file("read", &path, &error).message)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        let message =
            format!("{} is damaged ({error}): remove it and name the model with --model", path.display());
        Failure::new(Code::Storage, message)
    })
}

/// A folder that cannot be used: other things in it or another model are the person's to mend, the rest is storage.
pub(crate) fn folder_failed(error: &FolderError) -> Failure {
    let code = match error {
        FolderError::Recognise { .. } | FolderError::CheckModel { .. } => Code::Refused,
        FolderError::Create { .. }
        | FolderError::Read { .. }
        | FolderError::Write { .. }
        | FolderError::FindDescription { .. }
        | FolderError::Parse { .. }
        | FolderError::CheckFormat { .. } => Code::Storage,
    };
    Failure::new(code, describe(error))
}

/// Writes to a temporary name, syncs, renames: a reader sees the old or the new file, never half of one.
fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string(value)
        .map_err(|error| Failure::caused_by(Code::Other, "cannot write settings", &error))?;
    let temporary = path.with_extension("json.tmp");
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&temporary)?;
        std::io::Write::write_all(&mut file, json.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|error| Failure::new(Code::Storage, Failure::file("write", path, &error).message))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTION: &str =
        r#"{"format":1,"model":"efficientnet-lite0","model_digest":"d","partitions":9}"#;

    fn data_folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("medindex.json"), DESCRIPTION).unwrap();
        folder
    }

    #[test]
    fn a_new_folder_has_the_default_model() {
        let folder = DataFolder::resolve(Some(Path::new("/nowhere/at/all")), None).unwrap();
        assert_eq!(folder.choices.model, "vgg16");
        assert_eq!(folder.require_existing().unwrap_err().code, Code::NotFound);
    }

    #[test]
    fn without_data_the_folder_is_named_after_the_model() {
        let folder = DataFolder::resolve(None, Some("models/my-net")).unwrap();
        assert_eq!(folder.path, Path::new(".medindex/my-net"));
        assert!(Path::new(&folder.choices.model).is_absolute());
    }

    #[test]
    fn a_folder_remembers_its_model_and_frames() {
        let folder = data_folder();
        let mut data = DataFolder::resolve(Some(folder.path()), None).unwrap();
        assert_eq!(data.choices.model, "efficientnet-lite0");
        data.choices = Choices { model: "/models/mine".to_owned(), frames: SearchableFrames::All };
        data.remember().unwrap();
        let again = DataFolder::resolve(Some(folder.path()), None).unwrap();
        assert_eq!(again.choices, data.choices);
    }

    #[test]
    fn damaged_choices_are_an_error_and_not_a_default() {
        let folder = data_folder();
        for damage in [b"{".as_slice(), b"\xff\xfe{}"] {
            std::fs::write(folder.path().join(CHOICES_FILE), damage).unwrap();
            let refusal = DataFolder::resolve(Some(folder.path()), None).unwrap_err();
            assert_eq!(refusal.code, Code::Storage);
            assert!(refusal.message.contains("remove it"), "{}", refusal.message);
        }
    }

    #[test]
    fn a_folder_with_other_things_in_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("holiday.jpg"), "x").unwrap();
        assert_eq!(DataFolder::resolve(Some(folder.path()), None).unwrap_err().code, Code::Refused);
    }

    #[test]
    fn the_server_file_goes_with_its_guard() {
        let folder = data_folder();
        let data = DataFolder::resolve(Some(folder.path()), None).unwrap();
        let guard = data.announce_server("http://127.0.0.1:1").unwrap();
        assert_eq!(data.server().unwrap().url, "http://127.0.0.1:1");
        drop(guard);
        assert_eq!(data.server(), None);
    }
}
