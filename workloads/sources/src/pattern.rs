//! Patterns that a shell left as they are: `*`, `?`, `[…]`, `{…}`, and `**` for any folders.
//!
//! As in a shell, a star does not match hidden files, and names need not be UTF-8. What cannot be listed is among the matches, so that
//! reading it says why.

use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use walkdir::WalkDir;

use crate::error::SourceError;

const META: [char; 4] = ['*', '?', '[', '{'];

/// Whether `text` has characters that mean something in a pattern.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(META)
}

/// The paths that `pattern` matches, in the order of their names.
///
/// # Errors
/// [`SourceError::ParsePattern`] when it is no pattern, [`SourceError::MatchPattern`] when nothing matches.
pub(crate) fn matches(pattern: &str) -> Result<Vec<PathBuf>, SourceError> {
    let matcher = compile(pattern)?;
    let (base, rest) = split(Path::new(pattern));
    // Without `**` nothing lies deeper than the pattern has parts.
    let depth = if pattern.contains("**") { usize::MAX } else { rest.components().count() };
    let hidden = rest.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."));
    let start = if base.as_os_str().is_empty() { Path::new(".") } else { base.as_path() };
    let mut found = Vec::new();
    let entries = WalkDir::new(start).min_depth(1).max_depth(depth).sort_by_file_name().into_iter();
    let visible = |entry: &walkdir::DirEntry| {
        entry.depth() == 0 || hidden || !entry.file_name().as_encoded_bytes().starts_with(b".")
    };
    for entry in entries.filter_entry(visible) {
        let path = match &entry {
            Ok(entry) => entry.path(),
            Err(error) => error.path().unwrap_or(start),
        };
        let path = path.strip_prefix("./").unwrap_or(path);
        if matcher.is_match(path) {
            found.push(path.to_owned());
        }
    }
    // A folder that cannot be listed comes twice, once as itself and once as an error.
    found.dedup();
    if found.is_empty() {
        return Err(SourceError::MatchPattern(pattern.to_owned()));
    }
    Ok(found)
}

fn compile(pattern: &str) -> Result<GlobMatcher, SourceError> {
    let relative = pattern.strip_prefix("./").unwrap_or(pattern);
    GlobBuilder::new(relative).literal_separator(true).build().map(|glob| glob.compile_matcher()).map_err(
        |error| SourceError::ParsePattern { pattern: pattern.to_owned(), reason: error.kind().to_string() },
    )
}

/// The folder to begin in, and the part of the pattern below it.
fn split(pattern: &Path) -> (PathBuf, PathBuf) {
    let plain = |part: &Component| !part.as_os_str().to_string_lossy().contains(META);
    let base: PathBuf = pattern.components().take_while(plain).collect();
    let rest = pattern.components().skip_while(plain).collect();
    (base, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SourceErrorKind;

    fn example() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b/2.png", "b/1.png", "a.png", "b/c/3.png", ".hidden/x.png", "b/.hidden.png"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        folder
    }

    fn found(folder: &Path, pattern: &str) -> Vec<String> {
        let paths = matches(&format!("{}/{pattern}", folder.display())).unwrap();
        paths.iter().map(|path| path.strip_prefix(folder).unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_star_stays_in_its_folder_and_leaves_hidden_files_out() {
        let folder = example();
        assert_eq!(found(folder.path(), "b/*.png"), ["b/1.png", "b/2.png"]);
        assert_eq!(found(folder.path(), "*"), ["a.png", "b"]);
        assert_eq!(found(folder.path(), "*/?.png"), ["b/1.png", "b/2.png"]);
        assert_eq!(found(folder.path(), "b/.*.png"), ["b/.hidden.png"]);
    }

    #[test]
    fn two_stars_go_through_all_folders() {
        let folder = example();
        assert_eq!(found(folder.path(), "**/*.png"), ["a.png", "b/1.png", "b/2.png", "b/c/3.png"]);
    }

    #[test]
    fn a_folder_that_is_not_there_matches_nothing() {
        assert_eq!(matches("/nowhere/at/all/*.png").unwrap_err().kind(), SourceErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        let failure = matches("a[.png").unwrap_err();
        assert_eq!(failure.kind(), SourceErrorKind::NotFound);
        assert!(failure.to_string().contains("a[.png"), "{failure}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_not_utf8_do_no_harm() {
        use std::os::unix::ffi::OsStrExt;
        let folder = example();
        std::fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"bad\xff.png")), "x").unwrap();
        assert_eq!(matches(&format!("{}/*.png", folder.path().display())).unwrap().len(), 2);
        assert!(matches(&format!("{}/*.nomatch", folder.path().display())).is_err());
    }
}
