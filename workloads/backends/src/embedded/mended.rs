//! Opening a database file whose first page or whose end is damaged, with what can be known of them put right in memory.
//!
//! The first page of a redb file (format version 3) says where everything is: 64 bytes of header, then two commit slots of 128 bytes, the last
//! commit and the one before, each with a checksum of its own. Everything in the header can be known from elsewhere: what never changes
//! is written here as redb writes it, and the layout follows from the file's length. Which slot holds the last commit is tried. What cannot be put
//! right is a slot of which both copies are damaged. The file is never written to.

use std::io;
use std::path::Path;

use redb::{Builder, Database, ReadableDatabase as _, StorageBackend as _, StorageError};

use super::database::{Problem, discard, guard};
use super::overlay::Overlay;
use super::store::StoreOptions;
use super::tables::{LAYOUT_VERSION, layout_version};

/// What a header begins with that never changes: the magic number.
const MAGIC: [u8; 9] = [b'r', b'e', b'd', b'b', 0x1A, 0x0A, 0xA9, 0x0D, 0x0A];
/// Where the flags are.
const FLAGS_AT: usize = 9;
/// Flag: the second slot holds the last commit.
const SECOND_SLOT: u8 = 1;
/// Flag: the layout is to be made again from the file's length.
const RECOVER: u8 = 2;
/// Flag: the commit was written in two phases, so that its slot is to be trusted. All of ours are.
const TWO_PHASES: u8 = 4;
/// Where page size, pages of a region's header and pages of a region's data are: three `u32`.
const GEOMETRY_AT: usize = 12;
/// Where full regions and pages of the last region are: two `u32`.
const LAYOUT_AT: usize = 24;
/// Where the commit slots begin.
const SLOTS_AT: [usize; 2] = [64, 192];
/// Where in a slot the transaction's number is: a `u64`.
const TRANSACTION_AT: usize = 104;
/// What a slot begins with.
const FORMAT_VERSION: u8 = 3;

/// Bytes of a page.
const PAGE: u32 = 4096;
/// Pages of a region's header and of its data, as redb chooses them for every file.
const REGION: [u32; 2] = [0, 1 << 20];
/// How much longer than the file the layout may be: a wrong number there must not cost memory.
const MOST_MISSING: u64 = 1 << 30;

/// Opens a file as it is, without ever writing to it.
pub(super) fn open_unchanged(path: &Path, options: &StoreOptions) -> Result<Database, Problem> {
    let overlay = Overlay::open(path).map_err(StorageError::Io)?;
    // Of an empty file, redb would make a new database.
    if overlay.len().map_err(StorageError::Io)? == 0 {
        return Err(StorageError::Corrupted("the file is empty".into()).into());
    }
    open(overlay, options, Layout::Known)
}

/// Opens a file without ever writing to it. One that cannot be opened as it is is opened with its header and its length put right, with the later of its
/// two commits if that can be.
///
/// # Errors
/// As [`open_unchanged`].
pub(super) fn open_mended(path: &Path, options: &StoreOptions) -> Result<Database, Problem> {
    let first = match open_unchanged(path, options) {
        Err(problem) if problem.is_damage() => problem,
        outcome => return outcome,
    };
    for layout in [Layout::Known, Layout::Trusted] {
        for slot in slots(path).map_err(StorageError::Io)? {
            let mended = mended(path, slot).map_err(StorageError::Io)?;
            match open(mended, options, layout) {
                Ok(database) => {
                    tracing::warn!(problem = ?first, slot, "the header of the store is put right in memory");
                    return Ok(database);
                }
                Err(problem) if problem.is_damage() => {}
                Err(problem) => return Err(problem),
            }
        }
    }
    Err(first)
}

/// What of the layout of the store's tables must be known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Its version, and that it is one that is understood.
    Known,
    /// Nothing, where the version is damaged: everything else may be whole.
    Trusted,
}

fn open(overlay: Overlay, options: &StoreOptions, layout: Layout) -> Result<Database, Problem> {
    let database =
        guard(|| Ok(Builder::new().set_cache_size(options.cache_bytes).create_with_backend(overlay)?))?;
    let version = guard(|| Ok(layout_version(&database.begin_read()?)?));
    let refused = match version {
        Ok(version) if version > LAYOUT_VERSION => Problem::NewerLayout(version),
        Ok(_) => return Ok(database),
        Err(problem) if problem.is_damage() && layout == Layout::Trusted => return Ok(database),
        Err(problem) => problem,
    };
    discard(database);
    Err(refused)
}

/// The commit slots of a file, the one with the higher number of a transaction first; a wrong number fails the slot's checksum.
fn slots(path: &Path) -> io::Result<[usize; 2]> {
    let overlay = Overlay::open(path)?;
    let number = |slot: usize| -> io::Result<u64> {
        let mut bytes = [0; 8];
        overlay.read((SLOTS_AT[slot] + TRANSACTION_AT) as u64, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    };
    Ok(if number(1)? > number(0)? { [1, 0] } else { [0, 1] })
}

/// A file with its header put right, as long as it should be, with the commit of one slot.
fn mended(path: &Path, slot: usize) -> io::Result<Overlay> {
    let overlay = Overlay::open(path)?;
    let mut header = [0; SLOTS_AT[0]];
    overlay.read(0, &mut header)?;
    let length = overlay.len()?;
    let rounded = length.next_multiple_of(u64::from(PAGE));
    let described = described_length(&header);
    let is_possible = (rounded..=length.saturating_add(MOST_MISSING)).contains(&described);
    overlay.set_len(if is_possible { described } else { rounded })?;
    header[..MAGIC.len()].copy_from_slice(&MAGIC);
    header[FLAGS_AT] = RECOVER | TWO_PHASES | if slot == 1 { SECOND_SLOT } else { 0 };
    for (place, value) in header[GEOMETRY_AT..].chunks_exact_mut(4).zip([PAGE, REGION[0], REGION[1]]) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    overlay.write(0, &header)?;
    for slot in SLOTS_AT {
        overlay.write(slot as u64, &[FORMAT_VERSION])?;
    }
    Ok(overlay)
}

/// The length that a header says the file has: one page, the full regions, and what there is of the last one.
fn described_length(header: &[u8]) -> u64 {
    let number = |at: usize| {
        let bytes: [u8; 4] = std::array::from_fn(|byte| header[at + byte]);
        u64::from(u32::from_le_bytes(bytes))
    };
    let pages = number(LAYOUT_AT) * u64::from(REGION[1]) + number(LAYOUT_AT + 4);
    (1 + pages).saturating_mul(u64::from(PAGE))
}

#[cfg(test)]
mod tests {
    use super::super::database::open_or_create;
    use super::*;

    #[test]
    fn the_header_of_a_new_file_is_as_it_would_be_mended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        drop(open_or_create(&path, 1 << 20).unwrap());
        let written = std::fs::read(&path).unwrap();
        let mut mended_bytes = vec![0; SLOTS_AT[0]];
        let mended = mended(&path, 0).unwrap();
        mended.read(0, &mut mended_bytes).unwrap();
        // All but which slot it is, and that the layout is to be made again.
        mended_bytes[FLAGS_AT] = written[FLAGS_AT] & SECOND_SLOT | TWO_PHASES;
        assert_eq!(mended_bytes, written[..SLOTS_AT[0]], "a new release of redb writes other headers");
        assert_eq!(described_length(&written), written.len() as u64);
        assert!(SLOTS_AT.iter().all(|slot| written[*slot] == FORMAT_VERSION));
    }
}
