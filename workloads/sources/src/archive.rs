//! Zip archives: their entries as files, within limits that a zip bomb cannot pass.
//!
//! Checked before an entry is read: entries do not share bytes (a bomb's quine trick), there are at most [`MAX_ENTRIES`], and together they
//! declare at most [`MAX_RATIO`] times the archive's own size. While reading, an entry that grows over the file limit or
//! over its declared size is cut off and fails. Archives inside archives are not opened.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use medindex_imaging::Limits;
use zip::ZipArchive;

use crate::error::SourceError;
use crate::{Candidate, Source, describe};

/// Entries of one archive at the most.
const MAX_ENTRIES: usize = 2_000_000;
/// Declared size of all entries together over the archive's size, at the most. Medical images rarely shrink to less than a tenth.
const MAX_RATIO: u64 = 200;
/// Archives that unpack to less than this are harmless whatever their ratio.
const HARMLESS_BYTES: u64 = 64 << 20;

/// An open archive.
pub(crate) type Archive = ZipArchive<BufReader<File>>;

/// Whether a file that begins with `head` is a zip archive.
pub(crate) fn is_archive(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

/// Opens an archive.
pub(crate) fn open(path: &Path) -> Result<Archive, SourceError> {
    let file = File::open(path).map_err(|error| SourceError::unreadable(path, &error))?;
    ZipArchive::new(BufReader::new(file)).map_err(|error| damaged(path, &error))
}

/// The files in an archive. Folders and hidden files are left out as they are in a folder on disk; links are passed over with that reason; what
/// is encrypted, too large, or named so that it leads out of the archive fails.
///
/// # Errors
/// [`SourceError`] when the archive is damaged or would unpack beyond its limits.
pub(crate) fn list(path: &Path, limits: &Limits) -> Result<Vec<Candidate>, SourceError> {
    let mut archive = open(path)?;
    refuse_bombs(path, &mut archive)?;
    let mut candidates = hidden_by_name(path, &archive)?;
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index).map_err(|error| damaged(path, &error))?;
        let name = entry.name().map_err(|error| damaged(path, &error))?.into_owned();
        if entry.is_dir() {
            continue;
        }
        let name = match place(&name) {
            Place::Hidden => continue,
            Place::Outside => {
                let reason =
                    "its name leads out of the archive; pack it again with relative names without \"..\"";
                candidates.push(Candidate::broken(name, reason));
                continue;
            }
            Place::Inside(name) => name,
        };
        if entry.is_symlink() {
            let source = Source::NoFile("a link in the archive; pack the file that it points to");
            candidates.push(Candidate { name, source, explicit: false });
        } else if entry.encrypted() {
            candidates.push(Candidate::broken(name, "encrypted in the archive; unpack it first"));
        } else if entry.size() > limits.max_file_bytes {
            let reason = format!("{} bytes unpacked, the limit is {}", entry.size(), limits.max_file_bytes);
            candidates.push(Candidate::broken(name, reason));
        } else {
            let source = Source::Entry { archive: path.to_owned(), index };
            candidates.push(Candidate { name, source, explicit: false });
        }
    }
    Ok(candidates)
}

/// Reads an entry whole, at most `limits.max_file_bytes`; the checksum is verified by reading to the end.
pub(crate) fn read(archive: &mut Archive, index: usize, limits: &Limits) -> Result<Vec<u8>, String> {
    let unpack = |error: &dyn std::error::Error| format!("cannot unpack: {}", describe(error));
    let entry = archive.by_index(index).map_err(|error| unpack(&error))?;
    let declared = entry.size();
    let bound = declared.min(limits.max_file_bytes);
    let mut bytes = Vec::new();
    entry.take(bound + 1).read_to_end(&mut bytes).map_err(|error| unpack(&error))?;
    if bytes.len() as u64 > bound {
        return Err(format!("unpacks to more than the {bound} bytes it declares or may have"));
    }
    Ok(bytes)
}

/// Entries that cannot be read because a later one has their name: each fails, so that none is left out unseen.
fn hidden_by_name(path: &Path, archive: &Archive) -> Result<Vec<Candidate>, SourceError> {
    if !archive.has_duplicate_names() {
        return Ok(Vec::new());
    }
    let unreadable = |error: std::io::Error| SourceError::unreadable(path, &error);
    let mut directory = BufReader::new(File::open(path).map_err(unreadable)?);
    directory.seek(SeekFrom::Start(archive.central_directory_start())).map_err(unreadable)?;
    let mut seen: HashMap<String, usize> = HashMap::new();
    while let Some(name) = next_name(&mut directory).map_err(unreadable)? {
        *seen.entry(name).or_default() += 1;
    }
    let mut hidden: Vec<(String, usize)> = seen.into_iter().filter(|(_, count)| *count > 1).collect();
    hidden.sort();
    let candidates = hidden.into_iter().flat_map(|(name, count)| {
        let reason = format!("{count} entries of the archive have this name and only the last can be read; give each a name of its own");
        std::iter::repeat_n(Candidate::broken(name, reason), count - 1)
    });
    Ok(candidates.collect())
}

/// The name of the next entry of a central directory (APPNOTE.TXT of PKWARE, 4.3.12); `None` after the last.
fn next_name(directory: &mut BufReader<File>) -> std::io::Result<Option<String>> {
    let mut signature = [0; 4];
    directory.read_exact(&mut signature)?;
    if signature != *b"PK\x01\x02" {
        return Ok(None);
    }
    let mut header = [0; 42];
    directory.read_exact(&mut header)?;
    let length = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let mut name = vec![0; usize::from(length(24))];
    directory.read_exact(&mut name)?;
    directory.seek_relative(i64::from(length(26)) + i64::from(length(28)))?;
    Ok(Some(String::from_utf8_lossy(&name).into_owned()))
}

fn refuse_bombs(path: &Path, archive: &mut Archive) -> Result<(), SourceError> {
    let refuse = |reason: String| Err(SourceError::CheckArchive { path: path.to_owned(), reason });
    if archive.len() > MAX_ENTRIES {
        return refuse(format!("it has {} entries, more than {MAX_ENTRIES}", archive.len()));
    }
    if archive.has_overlapping_files().map_err(|error| damaged(path, &error))? {
        return refuse("its entries share bytes, as in a zip bomb".to_owned());
    }
    let mut declared = 0_u64;
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index).map_err(|error| damaged(path, &error))?;
        declared = declared.saturating_add(entry.size());
    }
    let packed = std::fs::metadata(path).map_err(|error| SourceError::unreadable(path, &error))?.len();
    if declared > HARMLESS_BYTES && declared / packed.max(1) > MAX_RATIO {
        return refuse(format!("{packed} bytes would unpack to {declared}, as in a zip bomb"));
    }
    Ok(())
}

fn damaged(path: &Path, error: &zip::result::ZipError) -> SourceError {
    SourceError::OpenArchive { path: path.to_owned(), reason: error.to_string() }
}

/// Where an entry's name leads.
#[derive(Debug, PartialEq)]
enum Place {
    /// To a file under the archive, by this name without parts that mean nothing.
    Inside(String),
    /// To a hidden file, or one that macOS adds.
    Hidden,
    /// To a file outside: an absolute path, a drive, or a way up.
    Outside,
}

fn place(name: &str) -> Place {
    let separators = ['/', '\\'];
    let has_drive = name.as_bytes().get(1) == Some(&b':') && name.as_bytes()[0].is_ascii_alphabetic();
    let parts: Vec<&str> = name.split(separators).filter(|part| *part != ".").collect();
    if name.starts_with(separators) || has_drive || parts.contains(&"..") {
        Place::Outside
    } else if parts.iter().any(|part| part.starts_with('.') || *part == "__MACOSX") {
        Place::Hidden
    } else {
        Place::Inside(parts.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::write::SimpleFileOptions;

    use super::*;

    fn write(files: &[(&str, &[u8])]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut archive = zip::ZipWriter::new(file.reopen().unwrap());
        for (name, bytes) in files {
            archive.start_file(*name, SimpleFileOptions::default()).unwrap();
            archive.write_all(bytes).unwrap();
        }
        archive.finish().unwrap();
        file
    }

    #[test]
    fn entries_are_listed_and_read() {
        let file = write(&[("a/1.png", b"one"), (".hidden/2.png", b"two"), ("__MACOSX/x", b"three")]);
        let found = list(file.path(), &Limits::default()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "a/1.png");
        let mut archive = open(file.path()).unwrap();
        assert_eq!(read(&mut archive, 0, &Limits::default()).unwrap(), b"one");
    }

    #[test]
    fn an_entry_below_the_present_folder_is_a_file_like_any_other() {
        let file = write(&[("./a.png", b"one"), ("b/./c.png", b"two"), ("./.hidden", b"three")]);
        let found = list(file.path(), &Limits::default()).unwrap();
        let names: Vec<&str> = found.iter().map(|candidate| candidate.name.as_str()).collect();
        assert_eq!(names, ["a.png", "b/c.png"]);
        assert!(found.iter().all(|candidate| matches!(candidate.source, Source::Entry { .. })));
    }

    #[test]
    fn an_entry_that_leads_out_of_the_archive_fails_by_its_name() {
        for name in
            ["../a.png", "a/../../b.png", "/etc/a.png", "C:\\a.png", "\\\\server\\a.png", "a\\..\\b.png"]
        {
            let file = write(&[(name, b"one")]);
            let found = list(file.path(), &Limits::default()).unwrap();
            assert_eq!(found[0].name, name);
            assert!(
                matches!(&found[0].source, Source::Broken(reason) if reason.contains("out of the archive")),
                "{name}"
            );
        }
    }

    #[test]
    fn a_link_is_passed_over_with_that_reason() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut archive = zip::ZipWriter::new(file.reopen().unwrap());
        archive.add_symlink("link.png", "/etc/passwd", SimpleFileOptions::default()).unwrap();
        archive.finish().unwrap();
        let found = list(file.path(), &Limits::default()).unwrap();
        assert_eq!(found.len(), 1);
        assert!(matches!(found[0].source, Source::NoFile(reason) if reason.contains("link")));
    }

    #[test]
    fn entries_of_one_name_fail_but_for_the_last_one() {
        // Written under two names of one length, and renamed in place.
        let file = write(&[("a/1.png", b"one"), ("a/2.png", b"two"), ("b.png", b"three")]);
        let mut bytes = std::fs::read(file.path()).unwrap();
        while let Some(at) = bytes.windows(7).position(|name| name == b"a/2.png") {
            bytes[at + 2] = b'1';
        }
        std::fs::write(file.path(), bytes).unwrap();
        let found = list(file.path(), &Limits::default()).unwrap();
        let broken: Vec<&Candidate> =
            found.iter().filter(|candidate| matches!(candidate.source, Source::Broken(_))).collect();
        assert_eq!(broken.len(), 1);
        assert_eq!(broken[0].name, "a/1.png");
        assert!(matches!(&broken[0].source, Source::Broken(reason) if reason.contains("2 entries")));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn a_zip_bomb_is_refused_before_it_is_unpacked() {
        let zeros = vec![0_u8; 128 << 20];
        let file = write(&[("bomb.dcm", &zeros)]);
        let failure = list(file.path(), &Limits::default()).unwrap_err();
        assert!(matches!(failure, SourceError::CheckArchive { .. }), "{failure}");
        assert!(failure.to_string().contains("zip bomb"), "{failure}");
    }

    #[test]
    fn an_entry_over_the_file_limit_fails_alone() {
        let file = write(&[("large.png", &[7; 100]), ("small.png", &[7; 10])]);
        let limits = Limits { max_file_bytes: 50, ..Limits::default() };
        let found = list(file.path(), &limits).unwrap();
        assert!(matches!(&found[0].source, Source::Broken(reason) if reason.contains("limit is 50")));
        assert!(matches!(found[1].source, Source::Entry { .. }));
    }

    #[test]
    fn a_damaged_archive_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"PK\x03\x04 and nothing else").unwrap();
        let failure = list(file.path(), &Limits::default()).unwrap_err();
        assert!(matches!(failure, SourceError::OpenArchive { .. }), "{failure}");
    }
}
