//! From raw queries to the space of the codes, on the calling thread.
//!
//! A search may be asked to use one thread, and a batch is split among threads before it comes here. So matrix
//! products are kept below the size from which they would be shared among threads, and nothing here enters the
//! thread pool, which takes longer than the work when the pool sleeps.

use crate::index::{Generation, IndexError};
use crate::kernels::exact::dot_f32_rows;
use crate::linear::{multiply_transposed_into, normalize};
use crate::search::coded::failed;

/// Multiplications of one matrix product at most; [`crate::linear`] shares those of 2^20 and more.
const MULTIPLICATIONS: usize = (1 << 20) - 1;

/// The unit vectors in code space of raw queries of norm 1. A query without any part in that space becomes
/// zeros: every list and every code is as near to it as the next.
pub(crate) fn prepare(generation: &Generation, units: &[&[f32]]) -> Result<Vec<Vec<f32>>, IndexError> {
    let transform = generation.quantizer.transform();
    let (input, output) = (transform.input_dimension(), transform.dimension());
    let at_once = (MULTIPLICATIONS / (input * output).max(1)).max(1);
    let mut prepared = Vec::with_capacity(units.len());
    for units in units.chunks(at_once) {
        if let [unit] = units {
            let mut vector = vec![0.0; output];
            dot_f32_rows(unit, transform.matrix().as_slice(), &mut vector);
            prepared.push(vector);
            continue;
        }
        let raw = units.concat();
        let mut vectors = vec![0.0; units.len() * output];
        multiply_transposed_into(&mut vectors, &raw, input, transform.matrix())
            .map_err(|error| failed(generation, "transforming queries", &error))?;
        prepared.extend(vectors.chunks_exact(output).map(<[f32]>::to_vec));
    }
    for vector in &mut prepared {
        normalize(vector);
    }
    Ok(prepared)
}
