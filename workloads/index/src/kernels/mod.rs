//! Asymmetric distance computation over packed product-quantizer codes, per instruction set.
//!
//! A scan adds, for each stored code, one entry of a [`QuantizedLookupTable`](crate::product::QuantizedLookupTable)
//! per sub-quantizer and reports every code whose sum lies below the running threshold. Codes are stored
//! row-major (that is the format of record) and packed into blocks for the processor at hand by
//! [`PackedCodes`]; the packed bytes are a cache and are never written to disk.
//!
//! Guarantees: every kernel reports exactly the codes and sums that [`Kernel::Scalar`] reports, bit for bit.
//! Sums cannot overflow: [`QuantizedLookupTable`](crate::product::QuantizedLookupTable) bounds the largest
//! possible sum plus list bias by 65,535 for every number of sub-quantizers.
//! Failure modes: a run of codes and a table of different shapes, or masks of the wrong length, are refused.

pub mod exact;
mod layout;
mod memory;
mod nearest;
mod packing;
mod scalar;
mod scan;
mod vectorize;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_columns;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod tables_avx512;
#[cfg(target_arch = "x86_64")]
mod vbmi;
#[cfg(target_arch = "x86_64")]
mod vbmi_columns;

pub use layout::{CodeBits, CodeShape, ShapeError};
pub(crate) use nearest::{TILE, nearest_in_tile};
pub use packing::{CodeRun, PackError, PackedCodes};
pub use scan::{BlockHits, HitSink, MAX_QUERIES_A_PASS, ScanError, ScanQuery, scan};
pub(crate) use vectorize::{Loop, vectorized};

/// An instruction set that scans can use; later ones are faster where they exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kernel {
    /// Portable code; the oracle that the others must equal.
    Scalar,
    /// x86-64 with AVX2: `pshufb` on 32 bytes.
    Avx2,
    /// x86-64 with AVX-512 F, BW, VL and DQ: `pshufb` on 64 bytes.
    Avx512,
    /// x86-64 with AVX-512 VBMI and VNNI: `vpermb` and `vpdpbusd`.
    Avx512Vbmi,
}

impl Kernel {
    /// Every kernel, slowest first.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Avx2, Self::Avx512, Self::Avx512Vbmi];

    /// The fastest kernel this processor can run.
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::Scalar)
    }

    /// The kernels this processor can run, slowest first; always begins with [`Kernel::Scalar`].
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|kernel| kernel.is_supported()).collect()
    }

    /// Whether this processor can run the kernel.
    #[cfg(target_arch = "x86_64")]
    pub fn is_supported(self) -> bool {
        let avx512 = || {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
        };
        match self {
            Self::Scalar => true,
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            Self::Avx512 => avx512(),
            Self::Avx512Vbmi => {
                avx512() && is_x86_feature_detected!("avx512vbmi") && is_x86_feature_detected!("avx512vnni")
            }
        }
    }

    /// Whether this processor can run the kernel.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn is_supported(self) -> bool {
        self == Self::Scalar
    }
}
