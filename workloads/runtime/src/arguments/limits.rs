//! Bounds on what is decoded and on what decoding takes, and which frames become searchable.

use clap::Args;
use medindex_imaging::Limits;
use medindex_pipeline::{DECODE_MEMORY, SearchableFrames};

/// Bounds on one image.
#[derive(Debug, Clone, Args)]
pub struct LimitArguments {
    /// Bytes of a file at the most.
    #[arg(long, env = "MEDINDEX_MAX_FILE_BYTES", value_name = "N", default_value_t = Limits::default().max_file_bytes, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_file_bytes: u64,
    /// Pixels of a frame at the most.
    #[arg(long, env = "MEDINDEX_MAX_PIXELS", value_name = "N", default_value_t = Limits::default().max_pixels, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_pixels: u64,
    /// Frames of a file at the most.
    #[arg(long, env = "MEDINDEX_MAX_FRAMES", value_name = "N", default_value_t = Limits::default().max_frames, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_frames: u32,
    /// Bytes of all decoded frames of a file together at the most.
    #[arg(long, env = "MEDINDEX_MAX_DECODED_BYTES", value_name = "N", default_value_t = Limits::default().max_decoded_bytes, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_decoded_bytes: u64,
    /// Bytes that files may take while they are decoded, all together; a file that needs more is decoded alone.
    #[arg(long, env = "MEDINDEX_DECODE_MEMORY_BYTES", value_name = "N", default_value_t = DECODE_MEMORY, value_parser = clap::value_parser!(u64).range(1..))]
    pub decode_memory_bytes: u64,
}

impl LimitArguments {
    /// The limits.
    pub fn limits(&self) -> Limits {
        Limits {
            max_file_bytes: self.max_file_bytes,
            max_pixels: self.max_pixels,
            max_frames: self.max_frames,
            max_decoded_bytes: self.max_decoded_bytes,
        }
    }
}

/// Which frames of a multi-frame image become searchable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FramesArgument {
    /// The middle frame only.
    Middle,
    /// Every frame.
    All,
}

impl From<FramesArgument> for SearchableFrames {
    fn from(argument: FramesArgument) -> Self {
        match argument {
            FramesArgument::Middle => Self::Middle,
            FramesArgument::All => Self::All,
        }
    }
}
