//! JPEG: baseline, extended, progressive and lossless, through `jpeg-decoder`; extended of 12 bits through [`jpeg_12`].
//!
//! The decoder's own colour transform is switched off: whether components are YBR is decided here, from the Adobe
//! marker, the component names, the JFIF marker and last the file's photometric interpretation.

use jpeg_decoder::{ColorTransform, Decoder, Error, PixelFormat, UnsupportedFeature};

use super::image_module::{ImageModule, Photometric, damaged, unsupported};
use super::jpeg_12;
use super::jpeg_header::JpegHeader;
use super::samples::Stored;
use crate::contain::contained;
use crate::error::ImagingError;
use crate::format::Format;

const DECODER: &str = "JPEG (jpeg-decoder)";
const LOSSLESS: u8 = 0xC3;

/// A decoded frame, and whether its three components are `YBR_FULL`.
pub(crate) struct JpegFrame {
    pub(crate) stored: Stored<'static>,
    pub(crate) ybr: bool,
}

/// Decodes a frame.
pub(crate) fn decode(stream: &[u8], module: &ImageModule) -> Result<JpegFrame, ImagingError> {
    let header = JpegHeader::read(stream)?;
    header.check(module)?;
    let bits = u32::from(header.precision);
    if header.process != LOSSLESS && bits != 8 {
        if bits != 12 {
            return Err(unsupported(format!("lossy JPEG of {bits} bits")));
        }
        let values = jpeg_12::decode(stream, &header, module)?;
        let bytes: Vec<u8> = values.into_iter().flat_map(u16::to_le_bytes).collect();
        let signed = module.signed;
        let stored = Stored { bytes: bytes.into(), sample_bytes: 2, bits, shift: 0, signed, planar: false };
        return Ok(JpegFrame { stored, ybr: false });
    }
    if matches!(header.process, 0xC5..=0xCF) {
        return Err(unsupported("JPEG of a hierarchical or arithmetic-coded process"));
    }
    if !(2..=16).contains(&bits) || bits > module.bits_allocated {
        return Err(damaged(format!(
            "a compressed frame has {bits} bits where the file allocates {}",
            module.bits_allocated
        )));
    }
    let (pixels, format) = contained(DECODER, || {
        let mut decoder = Decoder::new(stream);
        // `RGB` weaves the components without converting them; `None` leaves them in planes.
        decoder.set_color_transform(ColorTransform::RGB);
        let pixels = decoder.decode().map_err(refused)?;
        let info = decoder.info().ok_or_else(|| damaged("a compressed frame has no JPEG header"))?;
        Ok((pixels, info.pixel_format))
    })?;
    // Sixteen-bit samples come in the machine's byte order.
    let (sample_bytes, bytes) = match format {
        PixelFormat::L16 => {
            let words = pixels.as_chunks::<2>().0.iter();
            (2, words.flat_map(|word| u16::from_ne_bytes(*word).to_le_bytes()).collect())
        }
        _ => (1, pixels),
    };
    let signed = module.signed;
    let stored = Stored { bytes: bytes.into(), sample_bytes, bits, shift: 0, signed, planar: false };
    Ok(JpegFrame { stored, ybr: is_ybr(&header, module) })
}

fn is_ybr(header: &JpegHeader, module: &ImageModule) -> bool {
    if module.samples != 3 || header.process == LOSSLESS {
        return matches!(module.photometric, Photometric::YbrFull | Photometric::YbrFull422);
    }
    match header.adobe_transform {
        Some(transform) => transform != 0,
        None if header.components == *b"RGB" => false,
        None => header.jfif || module.photometric != Photometric::Rgb,
    }
}

fn refused(error: Error) -> ImagingError {
    match error {
        Error::Io(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImagingError::truncated(Format::Dicom, "a compressed frame ends before its last pixel")
        }
        Error::Unsupported(feature) => unsupported(name_of(&feature)),
        other => ImagingError::decode(Format::Dicom, DECODER, &other),
    }
}

fn name_of(feature: &UnsupportedFeature) -> String {
    match feature {
        UnsupportedFeature::Hierarchical => "JPEG of a hierarchical process".to_owned(),
        UnsupportedFeature::ArithmeticEntropyCoding => "JPEG with arithmetic coding".to_owned(),
        UnsupportedFeature::SamplePrecision(bits) => format!("JPEG of {bits} bits"),
        UnsupportedFeature::ComponentCount(count) => format!("JPEG of {count} components"),
        UnsupportedFeature::DNL => "JPEG that tells its height after its pixels".to_owned(),
        UnsupportedFeature::SubsamplingRatio | UnsupportedFeature::NonIntegerSubsamplingRatio => {
            "JPEG with an uneven subsampling of its components".to_owned()
        }
        UnsupportedFeature::ColorTransform(_) => "JPEG with a colour transform that is not known".to_owned(),
    }
}
