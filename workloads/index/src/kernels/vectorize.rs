//! Plain loops compiled once more for each instruction set, chosen at run time.
//!
//! The compiler turns simple loops into vector code, but only for the instruction set the program is built
//! for. A loop written as a [`Loop`] is inlined into functions that are built for wider ones.
#![allow(unsafe_code)]

/// A computation worth compiling for wide vectors. `run` must be `#[inline(always)]`, and so must what it
/// calls, because only what is inlined is compiled again.
pub(crate) trait Loop {
    /// What it computes.
    type Output;

    /// Computes it.
    fn run(self) -> Self::Output;
}

/// Runs `task` compiled for the widest vectors of this processor.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn vectorized<L: Loop>(task: L) -> L::Output {
    if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
    {
        // SAFETY: the features of `run_avx512` have just been detected.
        unsafe { run_avx512(task) }
    } else if is_x86_feature_detected!("avx2") {
        // SAFETY: the feature of `run_avx2` has just been detected.
        unsafe { run_avx2(task) }
    } else {
        task.run()
    }
}

/// Runs `task` compiled for the instruction set the program is built for.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) fn vectorized<L: Loop>(task: L) -> L::Output {
    task.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn run_avx512<L: Loop>(task: L) -> L::Output {
    task.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2<L: Loop>(task: L) -> L::Output {
    task.run()
}
