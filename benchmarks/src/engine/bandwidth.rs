//! How fast one thread reads main memory: the limit of a scan that does not fit the caches.
//!
//! Adds up a buffer in several ways and reports each; the fastest is the limit to compare with. One forward
//! stream is what a scan is; several streams, and software prefetch by another stream's accesses, let some
//! processors keep more cache misses in flight.
#![allow(unsafe_code)]

use std::array;
use std::hint::black_box;

use super::clock::repeat;
use super::protocol::Answer;

/// Adds up all words of a buffer.
type Sum = fn(&[u64]) -> u64;

/// Reads `bytes` again and again, `seconds` for each way of reading.
pub(crate) fn measure(bytes: usize, seconds: f64) -> Answer {
    // Written, not only reserved: untouched pages are all the same page of zeros.
    let buffer: Vec<u64> = (0..bytes as u64 / 8).collect();
    let ways: [(&'static str, Sum); 3] =
        [("1 stream", sum_streams::<1>), ("2 streams", sum_streams::<2>), ("4 streams", sum_streams::<4>)];
    let variants = ways
        .into_iter()
        .map(|(name, sum)| {
            let work = || -> Result<(), std::convert::Infallible> {
                black_box(sum(black_box(&buffer)));
                Ok(())
            };
            let Ok(each) = repeat(seconds, work);
            (name, (buffer.len() * 8) as f64 / each)
        })
        .collect();
    Answer::Bandwidth { variants }
}

/// Sum of all values, read as `STREAMS` equal parts side by side.
fn sum_streams<const STREAMS: usize>(buffer: &[u64]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512 F, which is all the function asks for.
            return unsafe { sum_avx512::<STREAMS>(buffer) };
        }
    }
    buffer.iter().fold(0, |sum, value| sum.wrapping_add(*value))
}

/// 512-bit loads and additions, written out: left to itself the compiler keeps the sums in memory.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn sum_avx512<const STREAMS: usize>(buffer: &[u64]) -> u64 {
    use std::arch::x86_64::{
        _mm512_add_epi64, _mm512_loadu_si512, _mm512_reduce_add_epi64, _mm512_setzero_si512,
    };
    let (lines, rest) = buffer.as_chunks::<8>();
    let steps = lines.len() / STREAMS / 2;
    let parts: [&[[u64; 8]]; STREAMS] =
        array::from_fn(|part| &lines[part * steps * 2..(part + 1) * steps * 2]);
    let mut sums = [[_mm512_setzero_si512(); 2]; STREAMS];
    for step in 0..steps {
        for (part, [even, odd]) in parts.iter().zip(&mut sums) {
            let (first, second) = (&part[2 * step], &part[2 * step + 1]);
            // SAFETY: both are references to 64 bytes; the loads need no alignment.
            let (first, second) = unsafe {
                (_mm512_loadu_si512(first.as_ptr().cast()), _mm512_loadu_si512(second.as_ptr().cast()))
            };
            *even = _mm512_add_epi64(*even, first);
            *odd = _mm512_add_epi64(*odd, second);
        }
    }
    let left = lines[steps * 2 * STREAMS..].iter().flatten().chain(rest);
    let total = left.fold(0_u64, |sum, value| sum.wrapping_add(*value));
    sums.iter().flatten().fold(total, |sum, lanes| sum.wrapping_add(_mm512_reduce_add_epi64(*lanes) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_read_once() {
        let buffer: Vec<u64> = (1..=1000).collect();
        assert_eq!(sum_streams::<1>(&buffer), 500_500);
        assert_eq!(sum_streams::<2>(&buffer), 500_500);
        assert_eq!(sum_streams::<4>(&buffer), 500_500);
    }
}
