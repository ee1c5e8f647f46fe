//! What is done to one row of a model's output.

/// Why a row of a model's output cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VectorFault {
    /// A component is infinite or not a number.
    #[error("component {0} is not a finite number")]
    NotFinite(usize),
    /// Every component is 0, so the vector has no direction.
    #[error("every component is 0, so it has no direction")]
    Zero,
}

impl VectorFault {
    /// Whether every component of `row` is finite.
    pub(crate) fn check(row: &[f32]) -> Result<(), Self> {
        row.iter().position(|value| !value.is_finite()).map_or(Ok(()), |index| Err(Self::NotFinite(index)))
    }
}

/// Scales `row` to length 1. The length is summed in f64: 1,280 squares lose digits in f32.
pub(crate) fn normalise(row: &mut [f32]) -> Result<(), VectorFault> {
    VectorFault::check(row)?;
    let length = row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
    if length == 0.0 {
        return Err(VectorFault::Zero);
    }
    for value in row {
        *value = (f64::from(*value) / length) as f32;
    }
    Ok(())
}

/// Turns logits into probabilities, less the greatest first so that none overflows.
pub(crate) fn softmax(row: &mut [f32]) -> Result<(), VectorFault> {
    VectorFault::check(row)?;
    let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0_f32;
    for value in &mut *row {
        *value = (*value - greatest).exp();
        sum += *value;
    }
    for value in row {
        *value /= sum;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "the expected values are exact")]
mod tests {
    use super::*;

    #[test]
    fn a_normalised_vector_has_length_one_and_its_direction() {
        let mut row = [3.0e-20_f32, 0.0, -4.0e-20];
        normalise(&mut row).unwrap();
        assert_eq!(row, [0.6, 0.0, -0.8]);
    }

    #[test]
    fn vectors_without_direction_and_with_holes_are_refused() {
        assert_eq!(normalise(&mut [0.0; 4]), Err(VectorFault::Zero));
        assert_eq!(normalise(&mut [1.0, f32::NAN]), Err(VectorFault::NotFinite(1)));
        assert_eq!(softmax(&mut [f32::INFINITY, 1.0]), Err(VectorFault::NotFinite(0)));
    }

    #[test]
    fn softmax_of_large_logits_does_not_overflow() {
        let mut row = [1000.0_f32, 1000.0, -1000.0];
        softmax(&mut row).unwrap();
        assert_eq!(row, [0.5, 0.5, 0.0]);
    }
}
