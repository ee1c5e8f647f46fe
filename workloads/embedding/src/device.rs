//! Where a model computes: on the processor, or on a GPU of NVIDIA's.
//!
//! A device that cannot be used is an error when a model is loaded. ONNX Runtime, left to itself, would log it and compute on the
//! processor.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use ort::ep::cuda::ConvAlgorithmSearch;
use ort::ep::{CUDA, ExecutionProvider as _};
use ort::session::builder::SessionBuilder;

use crate::runtime::RuntimeError;

/// Where a model computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Device {
    /// The processor: `cpu`.
    #[default]
    Cpu,
    /// The GPU of this number among those that the process sees: `cuda:N`, or `cuda` for the first.
    Cuda(u16),
}

/// A text that names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no device {0:?}: give cpu, cuda for the first GPU, or cuda:N for that of number N")]
pub struct ParseDeviceError(String);

impl FromStr for Device {
    type Err = ParseDeviceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || ParseDeviceError(text.to_owned());
        match (text, text.strip_prefix("cuda:")) {
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                number.parse().map(Self::Cuda).map_err(|_| unknown())
            }
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(number) => write!(formatter, "cuda:{number}"),
        }
    }
}

impl Device {
    /// Has what `builder` builds compute there, or fails. `library` is where ONNX Runtime came from.
    pub(crate) fn register(
        self,
        builder: SessionBuilder,
        library: &Path,
    ) -> Result<SessionBuilder, RuntimeError> {
        let Self::Cuda(number) = self else { return Ok(builder) };
        let unusable = |source| RuntimeError::UseDevice { device: self, library: library.to_owned(), source };
        if !CUDA::is_available().map_err(unusable)? {
            return Err(RuntimeError::SupportDevice { device: self, library: library.to_owned() });
        }
        let provider = CUDA::default()
            .with_device_id(i32::from(number))
            // Batches are of every size, and each new one would be searched for its fastest algorithm.
            .with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic)
            // Vectors of processors and of GPUs are in one index: 10 bits of a mantissa would set them apart.
            .with_tf32(false)
            .build()
            .error_on_failure();
        builder.with_execution_providers([provider]).map_err(|error| unusable(error.into()))
    }

    /// What to look at, added to an error that the device may be the cause of.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Cpu => "",
            Self::Cuda(_) => {
                "; if the cause names CUDA or cuDNN, see that `nvidia-smi` lists the GPU and that both have the versions that this ONNX Runtime was built for, or choose --device cpu"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for (text, device, written) in [
            ("cpu", Device::Cpu, "cpu"),
            ("cuda", Device::Cuda(0), "cuda:0"),
            ("cuda:0", Device::Cuda(0), "cuda:0"),
            ("cuda:11", Device::Cuda(11), "cuda:11"),
        ] {
            assert_eq!(text.parse(), Ok(device), "{text}");
            assert_eq!(device.to_string(), written);
        }
    }

    #[test]
    fn what_is_no_device_is_refused_with_those_there_are() {
        for text in
            ["", "gpu", "CPU", "cpu:0", "cuda:", "cuda:-1", "cuda:+1", "cuda: 1", "cuda:70000", "cuda0"]
        {
            let error = text.parse::<Device>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("cpu, cuda"), "{error}");
        }
    }

    #[test]
    fn the_processor_is_the_default() {
        assert_eq!(Device::default(), Device::Cpu);
    }
}
