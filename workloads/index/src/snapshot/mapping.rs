//! Read-only memory maps of the index's immutable files.
//!
//! Assumption: nobody changes the files while they are mapped. The index holds an exclusive lock on its folder,
//! never writes to a file once it is finished, and only unlinks files (which keeps existing maps valid). A
//! process that truncates a mapped file from outside can still crash this one with SIGBUS: no program that maps
//! files can prevent that.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use bytemuck::Pod;
use memmap2::Mmap;

/// Maps the whole file.
pub(crate) fn map_file(path: &Path) -> io::Result<Arc<Mmap>> {
    let file = File::open(path)?;
    // SAFETY: the file is immutable once written and its folder is locked (see the module's assumption), so the
    // mapped bytes do not change while the map lives.
    let map = unsafe { Mmap::map(&file)? };
    Ok(Arc::new(map))
}

/// A column of values, in memory or in a mapped file.
#[derive(Clone, Debug)]
pub(crate) enum Column<T> {
    /// In memory.
    Owned(Vec<T>),
    /// In a mapped file.
    Mapped(MappedColumn<T>),
}

/// A column in a mapped file.
#[derive(Clone, Debug)]
pub(crate) struct MappedColumn<T> {
    map: Arc<Mmap>,
    range: Range<usize>,
    values: PhantomData<T>,
}

impl<T: Pod> Column<T> {
    /// The values in bytes `range` of the map; `None` when the range is outside the map, not aligned, or not a
    /// whole number of values.
    pub(crate) fn mapped(map: &Arc<Mmap>, range: Range<usize>) -> Option<Self> {
        let bytes = map.get(range.clone())?;
        bytemuck::try_cast_slice::<u8, T>(bytes).ok()?;
        Some(Self::Mapped(MappedColumn { map: Arc::clone(map), range, values: PhantomData }))
    }

    /// Main memory held, in bytes; a mapped column holds none.
    pub(crate) fn memory_bytes(&self) -> u64 {
        match self {
            Self::Owned(values) => (values.capacity() * size_of::<T>()) as u64,
            Self::Mapped(_) => 0,
        }
    }
}

impl<T: Pod> Deref for Column<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(values) => values,
            // The range and its alignment were checked when the column was made.
            Self::Mapped(column) => bytemuck::cast_slice(&column.map[column.range.clone()]),
        }
    }
}
