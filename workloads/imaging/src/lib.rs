//! From DICOM, PNG, JPEG, TIFF, BMP and `NIfTI` files to pixels and model input.
//!
//! [`inspect`] reads the header only; [`decode`] gives stored values per frame; [`Frame::render`] applies modality LUT and
//! window; [`Rendered`] is cropped, shown, or turned into a model's input.
//!
//! Guarantees: the format is found from the content; [`Limits`] are checked before memory is taken, also where a
//! header lies about its stream, and [`inspect_memory`] and [`decode_memory`] say what a file takes; lossless pixels are exact; windows follow DICOM PS3.3 C.11.2.
//! Failure: every refusal is an [`ImagingError`] that names the cause and what to do; a panic inside a third-party
//! decoder becomes one too. Assumption: the caller's panic strategy is unwinding.

mod contain;
mod decode;
mod dicom;
mod error;
mod format;
mod frame;
mod grey;
mod info;
mod limits;
mod memory;
mod nifti;
mod nifti_header;
mod plain;
mod render;
mod resize;
mod tensor;
mod window;

pub use decode::{decode, inspect};
pub use error::{Cause, ImagingError};
pub use format::Format;
pub use frame::{Decoded, Frame, FrameSelection, Pixels, Samples};
pub use info::{ImageAttributes, ImageInfo};
pub use limits::Limits;
pub use memory::{decode_memory, inspect_memory};
pub use render::{Channels, Region, Rendered};
pub use tensor::{ColourOrder, InputSpec, Layout, Resize};
pub use window::{UnknownWindow, Window, WindowChoice, WindowFunction, WindowPreset};
