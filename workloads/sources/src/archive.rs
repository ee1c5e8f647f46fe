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
use zip::result::ZipError;

use crate::error::SourceError;
use crate::items::over_limit;
use crate::{Candidate, Source, describe_io};

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
/// [`SourceError`] when the archive is cut, damaged or of a kind that is not read, or would unpack beyond its limits.
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
            let size = format!("{} bytes unpacked", entry.size());
            candidates.push(Candidate::broken(name, over_limit(&size, limits.max_file_bytes)));
        } else {
            let source = Source::Entry { archive: path.to_owned(), index };
            candidates.push(Candidate { name, source, explicit: false });
        }
    }
    Ok(candidates)
}

/// Reads an entry whole, at most `limits.max_file_bytes`; the checksum is verified by reading to the end.
pub(crate) fn read(archive: &mut Archive, index: usize, limits: &Limits) -> Result<Vec<u8>, String> {
    let unpack = |reason: String| format!("cannot unpack: it {reason}");
    let entry = archive.by_index(index).map_err(|error| unpack(why(&error)))?;
    let declared = entry.size();
    let bound = declared.min(limits.max_file_bytes);
    let mut bytes = Vec::new();
    entry.take(bound + 1).read_to_end(&mut bytes).map_err(|error| unpack(why_io(&error)))?;
    if bytes.len() as u64 > bound {
        return Err(format!("unpacks to more than the {bound} bytes it declares or may have; pack it again"));
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

fn damaged(path: &Path, error: &ZipError) -> SourceError {
    SourceError::OpenArchive { path: path.to_owned(), reason: why(error) }
}

/// What is wrong with an archive or an entry of it and what to do, in words that follow its name.
fn why(error: &ZipError) -> String {
    const INSTEAD: &str = "unpack it yourself, and import the folder";
    match error {
        ZipError::Io(cause) => why_io(cause),
        ZipError::InvalidArchive(detail) => {
            format!("ends early or is damaged; copy the archive again, or pack it again ({detail})")
        }
        ZipError::InvalidPassword | ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => {
            format!("is encrypted; {INSTEAD}")
        }
        ZipError::UnsupportedArchive(detail) => {
            format!("is of a kind that is not read ({detail}); {INSTEAD}")
        }
        ZipError::CompressionMethodNotSupported(method) => {
            format!("is compressed by {}, which is not read; {INSTEAD}", method_name(*method))
        }
        other => format!("cannot be read ({other}); {INSTEAD}"),
    }
}

/// As [`why`], of what reading gave.
fn why_io(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<ZipError>()) {
        return why(inner);
    }
    match error.kind() {
        ErrorKind::UnexpectedEof => "ends early; copy the archive again".to_owned(),
        ErrorKind::InvalidData | ErrorKind::InvalidInput => {
            format!("is damaged; copy the archive again, or pack it again ({})", describe_io(error))
        }
        _ => format!("cannot be read: {}", describe_io(error)),
    }
}

/// A compression method that is not read (APPNOTE.TXT of PKWARE, 4.4.5).
fn method_name(method: u16) -> String {
    let name = match method {
        6 => "Implode",
        9 => "Deflate64",
        12 => "bzip2",
        14 => "LZMA",
        93 => "Zstandard",
        95 => "XZ",
        98 => "PPMd",
        _ => return format!("method {method}"),
    };
    name.to_owned()
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

    use zip::CompressionMethod;
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
    fn a_damaged_archive_is_refused_with_what_to_do() {
        let whole = std::fs::read(write(&[("a.png", b"one"), ("b.png", b"two")]).path()).unwrap();
        let cut = &whole[..whole.len() / 2];
        for bytes in [&b"PK\x03\x04 and nothing else"[..], cut] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            let failure = list(file.path(), &Limits::default()).unwrap_err();
            assert!(matches!(failure, SourceError::OpenArchive { .. }), "{failure}");
            assert!(failure.to_string().contains("copy the archive again"), "{failure}");
        }
    }

    /// An archive of one entry that is stored as it is, changed afterwards.
    fn changed(change: impl Fn(&mut Vec<u8>)) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut archive = zip::ZipWriter::new(file.reopen().unwrap());
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        archive.start_file("a.png", stored).unwrap();
        archive.write_all(b"some pixels").unwrap();
        archive.finish().unwrap();
        let mut bytes = std::fs::read(file.path()).unwrap();
        change(&mut bytes);
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    fn place_of(bytes: &[u8], part: &[u8]) -> usize {
        bytes.windows(part.len()).position(|window| window == part).unwrap()
    }

    #[test]
    fn an_entry_whose_bytes_changed_is_told_as_damaged() {
        let file = changed(|bytes| {
            let at = place_of(bytes, b"pixels");
            bytes[at] ^= 1;
        });
        let mut archive = open(file.path()).unwrap();
        let reason = read(&mut archive, 0, &Limits::default()).unwrap_err();
        assert!(reason.starts_with("cannot unpack: it is damaged; copy the archive again"), "{reason}");
    }

    #[test]
    fn an_entry_of_a_compression_that_is_not_read_is_told_with_its_name() {
        let file = changed(|bytes| {
            // The method in the entry's own header, and in the central directory.
            bytes[8] = 12;
            let directory = place_of(bytes, b"PK\x01\x02");
            bytes[directory + 10] = 12;
        });
        let mut archive = open(file.path()).unwrap();
        let reason = read(&mut archive, 0, &Limits::default()).unwrap_err();
        assert!(reason.contains("bzip2") && reason.contains("unpack it yourself"), "{reason}");
    }
}
