//! From the paths on the command line to the files to import.
//!
//! A folder is walked in the order of its names; hidden files and folders are left out, links are not followed. What cannot be read
//! becomes a failed item with the reason; the rest goes on. A path that matches nothing at all is an error before anything starts.

use std::path::Path;

use medindex_imaging::Limits;
use walkdir::{DirEntry, WalkDir};

use crate::error::SourceError;
use crate::{Candidate, Source, archive, deep_lesion, describe, describe_io, dicomdir, pattern};

/// The files that `paths` mean, in order.
///
/// # Errors
/// [`SourceError`]: a path is empty, is not there or may not be read, a glob matches nothing, there is no file at all, or an archive, a DICOM directory
/// or a data set's table cannot be used.
pub fn expand(paths: &[String], limits: &Limits) -> Result<Vec<Candidate>, SourceError> {
    let mut candidates = Vec::new();
    for text in paths {
        if text.is_empty() {
            return Err(SourceError::CheckPath);
        }
        // A path that exists is taken as it is, else it is a pattern.
        let path = Path::new(text);
        if std::fs::symlink_metadata(path).is_ok() || !pattern::is_pattern(text) {
            expand_path(path, limits, &mut candidates)?;
            continue;
        }
        for path in pattern::matches(text)? {
            // Among many that a pattern matched, one that cannot be read does not stop the others.
            if let Err(failure) = expand_path(&path, limits, &mut candidates) {
                candidates.push(Candidate::broken(file_name(&path), failure.to_string()));
            }
        }
    }
    if candidates.is_empty() {
        return Err(SourceError::FindFiles(paths.join(", ")));
    }
    Ok(candidates)
}

fn expand_path(path: &Path, limits: &Limits, into: &mut Vec<Candidate>) -> Result<(), SourceError> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if metadata.is_dir() {
        return match deep_lesion::table_in(path) {
            Some(table) => {
                into.extend(deep_lesion::list(&table)?);
                Ok(())
            }
            None => walk(path, into),
        };
    }
    if !metadata.is_file() {
        return Err(SourceError::CheckKind(path.to_owned()));
    }
    let head = match crate::items::read_head(path) {
        Ok(head) => head,
        Err(error) => {
            into.push(Candidate::broken(file_name(path), format!("cannot read: {}", describe_io(&error))));
            return Ok(());
        }
    };
    if archive::is_archive(&head) {
        into.extend(archive::list(path, limits)?);
    } else if dicomdir::is_directory(&head) {
        into.extend(dicomdir::list(path)?);
    } else if deep_lesion::is_table(path, &head) {
        into.extend(deep_lesion::list(path)?);
    } else {
        into.push(Candidate { name: file_name(path), source: Source::File(path.to_owned()), explicit: true });
    }
    Ok(())
}

fn walk(root: &Path, into: &mut Vec<Candidate>) -> Result<(), SourceError> {
    // The folder itself must be readable; one further down that is not is listed as failed.
    std::fs::read_dir(root).map_err(|error| unreadable(root, &error))?;
    let visible = |entry: &DirEntry| entry.depth() == 0 || !is_hidden(entry);
    for entry in WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(visible) {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {}
            Ok(entry) if points_to_file(&entry) => into.push(Candidate {
                name: relative_name(root, entry.path()),
                source: Source::File(entry.path().to_owned()),
                explicit: false,
            }),
            Ok(entry) => into.push(Candidate {
                name: relative_name(root, entry.path()),
                source: Source::NoFile(what_it_is(&entry)),
                explicit: false,
            }),
            Err(error) => {
                let name =
                    error.path().map_or_else(|| root.display().to_string(), |path| relative_name(root, path));
                let reason = error.io_error().map_or_else(|| describe(&error), describe_io);
                into.push(Candidate::broken(name, format!("cannot read: {reason}")));
            }
        }
    }
    Ok(())
}

fn points_to_file(entry: &DirEntry) -> bool {
    entry.file_type().is_file()
        || (entry.path_is_symlink() && std::fs::metadata(entry.path()).is_ok_and(|m| m.is_file()))
}

/// Why something found in a folder, neither file nor folder, is not imported.
fn what_it_is(entry: &DirEntry) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    let kind = match std::fs::metadata(entry.path()) {
        Ok(target) if target.is_dir() => return "a link to a folder; name the folder as PATH to import it",
        Ok(target) => target.file_type(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return "a link to nothing",
        Err(_) => return "a link that cannot be followed",
    };
    if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with('.')
}

fn relative_name(root: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path);
    if relative.as_os_str().is_empty() { file_name(path) } else { relative.to_string_lossy().into_owned() }
}

/// Last part of a path, as a name in the catalog.
pub fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// A path given on the command line that cannot be read: not found, or refused by its permissions.
pub fn unreadable(path: &Path, error: &std::io::Error) -> SourceError {
    SourceError::unreadable(path, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SourceErrorKind;

    fn names(candidates: &[Candidate]) -> Vec<&str> {
        candidates.iter().map(|candidate| candidate.name.as_str()).collect()
    }

    fn example() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b/2.png", "b/1.png", "a.png", ".hidden/x.png", "b/.hidden.png"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        folder
    }

    #[test]
    fn folders_are_walked_in_order_without_hidden_files() {
        let folder = example();
        let found = expand(&[folder.path().display().to_string()], &Limits::default()).unwrap();
        assert_eq!(names(&found), ["a.png", "b/1.png", "b/2.png"]);
    }

    #[test]
    fn globs_are_expanded_when_the_shell_did_not() {
        let folder = example();
        let pattern = format!("{}/b/*.png", folder.path().display());
        let found = expand(&[pattern], &Limits::default()).unwrap();
        assert_eq!(names(&found), ["1.png", "2.png"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_a_pattern_matches_and_cannot_be_read_does_not_stop_the_others() {
        let folder = example();
        std::os::unix::fs::symlink("loop", folder.path().join("loop")).unwrap();
        let pattern = format!("{}/*", folder.path().display());
        let found = expand(&[pattern], &Limits::default()).unwrap();
        assert_eq!(names(&found), ["a.png", "1.png", "2.png", "loop"]);
    }

    #[test]
    fn links_to_nothing_and_pipes_are_named_with_what_they_are() {
        let folder = example();
        std::os::unix::fs::symlink("gone", folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink("b", folder.path().join("shortcut")).unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let found = expand(&[folder.path().display().to_string()], &Limits::default()).unwrap();
        let no_files = found.iter().filter_map(|candidate| match candidate.source {
            Source::NoFile(reason) => Some((candidate.name.as_str(), reason)),
            _ => None,
        });
        assert_eq!(
            no_files.collect::<Vec<_>>(),
            [
                ("link", "a link to nothing"),
                ("pipe", "a pipe"),
                ("shortcut", "a link to a folder; name the folder as PATH to import it")
            ]
        );
    }

    #[test]
    fn an_empty_path_is_refused_by_name() {
        assert_eq!(expand(&[String::new()], &Limits::default()).unwrap_err().kind(), SourceErrorKind::Usage);
    }

    #[test]
    fn a_pattern_without_a_match_is_not_found() {
        let folder = example();
        let pattern = format!("{}/*.dcm", folder.path().display());
        assert_eq!(expand(&[pattern], &Limits::default()).unwrap_err().kind(), SourceErrorKind::NotFound);
    }

    #[test]
    fn an_empty_folder_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().display().to_string()];
        assert_eq!(expand(&paths, &Limits::default()).unwrap_err().kind(), SourceErrorKind::NotFound);
    }

    #[test]
    fn a_missing_path_is_not_found() {
        let paths = ["/nowhere/at/all".to_owned()];
        assert_eq!(expand(&paths, &Limits::default()).unwrap_err().kind(), SourceErrorKind::NotFound);
    }
}
