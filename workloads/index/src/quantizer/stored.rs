//! The quantizer as bytes: what is published to every shard and kept on disk.
//!
//! Layout, all little-endian: 8 bytes of magic, `u32` version, `u64` length of the body, the body, `u32`
//! CRC-32 of everything before it. The body is seven `u64` (generation, input dimension, dimension, lists,
//! sub-quantizers, bits, reserved) and then `f32` values: transform (`d x D`), centroids (`lists x d`),
//! penalties (`lists`), codebooks (`M x centroids x d / M`).

use super::{Quantizer, QuantizerError};
use crate::coarse::CoarseQuantizer;
use crate::kernels::{CodeBits, CodeShape};
use crate::linear::Matrix;
use crate::product::{ProductError, ProductQuantizer};
use crate::transform::{Transform, TransformError};
use std::fs::File;
use std::io::Write;
use std::path::Path;

const MAGIC: &[u8; 8] = b"MIXQUANT";
const VERSION: u32 = 1;
const HEADER: usize = 8 + 4 + 8;
const NUMBERS: usize = 7;
/// Largest dimension, list count or code accepted from a file, so that a damaged size takes no memory.
const LARGEST: u64 = 1 << 28;

impl Quantizer {
    /// The quantizer as bytes with a checksum.
    pub fn to_bytes(&self) -> Vec<u8> {
        let shape = self.product.shape();
        let numbers = [
            self.generation,
            self.transform.input_dimension() as u64,
            self.transform.dimension() as u64,
            self.coarse.lists() as u64,
            shape.sub_quantizers() as u64,
            u64::from(shape.bits().bits()),
            0,
        ];
        let values = [
            self.transform.matrix().as_slice(),
            self.coarse.centroids().as_slice(),
            self.coarse.penalties(),
            self.product.codebooks(),
        ];
        let body = numbers.len() * 8 + values.iter().map(|part| part.len() * 4).sum::<usize>();
        let mut bytes = Vec::with_capacity(HEADER + body + 4);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(body as u64).to_le_bytes());
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for value in values.into_iter().flatten() {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The quantizer that [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// When the bytes are cut short, changed, of another kind or of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, QuantizerError> {
        let mut body = Reader { rest: checked_body(bytes)? };
        let mut numbers = [0_u64; NUMBERS];
        for number in &mut numbers {
            *number = body.number()?;
        }
        let [generation, input, dimension, lists, sub_quantizers, bits, _] = numbers;
        if [input, dimension, lists, sub_quantizers].iter().any(|&size| size == 0 || size > LARGEST) {
            return Err(unusable("a size is 0 or out of range"));
        }
        let (input, dimension, lists) = (input as usize, dimension as usize, lists as usize);
        let bits = CodeBits::new(bits as u32).map_err(ProductError::from)?;
        let shape = CodeShape::new(sub_quantizers as usize, bits).map_err(ProductError::from)?;
        let matrix = body.matrix(dimension, input)?;
        let centroids = body.matrix(lists, dimension)?;
        let penalties = body.values(lists)?;
        let codebooks = body.values(shape.centroids().saturating_mul(dimension))?;
        if !body.rest.is_empty() {
            return Err(unusable("bytes are left over"));
        }
        Self::from_parts(
            generation,
            Transform::from_matrix(matrix)?,
            CoarseQuantizer::from_parts(centroids, penalties)?,
            ProductQuantizer::from_codebooks(shape, dimension, codebooks)?,
        )
    }

    /// Writes the quantizer to `path`: to a temporary name beside it, synced, then renamed, so that a reader
    /// or a crash never meets half a file.
    ///
    /// # Errors
    /// When writing fails, with the path.
    pub fn save(&self, path: &Path) -> Result<(), QuantizerError> {
        let failed = |source| QuantizerError::WriteFile { path: path.to_owned(), source };
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let mut file = File::create(&temporary).map_err(failed)?;
        file.write_all(&self.to_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&temporary, path).map_err(failed)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Reads the quantizer at `path`.
    ///
    /// # Errors
    /// When the file cannot be read or is not usable.
    pub fn load(path: &Path) -> Result<Self, QuantizerError> {
        let bytes = std::fs::read(path)
            .map_err(|source| QuantizerError::ReadFile { path: path.to_owned(), source })?;
        Self::from_bytes(&bytes)
    }
}

fn unusable(reason: impl Into<String>) -> QuantizerError {
    QuantizerError::DecodeFile { reason: reason.into() }
}

/// The body, after magic, version, length and checksum have been verified.
fn checked_body(bytes: &[u8]) -> Result<&[u8], QuantizerError> {
    let Some((magic, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(unusable(format!("it has only {} bytes", bytes.len())));
    };
    if magic != MAGIC {
        return Err(unusable("it does not begin as a quantizer does"));
    }
    let mut reader = Reader { rest };
    let version = u32::from_le_bytes(reader.take::<4>()?);
    if version != VERSION {
        return Err(unusable(format!("it is of version {version}, this program reads {VERSION}")));
    }
    let length = reader.number()?;
    let Some((body, checksum)) = reader.rest.split_last_chunk::<4>() else {
        return Err(unusable("it is cut short"));
    };
    if body.len() as u64 != length {
        return Err(unusable(format!("its body has {} bytes of {length}", body.len())));
    }
    if crc32fast::hash(&bytes[..bytes.len() - 4]) != u32::from_le_bytes(*checksum) {
        return Err(unusable("its checksum does not match"));
    }
    Ok(body)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], QuantizerError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| unusable("it is cut short"))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u64, QuantizerError> {
        Ok(u64::from_le_bytes(self.take::<8>()?))
    }

    fn values(&mut self, count: usize) -> Result<Vec<f32>, QuantizerError> {
        let bytes = count.checked_mul(4).filter(|&bytes| bytes <= self.rest.len());
        let (taken, rest) = self.rest.split_at(bytes.ok_or_else(|| unusable("it is cut short"))?);
        self.rest = rest;
        let values = taken.as_chunks::<4>().0.iter();
        Ok(values.map(|value| f32::from_le_bytes(*value)).collect())
    }

    fn matrix(&mut self, rows: usize, columns: usize) -> Result<Matrix, QuantizerError> {
        let values = self.values(rows.saturating_mul(columns))?;
        Ok(Matrix::new(rows, columns, values).map_err(TransformError::from)?)
    }
}
