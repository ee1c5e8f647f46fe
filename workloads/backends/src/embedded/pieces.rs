//! Values in checked pieces.
//!
//! The database rounds a large value up to a power of two of pages: a CT slice of 512 KiB and a few bytes would
//! take 1 MiB. Pieces that just fit a power of two keep the loss to half a piece a value. Each piece begins with
//! the CRC-32 of its content, so that damage is found when it is read, and named.

use redb::{ReadableTable, StorageError, Table};

/// Content of a full piece in bytes: with its checksum, key and page header it fills 64 KiB.
pub(crate) const PIECE_BYTES: usize = (64 << 10) - 256;

/// Content with its checksum before it.
pub(crate) fn seal(content: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(4 + content.len());
    sealed.extend_from_slice(&crc32fast::hash(content).to_be_bytes());
    sealed.extend_from_slice(content);
    sealed
}

/// The content of a sealed value.
///
/// # Errors
/// [`StorageError::Corrupted`] if its checksum does not fit; `what` names the value.
pub(crate) fn unseal(sealed: &[u8], what: impl FnOnce() -> String) -> Result<&[u8], StorageError> {
    match sealed.split_first_chunk::<4>() {
        Some((checksum, content)) if crc32fast::hash(content) == u32::from_be_bytes(*checksum) => Ok(content),
        _ => Err(StorageError::Corrupted(format!("{} does not fit its checksum", what()))),
    }
}

/// Pieces of a value: one, even if it is empty.
pub(crate) fn pieces(value: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let empty = value.is_empty().then_some(value);
    empty
        .into_iter()
        .chain(value.chunks(PIECE_BYTES))
        .enumerate()
        .map(|(number, piece)| (number as u16, piece))
}

/// Key of a piece: row key, 0, column, 0, number of the piece. Rows, columns and pieces sort in this order.
pub(crate) fn piece_key(row: &str, qualifier: &str, piece: u16) -> Vec<u8> {
    let mut key = Vec::with_capacity(row.len() + qualifier.len() + 4);
    key.extend_from_slice(row.as_bytes());
    key.push(0);
    key.extend_from_slice(qualifier.as_bytes());
    key.push(0);
    key.extend_from_slice(&piece.to_be_bytes());
    key
}

/// Row key, column and number of the piece in a key.
pub(crate) fn read_piece_key(key: &[u8]) -> Result<(&str, &str, u16), StorageError> {
    let damaged = || StorageError::Corrupted("a cell has an impossible key".into());
    let (rest, piece) = key.split_last_chunk::<2>().ok_or_else(damaged)?;
    let rest = std::str::from_utf8(rest).map_err(|_| damaged())?;
    let (row, qualifier) =
        rest.strip_suffix('\0').and_then(|rest| rest.split_once('\0')).ok_or_else(damaged)?;
    Ok((row, qualifier, u16::from_be_bytes(*piece)))
}

/// Where the pieces of a row begin, and what comes after them all.
pub(crate) fn row_bounds(row: &str) -> (Vec<u8>, Vec<u8>) {
    let mut first = row.as_bytes().to_vec();
    let mut end = first.clone();
    first.push(0);
    end.push(1);
    (first, end)
}

/// Removes every piece of a row.
pub(crate) fn remove_row(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    row: &str,
) -> Result<(), StorageError> {
    let (first, end) = row_bounds(row);
    let is_there = table.range(first.as_slice()..end.as_slice())?.next().is_some();
    if is_there {
        table.retain_in(first.as_slice()..end.as_slice(), |_, _| false)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_sum_of_its_pieces() {
        for length in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 4 << 20] {
            let value: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let parts: Vec<_> = pieces(&value).collect();
            assert_eq!(parts.len(), length.div_ceil(PIECE_BYTES).max(1), "{length}");
            assert!(parts.iter().enumerate().all(|(index, (number, _))| index == usize::from(*number)));
            assert_eq!(parts.iter().flat_map(|(_, piece)| piece.iter().copied()).collect::<Vec<_>>(), value);
        }
    }

    #[test]
    fn a_changed_bit_anywhere_is_found() {
        let sealed = seal(b"content");
        assert_eq!(unseal(&sealed, || "it".into()).unwrap(), b"content");
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = unseal(&damaged, || "row 7".into()).unwrap_err();
            assert!(error.to_string().contains("row 7 does not fit its checksum"));
        }
        assert!(unseal(&sealed[..3], || "it".into()).is_err());
    }

    #[test]
    fn keys_of_pieces_are_read_back_and_sort_by_row_then_column_then_piece() {
        let keys = [("a", "0", 0), ("a", "0", 300), ("a", "1", 0), ("a1", "0", 0), ("b", "x", 1)];
        let written: Vec<_> =
            keys.iter().map(|(row, column, piece)| piece_key(row, column, *piece)).collect();
        assert!(written.is_sorted());
        for (key, written) in keys.iter().zip(&written) {
            assert_eq!(read_piece_key(written).unwrap(), *key);
        }
        assert!(read_piece_key(b"x").is_err());
    }
}
