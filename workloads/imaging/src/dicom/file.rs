//! A DICOM file around its data set: preamble, file meta information, transfer syntax, deflate (PS3.10, PS3.5 A.5).
//!
//! Also read: files without preamble, without meta information or without transfer syntax, whose encoding is then
//! found from the first elements.

use std::borrow::Cow;
use std::io::Read;

use flate2::bufread::DeflateDecoder;

use super::data_set::{DataSet, Encoding, Reader, is_vr};
use super::image_module::ImageModule;
use super::transfer_syntax::{self, TransferSyntax};
use crate::error::ImagingError;
use crate::format::Format;
use crate::limits::Limits;
use crate::memory::COMPRESSED_HEADER;

const TRANSFER_SYNTAX_UID: u32 = 0x0002_0010;
const MEDIA_CLASS_UID: u32 = 0x0002_0002;

/// Bytes of a deflated data set that are inflated to find its header; where they do not suffice, up to [`COMPRESSED_HEADER`].
const USUAL_HEADER: u64 = 4 << 20;

/// A file taken apart; the data set is still bytes.
pub(crate) struct DicomFile<'a> {
    pub(crate) syntax: &'static TransferSyntax,
    /// UID as written, or the one of the encoding found.
    pub(crate) syntax_uid: String,
    /// SOP class of the meta information.
    pub(crate) media_class: Option<String>,
    pub(crate) encoding: Encoding,
    body: Cow<'a, [u8]>,
}

/// True where the bytes begin like a DICOM data set without preamble: at least two elements of ascending tags in
/// group 0002 or 0008.
pub(crate) fn looks_like_data_set(bytes: &[u8]) -> bool {
    let Some(encoding) = guess_encoding(bytes) else { return false };
    let mut reader = Reader { bytes: &bytes[..bytes.len().min(64 << 10)], position: 0, encoding };
    let mut last = 0;
    for _ in 0..2 {
        let Ok(Some(header)) = reader.header() else { return false };
        let group = header.tag >> 16;
        if header.tag <= last || !(group == 2 || group == 8) || header.length > 1 << 16 {
            return false;
        }
        match reader.value(&header, 0) {
            Ok(value) if value.missing == 0 => last = header.tag,
            _ => return false,
        }
    }
    true
}

/// True where the meta information names a transfer syntax whose data set is deflated.
pub(crate) fn is_deflated(bytes: &[u8]) -> bool {
    let uid = Meta::split(bytes).ok().and_then(|(meta, _)| meta.transfer_syntax);
    uid.and_then(|uid| transfer_syntax::find(&uid)).is_some_and(|syntax| syntax.deflated)
}

/// The encoding of a data set from its first element.
fn guess_encoding(bytes: &[u8]) -> Option<Encoding> {
    let explicit_vr = is_vr(bytes.get(4..6)?);
    match *bytes.first_chunk::<2>()? {
        [2 | 8, 0] => Some(Encoding { explicit_vr, big_endian: false }),
        [0, 2 | 8] if explicit_vr => Some(Encoding::EXPLICIT_BIG),
        // Files under a DICM mark may begin with any group.
        [low, _] if low > 0 => Some(Encoding { explicit_vr, big_endian: false }),
        _ => None,
    }
}

impl<'a> DicomFile<'a> {
    /// Takes the file apart. A deflated data set is inflated as far as its header needs, and with `pixels` as far as
    /// the header declares pixels: never further, whatever the stream holds.
    pub(crate) fn open(bytes: &'a [u8], limits: &Limits, pixels: bool) -> Result<Self, ImagingError> {
        let (meta, body) = Meta::split(bytes)?;
        if body.is_empty() {
            return Err(ImagingError::truncated(Format::Dicom, "nothing follows its file meta information"));
        }
        let guessed = guess_encoding(body);
        let (syntax, syntax_uid) = if let Some(uid) = meta.transfer_syntax {
            (transfer_syntax::find(&uid).ok_or_else(|| unsupported(&uid, "unknown"))?, uid)
        } else {
            let encoding = guessed.ok_or_else(|| {
                ImagingError::damaged(
                    Format::Dicom,
                    "it has no transfer syntax, and its data set begins with no known element",
                )
            })?;
            let syntax = transfer_syntax::of_encoding(encoding);
            (syntax, syntax.uid.to_owned())
        };
        let (body, guessed) = if syntax.deflated {
            let inflated = inflate(body, limits, pixels)?;
            let guessed = guess_encoding(&inflated);
            (Cow::Owned(inflated), guessed)
        } else {
            (Cow::Borrowed(body), guessed)
        };
        // Files that claim one VR encoding and hold the other are common enough; the data decides.
        let encoding = match guessed {
            Some(found) if found.big_endian == syntax.encoding.big_endian => found,
            _ => syntax.encoding,
        };
        Ok(Self { syntax, syntax_uid, media_class: meta.media_class, encoding, body })
    }

    /// The elements up to the pixel data.
    pub(crate) fn data_set(&self) -> Result<DataSet<'_>, ImagingError> {
        DataSet::read(&self.body, self.encoding)
    }
}

/// The error for a transfer syntax that is not read.
pub(crate) fn unsupported(uid: &str, name: &str) -> ImagingError {
    ImagingError::UnsupportedTransferSyntax { uid: uid.to_owned(), name: name.to_owned() }
}

struct Meta {
    length: usize,
    transfer_syntax: Option<String>,
    media_class: Option<String>,
}

impl Meta {
    /// The meta information, and what follows it.
    fn split(bytes: &[u8]) -> Result<(Self, &[u8]), ImagingError> {
        let start = if bytes.get(128..132) == Some(b"DICM") { 132 } else { 0 };
        let meta = Self::read(&bytes[start..])?;
        let body = &bytes[start + meta.length..];
        Ok((meta, body))
    }

    /// Reads group 0002 element by element: its declared group length is often wrong.
    fn read(bytes: &[u8]) -> Result<Self, ImagingError> {
        let mut reader = Reader { bytes, position: 0, encoding: Encoding::EXPLICIT_LITTLE };
        let mut meta = Self { length: 0, transfer_syntax: None, media_class: None };
        while bytes[reader.position..].starts_with(&[2, 0]) {
            let Some(header) = reader.header()? else { break };
            let value = reader.value(&header, 0)?;
            if value.missing > 0 {
                return Err(ImagingError::truncated(
                    Format::Dicom,
                    "it ends inside its file meta information",
                ));
            }
            let text = || {
                let text = String::from_utf8_lossy(value.bytes);
                let text = text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\0');
                (!text.is_empty()).then(|| text.to_owned())
            };
            match header.tag {
                TRANSFER_SYNTAX_UID => meta.transfer_syntax = text(),
                MEDIA_CLASS_UID => meta.media_class = text(),
                _ => {}
            }
            meta.length = reader.position;
        }
        Ok(meta)
    }
}

/// Inflates a deflated data set in steps: its header, then the pixels that the header declares.
fn inflate(body: &[u8], limits: &Limits, pixels: bool) -> Result<Vec<u8>, ImagingError> {
    let mut stream = DeflateDecoder::new(body);
    let mut inflated = Vec::new();
    let failed = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            ImagingError::truncated(Format::Dicom, "its deflated data set ends too early")
        } else {
            ImagingError::decode(Format::Dicom, "deflate", &error)
        }
    };
    let mut inflate_to = |inflated: &mut Vec<u8>, bytes: u64| {
        let more = bytes.saturating_sub(inflated.len() as u64);
        stream.by_ref().take(more).read_to_end(inflated).map_err(failed)
    };
    for step in [USUAL_HEADER, COMPRESSED_HEADER] {
        inflate_to(&mut inflated, step)?;
        let cut = inflated.len() as u64 == step;
        let encoding = guess_encoding(&inflated).unwrap_or(Encoding::EXPLICIT_LITTLE);
        match DataSet::read(&inflated, encoding) {
            Ok(data_set) => match data_set.pixels() {
                Some(value) if !pixels || value.missing == 0 => return Ok(inflated),
                Some(value) => {
                    // Only what the image's own size needs is inflated, whatever length the element declares.
                    let module = ImageModule::read(&data_set, limits)?;
                    let header = (inflated.len() - value.bytes.len()) as u64;
                    let declared = value.bytes.len() as u64 + value.missing;
                    let wanted = header + module.native_bytes().min(declared);
                    limits.check_decoded(wanted)?;
                    inflate_to(&mut inflated, wanted)?;
                    return Ok(inflated);
                }
                None if !cut => return Ok(inflated),
                None => {}
            },
            Err(error) if !cut => return Err(error),
            Err(_) => {}
        }
    }
    Err(ImagingError::HeaderTooLarge { format: Format::Dicom, limit: COMPRESSED_HEADER })
}
