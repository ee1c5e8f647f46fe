//! How fast one thread reads main memory: the limit of a scan that does not fit the caches.
//!
//! Adds up a buffer in several ways and reports each; the fastest is the limit to compare with. One forward
//! stream is what a scan is; several streams, and software prefetch by another stream's accesses, let some
//! processors keep more cache misses in flight.
#![allow(unsafe_code)]

use std::hint::black_box;

use super::clock::repeat;
use super::protocol::Answer;

/// Reads `bytes` again and again, `seconds` for each way of reading.
pub(crate) fn measure(bytes: usize, seconds: f64) -> Answer {
    // Written, not only reserved: untouched pages are all the same page of zeros.
    let buffer: Vec<u64> = (0..bytes as u64 / 8).collect();
    let ways: [(&'static str, fn(&[u64]) -> u64); 3] =
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
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, which is all the function asks for.
            return unsafe { sum_avx2::<STREAMS>(buffer) };
        }
    }
    sum_portable::<STREAMS>(buffer)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn sum_avx512<const STREAMS: usize>(buffer: &[u64]) -> u64 {
    sum_portable::<STREAMS>(buffer)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2<const STREAMS: usize>(buffer: &[u64]) -> u64 {
    sum_portable::<STREAMS>(buffer)
}

/// Written so that the compiler makes vector additions of it, of the width that the caller's features allow.
#[inline(always)]
fn sum_portable<const STREAMS: usize>(buffer: &[u64]) -> u64 {
    const LANES: usize = 32;
    let part = buffer.len() / STREAMS / LANES * LANES;
    let mut sums = [0_u64; LANES];
    for first in (0..part).step_by(LANES) {
        for stream in 0..STREAMS {
            let start = stream * part + first;
            for (sum, value) in sums.iter_mut().zip(&buffer[start..start + LANES]) {
                *sum = sum.wrapping_add(*value);
            }
        }
    }
    let rest = &buffer[part * STREAMS..];
    sums.iter().chain(rest).fold(0, |sum, value| sum.wrapping_add(*value))
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
        assert_eq!(sum_portable::<4>(&buffer), 500_500);
    }
}
