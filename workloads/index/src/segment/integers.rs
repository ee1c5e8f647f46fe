//! A column of unsigned integers, stored as narrow as its largest value allows.

use crate::filter::bitmap::Bitmap;
use crate::index::IndexError;
use crate::snapshot::mapping::Column;
use crate::snapshot::section_file::{SectionFile, SectionWriter};

/// Unsigned integers of 1, 2, 4 or 8 bytes.
#[derive(Debug)]
pub(crate) enum Integers {
    Bits8(Column<u8>),
    Bits16(Column<u16>),
    Bits32(Column<u32>),
    Bits64(Column<u64>),
}

impl Integers {
    /// The values at their narrowest.
    pub(crate) fn narrow(values: &[u64]) -> Self {
        let largest = values.iter().copied().max().unwrap_or(0);
        if u8::try_from(largest).is_ok() {
            Self::Bits8(Column::Owned(values.iter().map(|&value| value as u8).collect()))
        } else if u16::try_from(largest).is_ok() {
            Self::Bits16(Column::Owned(values.iter().map(|&value| value as u16).collect()))
        } else if u32::try_from(largest).is_ok() {
            Self::Bits32(Column::Owned(values.iter().map(|&value| value as u32).collect()))
        } else {
            Self::Bits64(Column::Owned(values.to_vec()))
        }
    }

    /// The value in row `row`.
    #[inline]
    pub(crate) fn get(&self, row: usize) -> u64 {
        match self {
            Self::Bits8(column) => u64::from(column[row]),
            Self::Bits16(column) => u64::from(column[row]),
            Self::Bits32(column) => u64::from(column[row]),
            Self::Bits64(column) => column[row],
        }
    }

    /// The rows whose value lies in `first..=last`.
    pub(crate) fn between(&self, first: u64, last: u64) -> Bitmap {
        /// Clamps the bounds to the column's width, so that the comparison vectorises.
        fn scan<T: Copy + PartialOrd + TryFrom<u64>>(
            values: &[T],
            first: u64,
            last: u64,
            largest: T,
        ) -> Bitmap {
            let Ok(first) = T::try_from(first) else { return Bitmap::none(values.len()) };
            let last = T::try_from(last).unwrap_or(largest);
            Bitmap::from_fn(values.len(), |row| values[row] >= first && values[row] <= last)
        }
        match self {
            Self::Bits8(column) => scan(column, first, last, u8::MAX),
            Self::Bits16(column) => scan(column, first, last, u16::MAX),
            Self::Bits32(column) => scan(column, first, last, u32::MAX),
            Self::Bits64(column) => scan(column, first, last, u64::MAX),
        }
    }

    /// Bytes of one value.
    pub(crate) fn width(&self) -> u8 {
        match self {
            Self::Bits8(_) => 1,
            Self::Bits16(_) => 2,
            Self::Bits32(_) => 4,
            Self::Bits64(_) => 8,
        }
    }

    /// Main memory held, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        match self {
            Self::Bits8(column) => column.memory_bytes(),
            Self::Bits16(column) => column.memory_bytes(),
            Self::Bits32(column) => column.memory_bytes(),
            Self::Bits64(column) => column.memory_bytes(),
        }
    }

    pub(crate) fn write(&self, writer: &mut SectionWriter, name: &str) -> Result<(), IndexError> {
        match self {
            Self::Bits8(column) => writer.section::<u8>(name, column),
            Self::Bits16(column) => writer.section::<u16>(name, column),
            Self::Bits32(column) => writer.section::<u32>(name, column),
            Self::Bits64(column) => writer.section::<u64>(name, column),
        }
    }

    pub(crate) fn open(file: &SectionFile, name: &str, rows: usize, width: u8) -> Result<Self, IndexError> {
        match width {
            1 => file.column(name, rows).map(Self::Bits8),
            2 => file.column(name, rows).map(Self::Bits16),
            4 => file.column(name, rows).map(Self::Bits32),
            8 => file.column(name, rows).map(Self::Bits64),
            _ => Err(file.corrupt(format!("section {name} has values of {width} bytes"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_keeps_its_values_and_ranges() {
        for largest in [200_u64, 60_000, 4_000_000_000, u64::MAX] {
            let values: Vec<u64> = vec![0, 1, 7, largest, largest - 1, 100, largest / 2];
            let column = Integers::narrow(&values);
            assert!(values.iter().enumerate().all(|(row, &value)| column.get(row) == value));
            for (first, last) in [(0, 0), (1, 100), (7, largest), (largest, u64::MAX), (300, 250)] {
                let found: Vec<usize> = column.between(first, last).ones().collect();
                let expected: Vec<usize> =
                    (0..values.len()).filter(|&row| (first..=last).contains(&values[row])).collect();
                assert_eq!(found, expected, "{first}..={last} of {largest}");
            }
        }
    }
}
