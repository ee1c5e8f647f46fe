//! A generation at work: its quantizer, and this processor's kernel for its codes.

use std::sync::Arc;

use crate::index::IndexError;
use crate::kernels::{CodeShape, Kernel};
use crate::linear::Matrix;
use crate::quantizer::Quantizer;
use crate::segment::lists::{EncodedRows, has_codes};
use crate::segment::{Part, Segment};

/// Rows encoded at once: their single-precision copies are all that encoding holds beside its result.
const ROWS_AT_ONCE: usize = 16_384;

/// A quantizer ready to encode and to search.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) quantizer: Arc<Quantizer>,
    pub(crate) kernel: Kernel,
}

impl Generation {
    pub(crate) fn new(quantizer: Quantizer) -> Self {
        Self { quantizer: Arc::new(quantizer), kernel: Kernel::detect() }
    }

    pub(crate) fn number(&self) -> u64 {
        self.quantizer.generation()
    }

    pub(crate) fn lists(&self) -> usize {
        self.quantizer.coarse().lists()
    }

    pub(crate) fn shape(&self) -> CodeShape {
        self.quantizer.product().shape()
    }

    /// Main memory held, in bytes: the matrices, twice for those that are kept in two layouts.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let quantizer = &self.quantizer;
        let coarse = quantizer.coarse().centroids().as_slice().len() + 2 * self.lists();
        let product = 2 * quantizer.product().codebooks().len();
        let transform = quantizer.transform().matrix().as_slice().len();
        ((coarse + product + transform) * size_of::<f32>()) as u64
    }

    /// The kernel's name in an explanation.
    pub(crate) fn kernel_name(&self) -> &'static str {
        match self.kernel {
            Kernel::Scalar => "scalar",
            Kernel::Avx2 => "avx2",
            Kernel::Avx512 => "avx512",
            Kernel::Avx512Vbmi => "avx512-vbmi",
        }
    }

    /// Appends the lists of the part's kept rows to `encoded`, and their codes when `coded`. Copies what the
    /// segment has already been encoded to, and encodes the rest.
    pub(crate) fn encode_part(
        &self,
        part: &Part,
        coded: bool,
        encoded: &mut EncodedRows,
    ) -> Result<(), IndexError> {
        let usable = part
            .view
            .lists
            .as_ref()
            .filter(|lists| lists.generation == self.number() && (!coded || lists.packed().is_some()));
        let Some(lists) = usable else {
            let rows: Vec<usize> = part.rows().collect();
            return self.encode_rows(&part.view.segment, &rows, coded, encoded, &mut |_| ());
        };
        let known = lists.encoded();
        let bytes = self.shape().code_bytes();
        for row in part.rows() {
            encoded.lists.push(known.lists[row]);
            if coded {
                encoded.codes.extend_from_slice(&known.codes[row * bytes..][..bytes]);
            }
        }
        Ok(())
    }

    /// The lists, and the codes if the segment is large enough for them, of all rows of a segment. Tells
    /// `progress` how many rows were encoded since it was last told.
    pub(crate) fn encode_segment(
        &self,
        segment: &Segment,
        progress: &mut dyn FnMut(usize),
    ) -> Result<EncodedRows, IndexError> {
        let rows: Vec<usize> = (0..segment.rows()).collect();
        let mut encoded = EncodedRows::default();
        self.encode_rows(segment, &rows, has_codes(rows.len(), self.lists()), &mut encoded, progress)?;
        Ok(encoded)
    }

    fn encode_rows(
        &self,
        segment: &Segment,
        rows: &[usize],
        coded: bool,
        encoded: &mut EncodedRows,
        progress: &mut dyn FnMut(usize),
    ) -> Result<(), IndexError> {
        let failed = |error: &dyn std::error::Error| IndexError::Quantize {
            generation: self.number(),
            action: "encoding stored vectors",
            reason: describe(error),
        };
        let dimension = self.quantizer.input_dimension();
        for rows in rows.chunks(ROWS_AT_ONCE) {
            let mut values = Vec::with_capacity(rows.len() * dimension);
            for &row in rows {
                values.extend(segment.vector(row).iter().map(|value| value.to_f32()));
            }
            let vectors = Matrix::new(rows.len(), dimension, values).map_err(|error| failed(&error))?;
            let batch = self.quantizer.encode_batch(&vectors).map_err(|error| failed(&error))?;
            encoded.lists.extend(batch.lists);
            if coded {
                encoded.codes.extend(batch.codes);
            }
            progress(rows.len());
        }
        Ok(())
    }
}

/// An error with its causes, in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
