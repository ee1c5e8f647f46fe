//! One scan of JPEG-LS: prediction, contexts, Golomb codes and runs (ITU-T T.87, annex A).
//!
//! Names follow the standard where it has words for them; A, B, C, N are its context counters.

use super::image_module::damaged;
use crate::error::ImagingError;
use crate::format::Format;

/// Table A.1's order of run lengths: J.
const RUN_ORDER: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Coding parameters of a scan (C.2.4.1.1).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coding {
    max_value: i32,
    near: i32,
    thresholds: [i32; 3],
    /// Thresholds and reset given by the stream; 0 stands for the default.
    given: [i32; 4],
    reset: i32,
    /// Number of quantized errors.
    range: i32,
    /// Bits of a quantized error.
    error_bits: u32,
    /// Longest Golomb code.
    limit: u32,
}

impl Coding {
    pub(crate) fn new(bits: u32) -> Self {
        Self {
            max_value: (1 << bits) - 1,
            near: 0,
            thresholds: [3, 7, 21],
            given: [0; 4],
            reset: 64,
            range: 0,
            error_bits: 0,
            limit: 0,
        }
    }

    /// Takes MAXVAL, T1, T2, T3 and RESET from a preset segment.
    pub(crate) fn preset(&mut self, words: &[i32]) -> Result<(), ImagingError> {
        let Some(&[max_value, t1, t2, t3, reset]) = words.first_chunk::<5>() else {
            return Err(damaged("a JPEG-LS preset segment is cut"));
        };
        if max_value > self.max_value {
            return Err(damaged("a JPEG-LS preset exceeds the bit depth"));
        }
        if max_value > 0 {
            self.max_value = max_value;
        }
        self.given = [t1, t2, t3, reset];
        Ok(())
    }

    /// The parameters of a scan of a given NEAR.
    pub(crate) fn with_near(mut self, near: i32) -> Result<Self, ImagingError> {
        if near > 255.min(self.max_value / 2) {
            return Err(damaged(format!("a JPEG-LS scan has the impossible error bound {near}")));
        }
        self.near = near;
        let max = self.max_value;
        let clamp = |value: i32, least: i32| if value > max || value < least { least } else { value };
        let defaults = if max >= 128 {
            let factor = (max.min(4095) + 128) / 256;
            let t1 = clamp(factor + 2 + 3 * near, near + 1);
            let t2 = clamp(factor * 4 + 3 + 5 * near, t1);
            [t1, t2, clamp(factor * 17 + 4 + 7 * near, t2)]
        } else {
            let factor = 256 / (max + 1);
            let t1 = clamp(2.max(3 / factor + 3 * near), near + 1);
            let t2 = clamp(3.max(7 / factor + 5 * near), t1);
            [t1, t2, clamp(4.max(21 / factor + 7 * near), t2)]
        };
        for (threshold, (given, default)) in self.thresholds.iter_mut().zip(self.given.iter().zip(defaults)) {
            *threshold = if *given > 0 { *given } else { default };
        }
        let [t1, t2, t3] = self.thresholds;
        if !(near < t1 && t1 <= t2 && t2 <= t3 && t3 <= max) {
            return Err(damaged("a JPEG-LS preset has thresholds out of order"));
        }
        self.reset = if self.given[3] > 0 { self.given[3].max(3) } else { 64 };
        self.range = (max + 2 * near) / (2 * near + 1) + 1;
        self.error_bits = bits_of(self.range - 1);
        let sample_bits = bits_of(max).max(2);
        self.limit = 2 * (sample_bits + sample_bits.max(8));
        Ok(self)
    }

    /// Region of a gradient, −4 to 4 (A.3.3).
    fn region(&self, gradient: i32) -> i32 {
        let [t1, t2, t3] = self.thresholds;
        let size = gradient.abs();
        let region = if size <= self.near {
            0
        } else if size < t1 {
            1
        } else if size < t2 {
            2
        } else if size < t3 {
            3
        } else {
            4
        };
        if gradient < 0 { -region } else { region }
    }

    /// A predicted value corrected by a quantized error (A.4.5, A.8).
    fn reconstruct(&self, predicted: i32, error: i32) -> i32 {
        let step = 2 * self.near + 1;
        let mut value = predicted + error * step;
        if value < -self.near {
            value += self.range * step;
        } else if value > self.max_value + self.near {
            value -= self.range * step;
        }
        value.clamp(0, self.max_value)
    }
}

/// Bits that hold a number.
fn bits_of(number: i32) -> u32 {
    32 - number.leading_zeros()
}

/// Counters of a regular context (A.2.1).
#[derive(Clone, Copy)]
struct Context {
    a: i32,
    b: i32,
    c: i32,
    n: i32,
}

/// Counters of a run interruption context.
#[derive(Clone, Copy)]
struct RunContext {
    a: i32,
    n: i32,
    negative: i32,
}

/// A scan being decoded line by line.
pub(crate) struct Scan<'a> {
    coding: Coding,
    bits: Bits<'a>,
    width: usize,
    by_sample: bool,
    contexts: Vec<Context>,
    run_contexts: [RunContext; 2],
    /// Index into the run orders: one a component, or one for all when interleaved by sample.
    run_index: Vec<usize>,
    /// The line above and the line being decoded of each component, with one more value at both ends.
    above: Vec<Vec<i32>>,
    line: Vec<Vec<i32>>,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(
        data: &'a [u8],
        coding: Coding,
        width: usize,
        components: usize,
        by_sample: bool,
    ) -> Self {
        let a = 2.max((coding.range + 32) / 64);
        Self {
            coding,
            bits: Bits { data, position: 0, held: 0, count: 0, stuffed: false },
            width,
            by_sample: by_sample && components > 1,
            contexts: vec![Context { a, b: 0, c: 0, n: 1 }; 365],
            run_contexts: [RunContext { a, n: 1, negative: 0 }; 2],
            run_index: vec![0; components],
            above: vec![vec![0; width + 2]; components],
            line: vec![vec![0; width + 2]; components],
        }
    }

    /// Decodes the next line of every component; values lie from index 1 on.
    pub(crate) fn next_line(&mut self) -> Result<&[Vec<i32>], ImagingError> {
        std::mem::swap(&mut self.above, &mut self.line);
        for (above, line) in self.above.iter_mut().zip(&mut self.line) {
            above[self.width + 1] = above[self.width];
            line[0] = above[1];
        }
        if self.by_sample {
            self.line_by_sample()?;
        } else {
            for component in 0..self.line.len() {
                self.line_of(component)?;
            }
        }
        Ok(&self.line)
    }

    /// Neighbours of a value: left, above, above left, above right.
    fn neighbours(&self, component: usize, at: usize) -> [i32; 4] {
        let (above, line) = (&self.above[component], &self.line[component]);
        [line[at - 1], above[at], above[at - 1], above[at + 1]]
    }

    /// The signed number of a context, 0 in a flat place (A.3.4).
    fn context_of(&self, [left, up, up_left, up_right]: [i32; 4]) -> i32 {
        let coding = &self.coding;
        let regions = [up_right - up, up - up_left, up_left - left].map(|gradient| coding.region(gradient));
        regions[0] * 81 + regions[1] * 9 + regions[2]
    }

    fn line_of(&mut self, component: usize) -> Result<(), ImagingError> {
        let mut at = 1;
        while at <= self.width {
            let neighbours = self.neighbours(component, at);
            let context = self.context_of(neighbours);
            if context != 0 {
                self.line[component][at] = self.regular(context, neighbours)?;
                at += 1;
                continue;
            }
            let left = neighbours[0];
            let run = self.run_length(component, self.width + 1 - at)?;
            self.line[component][at..at + run].fill(left);
            at += run;
            if at <= self.width {
                let up = self.above[component][at];
                let kind = usize::from((left - up).abs() <= self.coding.near);
                let error = self.interruption_error(component, kind)?;
                let value = if kind == 1 {
                    self.coding.reconstruct(left, error)
                } else {
                    self.coding.reconstruct(up, if left > up { -error } else { error })
                };
                self.line[component][at] = value;
                self.shorten_runs(component);
                at += 1;
            }
        }
        Ok(())
    }

    fn line_by_sample(&mut self) -> Result<(), ImagingError> {
        let components = self.line.len();
        let mut at = 1;
        while at <= self.width {
            let flat = (0..components).all(|part| self.context_of(self.neighbours(part, at)) == 0);
            if !flat {
                for component in 0..components {
                    let neighbours = self.neighbours(component, at);
                    let context = self.context_of(neighbours);
                    self.line[component][at] = self.regular(context, neighbours)?;
                }
                at += 1;
                continue;
            }
            let run = self.run_length(0, self.width + 1 - at)?;
            for line in &mut self.line {
                let left = line[at - 1];
                line[at..at + run].fill(left);
            }
            at += run;
            if at <= self.width {
                for component in 0..components {
                    let (left, up) = (self.line[component][at - 1], self.above[component][at]);
                    let error = self.interruption_error(0, 0)?;
                    let error = if left > up { -error } else { error };
                    self.line[component][at] = self.coding.reconstruct(up, error);
                }
                self.shorten_runs(0);
                at += 1;
            }
        }
        Ok(())
    }

    /// A value in regular mode (A.4 to A.6).
    fn regular(&mut self, context: i32, [left, up, up_left, _]: [i32; 4]) -> Result<i32, ImagingError> {
        let coding = self.coding;
        let sign = if context < 0 { -1 } else { 1 };
        let counters = &mut self.contexts[context.unsigned_abs() as usize];
        let predicted = if up_left >= left.max(up) {
            left.min(up)
        } else if up_left <= left.min(up) {
            left.max(up)
        } else {
            left + up - up_left
        };
        let predicted = (predicted + sign * counters.c).clamp(0, coding.max_value);
        let order = golomb_order(counters.n, counters.a)?;
        let mapped = self.bits.golomb(order, coding.limit, coding.error_bits)?;
        let error = if coding.near == 0 && order == 0 && 2 * counters.b <= -counters.n {
            if mapped & 1 == 1 { (mapped - 1) / 2 } else { -(mapped / 2) - 1 }
        } else if mapped & 1 == 1 {
            -mapped.midpoint(1)
        } else {
            mapped / 2
        };
        counters.update(error, &coding);
        Ok(coding.reconstruct(predicted, sign * error))
    }

    /// Length of a run of equal values, at most `left` (A.7.1).
    fn run_length(&mut self, component: usize, left: usize) -> Result<usize, ImagingError> {
        let index = &mut self.run_index[component];
        let mut run = 0;
        while self.bits.read(1)? == 1 {
            let whole = 1usize << RUN_ORDER[*index];
            let step = whole.min(left - run);
            run += step;
            if step == whole {
                *index = (*index + 1).min(31);
            }
            if run == left {
                return Ok(run);
            }
        }
        run += self.bits.read(RUN_ORDER[*index])? as usize;
        if run > left {
            return Err(damaged("a JPEG-LS run reaches beyond its line"));
        }
        Ok(run)
    }

    /// The error of the value that ends a run (A.7.2).
    fn interruption_error(&mut self, component: usize, kind: usize) -> Result<i32, ImagingError> {
        let coding = self.coding;
        let counters = &mut self.run_contexts[kind];
        let kind = kind as i32;
        let order = golomb_order(counters.n, counters.a + kind * (counters.n >> 1))?;
        let limit = coding.limit - RUN_ORDER[self.run_index[component]] - 1;
        let mapped = self.bits.golomb(order, limit, coding.error_bits)?;
        let doubled = mapped + kind;
        let odd = doubled & 1 == 1;
        let size = i32::midpoint(doubled, doubled & 1);
        let error = if (order != 0 || 2 * counters.negative >= counters.n) == odd { -size } else { size };
        if error < 0 {
            counters.negative += 1;
        }
        counters.a += (mapped + 1 - kind) >> 1;
        if counters.n == coding.reset {
            counters.a >>= 1;
            counters.n >>= 1;
            counters.negative >>= 1;
        }
        counters.n += 1;
        Ok(error)
    }

    fn shorten_runs(&mut self, component: usize) {
        let index = &mut self.run_index[component];
        *index = index.saturating_sub(1);
    }
}

impl Context {
    /// Variables update and bias computation (A.6).
    fn update(&mut self, error: i32, coding: &Coding) {
        self.b += error * (2 * coding.near + 1);
        self.a += error.abs();
        if self.n == coding.reset {
            self.a >>= 1;
            self.b >>= 1;
            self.n >>= 1;
        }
        self.n += 1;
        if self.b <= -self.n {
            self.b = (self.b + self.n).max(1 - self.n);
            self.c = (self.c - 1).max(-128);
        } else if self.b > 0 {
            self.b = (self.b - self.n).min(0);
            self.c = (self.c + 1).min(127);
        }
    }
}

/// The least k with N·2^k ≥ A (A.5.1).
fn golomb_order(n: i32, a: i32) -> Result<u32, ImagingError> {
    (0..24).find(|order| n << order >= a).ok_or_else(|| damaged("a JPEG-LS context is out of range"))
}

/// Bits of the entropy-coded data, without stuffed bits (A.1).
struct Bits<'a> {
    data: &'a [u8],
    position: usize,
    held: u64,
    count: u32,
    /// True after a byte 0xFF: the next one carries seven bits.
    stuffed: bool,
}

impl Bits<'_> {
    /// Fills up to more than 32 bits, as far as data is left.
    fn fill(&mut self) {
        while self.count <= 48 {
            let Some(byte) = self.data.get(self.position).copied() else { return };
            if self.stuffed && byte >= 0x80 {
                return;
            }
            let bits = if self.stuffed { 7 } else { 8 };
            self.held = self.held << bits | u64::from(byte);
            self.count += bits;
            self.stuffed = byte == 0xFF;
            self.position += 1;
        }
    }

    /// Reads up to 32 bits.
    fn read(&mut self, bits: u32) -> Result<i32, ImagingError> {
        if bits == 0 {
            return Ok(0);
        }
        if self.count < bits {
            self.fill();
            if self.count < bits {
                return Err(ended());
            }
        }
        self.count -= bits;
        Ok((self.held >> self.count & ((1 << bits) - 1)) as i32)
    }

    /// A Golomb code of limited length (A.5.3).
    fn golomb(&mut self, order: u32, limit: u32, error_bits: u32) -> Result<i32, ImagingError> {
        let escape = limit.saturating_sub(error_bits + 1);
        let mut zeros = 0;
        while self.read(1)? == 0 {
            zeros += 1;
            if zeros > escape {
                return Err(damaged("a JPEG-LS code is longer than its limit"));
            }
        }
        if zeros < escape {
            Ok((zeros as i32) << order | self.read(order)?)
        } else {
            Ok(self.read(error_bits)? + 1)
        }
    }
}

fn ended() -> ImagingError {
    ImagingError::truncated(Format::Dicom, "a JPEG-LS frame ends before its last pixel")
}
