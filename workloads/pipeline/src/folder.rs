//! A data folder and what it says about itself.
//!
//! `medindex.json` names the model and the partitions, so that a folder is never opened with another model: vectors of two models
//! cannot be compared. It is written to a temporary name, synced and renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use medindex_backends::embedded::STORE_FILE;
use serde::{Deserialize, Serialize};

/// Name of the description in a data folder.
pub const FOLDER_FILE: &str = "medindex.json";
/// Layout of data folders that this version reads and writes.
pub const FOLDER_FORMAT: u32 = 1;

/// What a data folder says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderDescription {
    /// Layout of the folder.
    pub format: u32,
    /// Name of the model whose vectors are stored.
    pub model: String,
    /// SHA-256 of the model's files.
    pub model_digest: String,
    /// Partitions of the store.
    pub partitions: u32,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It could not be made.
    #[error("cannot create the data folder {}: {source}; check the path and its permissions", folder.display())]
    Create {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be read.
    #[error("cannot read {}: {source}; check the path and its permissions", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be written.
    #[error("cannot write {}: {source}; check its permissions and the room on the disk", path.display())]
    Write {
        /// What was written.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It has other things in it.
    #[error("{} is not empty and not a MedIndex data folder; choose a new or empty folder with --data", folder.display())]
    Recognise {
        /// The folder.
        folder: PathBuf,
    },
    /// It is a data folder without its description.
    #[error(
        "{} is missing, but the folder holds a store; put it back from a backup, or from a folder of the same model", path.display()
    )]
    FindDescription {
        /// The description.
        path: PathBuf,
    },
    /// Its description is damaged.
    #[error("{} is damaged: {source}; restore it from a backup", path.display())]
    Parse {
        /// The description.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It was written by a newer version.
    #[error("{} has layout {found}, this version reads {FOLDER_FORMAT}; use the version that wrote it", folder.display())]
    CheckFormat {
        /// The folder.
        folder: PathBuf,
        /// Its layout.
        found: u32,
    },
    /// It holds vectors of another model.
    #[error("{} holds vectors of {}; {}, or choose another folder with --data", folder.display(), name_models(stored, stored_digest, model, digest), advise_model(stored, model))]
    CheckModel {
        /// The folder.
        folder: PathBuf,
        /// Model it was made with.
        stored: String,
        /// Digest of that model.
        stored_digest: String,
        /// Model asked for.
        model: String,
        /// Digest of that model.
        digest: String,
    },
}

/// Two models that differ; where the names are equal, what differs is in their files.
fn name_models(stored: &str, stored_digest: &str, model: &str, digest: &str) -> String {
    if stored == model {
        return format!(
            "another version of the model {stored}: its files (weights, preparation of images) had the digest {stored_digest} \
             and have the digest {digest} now"
        );
    }
    format!("model {stored} (digest {stored_digest}), not of {model} (digest {digest})")
}

/// Which model to name instead.
fn advise_model(stored: &str, model: &str) -> String {
    if stored == model {
        return "name a folder with the files of that version with --model FOLDER".to_owned();
    }
    // A model in a folder of its own has no name that --model takes.
    format!("leave --model (MEDINDEX_MODEL) out to use {stored}")
}

/// What a folder says about itself; `None` when it is new (absent, or empty but for hidden files).
///
/// # Errors
/// [`FolderError`] when it has other things in it, cannot be read, or is of a newer version.
pub fn describe_folder(folder: &Path) -> Result<Option<FolderDescription>, FolderError> {
    let path = folder.join(FOLDER_FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return check_new(folder).map(|()| None),
        Err(source) => return Err(FolderError::Read { path, source }),
    };
    let description: FolderDescription =
        serde_json::from_slice(&text).map_err(|source| FolderError::Parse { path, source })?;
    if description.format != FOLDER_FORMAT {
        return Err(FolderError::CheckFormat { folder: folder.to_owned(), found: description.format });
    }
    Ok(Some(description))
}

fn check_new(folder: &Path) -> Result<(), FolderError> {
    let read = |source| FolderError::Read { path: folder.to_owned(), source };
    if folder.join(STORE_FILE).try_exists().map_err(read)? {
        return Err(FolderError::FindDescription { path: folder.join(FOLDER_FILE) });
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(read(source)),
    };
    for entry in entries {
        let name = entry.map_err(read)?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            return Err(FolderError::Recognise { folder: folder.to_owned() });
        }
    }
    Ok(())
}

/// Makes a new data folder, or checks that an existing one fits; returns what it says.
///
/// # Errors
/// [`FolderError`].
pub(crate) fn prepare_folder(
    folder: &Path,
    wanted: FolderDescription,
) -> Result<FolderDescription, FolderError> {
    match describe_folder(folder)? {
        Some(stored) if stored.model_digest == wanted.model_digest => Ok(stored),
        Some(stored) => Err(FolderError::CheckModel {
            folder: folder.to_owned(),
            stored: stored.model,
            stored_digest: stored.model_digest,
            model: wanted.model,
            digest: wanted.model_digest,
        }),
        None => {
            create_private(folder)
                .map_err(|source| FolderError::Create { folder: folder.to_owned(), source })?;
            write_description(folder, &wanted)?;
            Ok(wanted)
        }
    }
}

/// Creates a folder that only its owner may look into, because images and patients' ids will lie there. One that is there keeps its mode.
fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn write_description(folder: &Path, description: &FolderDescription) -> Result<(), FolderError> {
    let path = folder.join(FOLDER_FILE);
    let temporary = folder.join(format!(".{FOLDER_FILE}.{}", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(description)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|source| FolderError::Write { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(digest: &str) -> FolderDescription {
        FolderDescription {
            format: FOLDER_FORMAT,
            model: "lite".into(),
            model_digest: digest.into(),
            partitions: 9,
        }
    }

    #[test]
    fn a_folder_remembers_its_model_and_refuses_another() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(describe_folder(folder.path()).unwrap(), None);
        prepare_folder(folder.path(), description("a")).unwrap();
        assert_eq!(describe_folder(folder.path()).unwrap(), Some(description("a")));
        let refusal = prepare_folder(folder.path(), description("b")).unwrap_err();
        assert!(matches!(refusal, FolderError::CheckModel { .. }));
        assert!(refusal.to_string().contains("--model FOLDER"), "{refusal}");
        assert!(refusal.to_string().contains("another version of the model lite"), "{refusal}");
        let other = FolderDescription { model: "vgg16".into(), ..description("b") };
        let refusal = prepare_folder(folder.path(), other).unwrap_err().to_string();
        assert!(refusal.contains("model lite (digest a), not of vgg16 (digest b)"), "{refusal}");
        assert!(
            refusal.ends_with(
                "; leave --model (MEDINDEX_MODEL) out to use lite, or choose another folder with --data"
            ),
            "{refusal}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_new_folder_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("new");
        create_private(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_with_other_things_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("holiday.jpg"), b"x").unwrap();
        let refusal = prepare_folder(folder.path(), description("a")).unwrap_err();
        assert!(matches!(refusal, FolderError::Recognise { .. }));
        assert!(!folder.path().join(FOLDER_FILE).exists());
    }

    #[test]
    fn damaged_and_newer_descriptions_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FOLDER_FILE);
        fs::write(&path, b"{").unwrap();
        assert!(matches!(describe_folder(folder.path()), Err(FolderError::Parse { .. })));
        let newer = FolderDescription { format: 99, ..description("a") };
        fs::write(&path, serde_json::to_vec(&newer).unwrap()).unwrap();
        assert!(matches!(describe_folder(folder.path()), Err(FolderError::CheckFormat { found: 99, .. })));
    }
}
