//! Which format a file is in, found from its content and never from its name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dicom;
use crate::error::ImagingError;

/// Formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// DICOM PS3.10 file, or a bare DICOM data set.
    Dicom,
    /// PNG, 1 to 16 bits.
    Png,
    /// JPEG (JFIF), 8 bits.
    Jpeg,
    /// TIFF and `BigTIFF`, pages as frames.
    Tiff,
    /// Windows bitmap.
    Bmp,
    /// `NIfTI`-1 or `NIfTI`-2 in one file, plain or gzip-compressed, slices as frames.
    Nifti,
}

impl Format {
    /// The format's name as its users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dicom => "DICOM",
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Tiff => "TIFF",
            Self::Bmp => "BMP",
            Self::Nifti => "NIfTI",
        }
    }

    /// The format's media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Dicom => "application/dicom",
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Tiff => "image/tiff",
            Self::Bmp => "image/bmp",
            Self::Nifti => "application/octet-stream",
        }
    }

    /// Finds the format of a file from its content.
    ///
    /// # Errors
    /// [`ImagingError::EmptyFile`], [`ImagingError::UnsupportedFormat`] for known image formats that are not read, and
    /// [`ImagingError::NotAnImage`], which says what the content looks like.
    pub fn detect(bytes: &[u8]) -> Result<Self, ImagingError> {
        if bytes.is_empty() {
            return Err(ImagingError::EmptyFile);
        }
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        if bytes.get(128..132) == Some(b"DICM") {
            return Ok(Self::Dicom);
        }
        if starts(b"\x89PNG\r\n\x1a\n") {
            return Ok(Self::Png);
        }
        if starts(b"\xff\xd8\xff") {
            return Ok(Self::Jpeg);
        }
        if starts(b"II*\0") || starts(b"MM\0*") || starts(b"II+\0") || starts(b"MM\0+") {
            return Ok(Self::Tiff);
        }
        if is_bmp(bytes) {
            return Ok(Self::Bmp);
        }
        if crate::nifti::looks_like_nifti(bytes) {
            return Ok(Self::Nifti);
        }
        if dicom::looks_like_data_set(bytes) {
            return Ok(Self::Dicom);
        }
        Err(refusal(bytes))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A bitmap has one of the known header sizes at offset 14.
fn is_bmp(bytes: &[u8]) -> bool {
    let size = bytes.get(14..18).and_then(|field| field.try_into().ok()).map(u32::from_le_bytes);
    bytes.starts_with(b"BM") && matches!(size, Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}

/// Names what an unreadable file looks like.
fn refusal(bytes: &[u8]) -> ImagingError {
    const IMAGES: [(&[u8], usize, &str); 10] = [
        (b"GIF8", 0, "a GIF image"),
        (b"WEBP", 8, "a WebP image"),
        (b"\0\0\0\x0cjP  ", 0, "a JPEG 2000 image outside DICOM"),
        (b"\xff\x4f\xff\x51", 0, "a JPEG 2000 codestream outside DICOM"),
        (b"ftypheic", 4, "an HEIC image"),
        (b"ftypavif", 4, "an AVIF image"),
        (b"\0\0\0\x0cJXL ", 0, "a JPEG XL image"),
        (b"8BPS", 0, "a Photoshop document"),
        (b"NRRD", 0, "an NRRD volume"),
        (b"\x89HDF\r\n\x1a\n", 0, "an HDF5 file (perhaps MINC)"),
    ];
    const OTHERS: [(&[u8], usize, &str); 14] = [
        (b"PK\x03\x04", 0, "a ZIP archive (import its files instead)"),
        (b"PK\x05\x06", 0, "an empty ZIP archive"),
        (b"\x1f\x8b", 0, "gzip-compressed data that is not NIfTI (unpack it first)"),
        (b"ustar", 257, "a TAR archive"),
        (b"7z\xbc\xaf", 0, "a 7-Zip archive"),
        (b"Rar!", 0, "a RAR archive"),
        (b"%PDF", 0, "a PDF document"),
        (b"\x7fELF", 0, "a Linux program"),
        (b"MZ", 0, "a Windows program"),
        (b"ftyp", 4, "an MP4 video"),
        (b"RIFF", 0, "an AVI or WAV recording"),
        (b"\x1aE\xdf\xa3", 0, "a Matroska video"),
        (b"SQLite format 3", 0, "a SQLite database"),
        (b"\xd0\xcf\x11\xe0", 0, "an old Microsoft Office document"),
    ];
    let at = |magic: &[u8], offset: usize| bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if let Some((_, _, format)) = IMAGES.iter().find(|(magic, offset, _)| at(magic, *offset)) {
        return ImagingError::UnsupportedFormat { format: (*format).to_owned() };
    }
    if let Some((_, _, name)) = OTHERS.iter().find(|(magic, offset, _)| at(magic, *offset)) {
        return ImagingError::NotAnImage { looks_like: (*name).to_owned() };
    }
    ImagingError::NotAnImage { looks_like: describe_unknown(bytes) }
}

fn describe_unknown(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(512)];
    if head.iter().all(|byte| *byte == 0) {
        return format!("nothing but zero bytes ({} of them)", bytes.len());
    }
    let trimmed = head.trim_ascii_start();
    let text = match std::str::from_utf8(head) {
        Ok(_) => true,
        // A character cut in two by the end of `head` is no reason to call a text binary.
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    if text && !head.contains(&0) {
        let kind = match trimmed.first() {
            Some(b'<') if trimmed.starts_with(b"<svg") => "an SVG drawing",
            Some(b'<') if trimmed.to_ascii_lowercase().starts_with(b"<!doctype html") => "an HTML page",
            Some(b'<') => "XML or HTML text",
            Some(b'{' | b'[') => "JSON text",
            _ => "plain text",
        };
        return kind.to_owned();
    }
    let first: Vec<String> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("unknown binary data (it begins with {})", first.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_an_image_is_named() {
        let cases: [(&[u8], &str); 6] = [
            (b"%PDF-1.7 ....", "PDF"),
            (b"PK\x03\x04....", "ZIP"),
            (b"hello, world", "plain text"),
            (b"{\"a\": 1}", "JSON"),
            (&[0; 600], "zero bytes"),
            (b"\x01\x02\x03\xff\xfe\xfd", "unknown binary data (it begins with 01 02 03 ff fe fd)"),
        ];
        for (bytes, words) in cases {
            let error = Format::detect(bytes).unwrap_err();
            assert_eq!(error.code(), "not_an_image");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn image_formats_that_are_not_read_are_named() {
        let error = Format::detect(b"GIF89a......").unwrap_err();
        assert_eq!(error.code(), "unsupported_format");
        assert!(error.to_string().contains("a GIF image"), "{error}");
    }
}
