//! DICOM directories (PS3.3 annex F): the files that a DICOMDIR lists.
//!
//! Only the Referenced File ID (0004,1500) of each directory record is read. File ids are upper case by the standard, while media copied
//! to disk often are not: each component is looked up without regard to case when the exact name is missing, and then with the
//! extension `.dcm` added. A listed file that is missing becomes a failed item.

use std::path::{Path, PathBuf};

use dicom_core::Tag;

use crate::error::SourceError;
use crate::{Candidate, Source, describe};

/// Media Storage Directory Storage: the SOP class of a DICOMDIR.
const DIRECTORY_CLASS: &[u8] = b"1.2.840.10008.1.3.10";
/// Directory Record Sequence.
const RECORDS: Tag = Tag(0x0004, 0x1220);
/// Referenced File ID.
const REFERENCED_FILE: Tag = Tag(0x0004, 0x1500);
/// Directory Record Type.
const RECORD_TYPE: Tag = Tag(0x0004, 0x1430);

/// Whether a file that begins with `head` is a DICOM directory: its meta header names the class.
pub(crate) fn is_directory(head: &[u8]) -> bool {
    if head.get(128..132) != Some(b"DICM") {
        return false;
    }
    let meta = &head[132..head.len().min(132 + 1024)];
    meta.windows(DIRECTORY_CLASS.len() + 1).any(|bytes| {
        // The UID must end there: 1.2.840.10008.1.3.10 followed by padding or the next element, not by a digit.
        bytes.starts_with(DIRECTORY_CLASS) && !matches!(bytes[DIRECTORY_CLASS.len()], b'0'..=b'9' | b'.')
    })
}

/// The files that the directory at `path` lists, each once, in its order.
///
/// # Errors
/// [`SourceError::ReadDirectory`] when the directory cannot be parsed or lists no file.
pub(crate) fn list(path: &Path) -> Result<Vec<Candidate>, SourceError> {
    let refuse = |reason: String| SourceError::ReadDirectory { path: path.to_owned(), reason };
    let damaged = |error: &dyn std::error::Error| {
        let cause = describe(error);
        refuse(format!("ends early or is damaged; copy it again, or import its folder instead ({cause})"))
    };
    let object = dicom_object::open_file(path).map_err(|error| damaged(&error))?;
    let records = object.element_opt(RECORDS).map_err(|error| damaged(&error))?;
    let items = records.and_then(|element| element.items()).unwrap_or_default();
    let root = path.parent().unwrap_or(Path::new("."));
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for item in items {
        let Some(components) = text_components(item, REFERENCED_FILE) else { continue };
        let name = components.join("/");
        if name.is_empty() || !seen.insert(name.clone()) || is_no_image(item) {
            continue;
        }
        candidates.push(candidate(root, name, &components));
    }
    if candidates.is_empty() {
        return Err(refuse("lists no images; import its folder instead".to_owned()));
    }
    Ok(candidates)
}

fn candidate(root: &Path, name: String, components: &[String]) -> Candidate {
    if components.iter().any(|part| part == ".." || part.contains('/')) {
        let reason = "the DICOM directory refers outside its folder; import the file by its own path";
        return Candidate::broken(name, reason);
    }
    if let Some(file) = find(root, components) {
        return Candidate { name, source: Source::File(file), explicit: true };
    }
    Candidate::broken(
        name,
        "listed in the DICOM directory, but the file is missing; copy the whole medium again",
    )
}

/// Records that refer to files without pixels, such as reports and plans.
fn is_no_image(item: &dicom_object::InMemDicomObject) -> bool {
    let kind = text_components(item, RECORD_TYPE).and_then(|parts| parts.into_iter().next());
    kind.is_some_and(|kind| {
        [
            "SR DOCUMENT",
            "PRESENTATION",
            "KEY OBJECT DOC",
            "RT PLAN",
            "RT STRUCTURE SET",
            "WAVEFORM",
            "ENCAP DOC",
        ]
        .contains(&kind.as_str())
    })
}

fn text_components(item: &dicom_object::InMemDicomObject, tag: Tag) -> Option<Vec<String>> {
    let element = item.element_opt(tag).ok()??;
    let text = element.value().to_multi_str().ok()?;
    Some(text.iter().map(|part| part.trim_matches(['\0', ' ']).to_owned()).collect())
}

/// The file under `root` that the components name.
fn find(root: &Path, components: &[String]) -> Option<PathBuf> {
    let mut path = root.to_owned();
    for (position, component) in components.iter().enumerate() {
        let last = position + 1 == components.len();
        let exact = path.join(component);
        path = if exact.exists() { exact } else { find_in(&path, component, last)? };
    }
    path.is_file().then_some(path)
}

fn find_in(folder: &Path, name: &str, last: bool) -> Option<PathBuf> {
    let with_extension = format!("{name}.dcm");
    let matches = |found: &str| {
        found.eq_ignore_ascii_case(name) || (last && found.eq_ignore_ascii_case(&with_extension))
    };
    std::fs::read_dir(folder)
        .ok()?
        .filter_map(Result::ok)
        .find(|entry| matches(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(class: &[u8]) -> Vec<u8> {
        let mut head = vec![0; 128];
        head.extend_from_slice(b"DICM\x02\x00\x02\x00UI\x14\x00");
        head.extend_from_slice(class);
        head.extend_from_slice(b"\x02\x00\x03\x00");
        head
    }

    #[test]
    fn a_directory_is_known_by_its_class() {
        assert!(is_directory(&head(b"1.2.840.10008.1.3.10")));
        assert!(!is_directory(&head(b"1.2.840.10008.5.1.4.1.1.2")));
        assert!(!is_directory(b"1.2.840.10008.1.3.10"));
    }

    #[test]
    fn names_are_found_whatever_their_case() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("series")).unwrap();
        std::fs::write(folder.path().join("series/im1.dcm"), "x").unwrap();
        let components = ["SERIES".to_owned(), "IM1".to_owned()];
        assert_eq!(find(folder.path(), &components), Some(folder.path().join("series/im1.dcm")));
        assert_eq!(find(folder.path(), &["SERIES".to_owned(), "IM2".to_owned()]), None);
    }

    #[test]
    fn references_outside_the_folder_fail() {
        let found = candidate(Path::new("/tmp"), "../x".to_owned(), &["..".to_owned(), "x".to_owned()]);
        assert!(matches!(found.source, Source::Broken(_)));
    }
}
