//! A database file that is read and never written: what the database writes stays in memory.
//!
//! For looking at damaged files: opening one may make the database recover, and a check of its pages may make it repair, which must not touch the only
//! copy. Assumption: nobody else writes to the file meanwhile.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use parking_lot::RwLock;
use redb::StorageBackend;

/// Bytes that are kept together once one of them was written.
const BLOCK: u64 = 4096;

/// The file, and what was written over it.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    /// Length as the database sees it.
    length: u64,
    /// What of the file is seen: it ends where it was once cut.
    seen: u64,
    /// Blocks that differ from the file, by number.
    written: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file, state: RwLock::new(State { length, seen: length, written: BTreeMap::new() }) })
    }

    /// Reads from the file, with zeros behind its end.
    fn read_file(&self, seen: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = seen.saturating_sub(offset).min(out.len() as u64) as usize;
        let (from_file, behind) = out.split_at_mut(there);
        behind.fill(0);
        if from_file.is_empty() {
            return Ok(());
        }
        self.file.read_exact_at(from_file, offset)
    }
}

/// The parts of blocks that `length` bytes from `offset` are made of: number of the block, where it begins in the bytes, where in the block.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, usize)> {
    let end = offset + length as u64;
    (offset / BLOCK..end.div_ceil(BLOCK)).map(move |block| {
        let (first, last) = ((block * BLOCK).max(offset), ((block + 1) * BLOCK).min(end));
        (block, (first - offset) as usize..(last - offset) as usize, (first - block * BLOCK) as usize)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.read().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        // A damaged page may name one behind the end. An error here would end all use of the database; a page of zeros is damage and no more.
        let state = self.state.read();
        self.read_file(state.seen, offset, out)?;
        if state.written.is_empty() {
            return Ok(());
        }
        for (block, place, inside) in parts(offset, out.len()) {
            if let Some(written) = state.written.get(&block) {
                let length = place.len();
                out[place].copy_from_slice(&written[inside..inside + length]);
            }
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.state.write();
        state.length = length;
        state.seen = state.seen.min(length);
        let kept = length.div_ceil(BLOCK);
        state.written.retain(|block, _| *block < kept);
        if let Some(last) = state.written.get_mut(&(length / BLOCK)) {
            last[(length % BLOCK) as usize..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.write();
        let seen = state.seen;
        for (block, place, inside) in parts(offset, data.len()) {
            let mut bytes = if let Some(bytes) = state.written.remove(&block) {
                bytes
            } else {
                let mut bytes = vec![0; BLOCK as usize];
                self.read_file(seen, block * BLOCK, &mut bytes)?;
                bytes
            };
            bytes[inside..inside + place.len()].copy_from_slice(&data[place]);
            state.written.insert(block, bytes);
        }
        state.length = state.length.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_pcg::Pcg64;

    use super::*;

    #[test]
    fn it_reads_as_a_file_that_was_written_and_the_file_stays_as_it_was() {
        let mut rng = Pcg64::seed_from_u64(7);
        let path = tempfile::NamedTempFile::new().unwrap();
        let mut expected: Vec<u8> = (0..30_000_u32).map(|number| number as u8).collect();
        std::fs::write(path.path(), &expected).unwrap();
        let overlay = Overlay::open(path.path()).unwrap();
        for step in 0..500 {
            if step % 40 == 39 {
                let length = rng.random_range(10_000..60_000);
                overlay.set_len(length as u64).unwrap();
                expected.resize(length, 0);
            }
            let offset = rng.random_range(0..expected.len() - 9_000);
            let length = rng.random_range(0..9_000);
            let data: Vec<u8> = (0..length).map(|_| rng.random()).collect();
            overlay.write(offset as u64, &data).unwrap();
            expected[offset..offset + length].copy_from_slice(&data);
            let mut whole = vec![0; expected.len()];
            overlay.read(0, &mut whole).unwrap();
            assert!(whole == expected, "step {step}");
            let mut part = vec![0; length];
            overlay.read(offset as u64, &mut part).unwrap();
            assert!(part == data);
        }
        let mut behind = [7; 2];
        overlay.read(expected.len() as u64 - 1, &mut behind).unwrap();
        assert_eq!(behind, [expected[expected.len() - 1], 0]);
        assert_eq!(std::fs::read(path.path()).unwrap().len(), 30_000);
    }
}
