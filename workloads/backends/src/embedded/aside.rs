//! Setting damaged files aside: under another name in the same folder, never removed.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::database::sync_folder;

/// Renames `path`, and what belongs to it under the same name with one of `suffixes`, to the first free name that says damaged; returns it.
pub(super) fn set_aside(path: &Path, suffixes: &[&str]) -> io::Result<PathBuf> {
    let mut kept = with_suffix(path, ".damaged");
    let mut number = 1;
    while kept.try_exists()? {
        number += 1;
        kept = with_suffix(path, &format!(".damaged-{number}"));
    }
    std::fs::rename(path, &kept)?;
    for suffix in suffixes {
        match std::fs::rename(with_suffix(path, suffix), with_suffix(&kept, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    sync_folder(path)?;
    Ok(kept)
}

/// A path with something more at its end.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_set_aside_before_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        for number in 0..3 {
            std::fs::write(&path, [number]).unwrap();
            std::fs::write(with_suffix(&path, "-wal"), [number]).unwrap();
            let kept = set_aside(&path, &["-wal", "-shm"]).unwrap();
            assert_eq!(std::fs::read(&kept).unwrap(), [number]);
            assert_eq!(std::fs::read(with_suffix(&kept, "-wal")).unwrap(), [number]);
            assert!(!path.exists());
        }
    }
}
