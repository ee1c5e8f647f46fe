//! Data elements of a DICOM data set, read in place (PS3.5, section 7).
//!
//! Guarantees: no value is copied, no memory is taken for a declared length, and every declared length is checked
//! against what is left of the file; nesting deeper than [`MAX_DEPTH`] is refused. Sequences are read when asked for.
//! Assumption: tags that this crate reads have the VR that the standard gives them, so that implicit VR needs no dictionary.

use std::collections::BTreeMap;

use crate::error::ImagingError;
use crate::format::Format;

/// Group and element number as one number.
pub(crate) type Tag = u32;

/// Deepest accepted nesting of sequences.
const MAX_DEPTH: usize = 48;
const ITEM: Tag = 0xFFFE_E000;
const ITEM_END: Tag = 0xFFFE_E00D;
const SEQUENCE_END: Tag = 0xFFFE_E0DD;
const UNDEFINED: u32 = u32::MAX;

/// Pixel data in its three kinds; reading stops at the first of them.
pub(crate) const PIXEL_DATA: Tag = 0x7FE0_0010;
pub(crate) const FLOAT_PIXEL_DATA: Tag = 0x7FE0_0008;
pub(crate) const DOUBLE_PIXEL_DATA: Tag = 0x7FE0_0009;

/// How elements are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) explicit_vr: bool,
    pub(crate) big_endian: bool,
}

impl Encoding {
    pub(crate) const IMPLICIT_LITTLE: Self = Self { explicit_vr: false, big_endian: false };
    pub(crate) const EXPLICIT_LITTLE: Self = Self { explicit_vr: true, big_endian: false };
    pub(crate) const EXPLICIT_BIG: Self = Self { explicit_vr: true, big_endian: true };

    pub(crate) fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    pub(crate) fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

/// One element's value where it lies in the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a> {
    /// The two letters of an explicit VR.
    pub(crate) vr: Option<[u8; 2]>,
    /// The value's bytes; of a sequence its items; cut short where the file ends too early.
    pub(crate) bytes: &'a [u8],
    /// True for a length left open: a sequence, or encapsulated pixel data.
    pub(crate) undefined: bool,
    /// Bytes that the header declares and the file does not have.
    pub(crate) missing: u64,
}

/// The elements of one data set or sequence item, up to and with its pixel data.
#[derive(Debug, Clone)]
pub(crate) struct DataSet<'a> {
    pub(crate) encoding: Encoding,
    elements: BTreeMap<Tag, Value<'a>>,
    depth: usize,
}

impl<'a> DataSet<'a> {
    /// Reads the elements of `bytes` up to the pixel data.
    pub(crate) fn read(bytes: &'a [u8], encoding: Encoding) -> Result<Self, ImagingError> {
        Self::read_at(bytes, encoding, 0)
    }

    fn read_at(bytes: &'a [u8], encoding: Encoding, depth: usize) -> Result<Self, ImagingError> {
        if depth > MAX_DEPTH {
            return Err(damaged(format!("its sequences are nested more than {MAX_DEPTH} deep")));
        }
        let mut reader = Reader { bytes, position: 0, encoding };
        let mut elements = BTreeMap::new();
        while let Some(header) = reader.header()? {
            if header.tag == ITEM_END || header.tag == SEQUENCE_END {
                break;
            }
            let value = reader.value(&header, depth)?;
            let pixels = matches!(header.tag, PIXEL_DATA | FLOAT_PIXEL_DATA | DOUBLE_PIXEL_DATA);
            if value.missing > 0 && !pixels {
                return Err(ImagingError::truncated(
                    Format::Dicom,
                    format!(
                        "element {} declares {} bytes, and {} of them are missing",
                        tag_name(header.tag),
                        header.length,
                        value.missing
                    ),
                ));
            }
            elements.insert(header.tag, value);
            if pixels && depth == 0 {
                break;
            }
        }
        Ok(Self { encoding, elements, depth })
    }

    /// The value of an element, if the data set has it.
    pub(crate) fn get(&self, tag: Tag) -> Option<&Value<'a>> {
        self.elements.get(&tag)
    }

    /// The pixel data, of whichever kind.
    pub(crate) fn pixels(&self) -> Option<&Value<'a>> {
        [PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA].into_iter().find_map(|tag| self.get(tag))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.elements.len()
    }

    /// Lays `other` over this data set: its elements win.
    pub(crate) fn overlaid(&self, other: &Self) -> Self {
        let mut merged = self.clone();
        merged.elements.extend(other.elements.iter().map(|(tag, value)| (*tag, *value)));
        merged
    }

    /// The items of a sequence; none where the element is absent.
    pub(crate) fn items(&self, tag: Tag) -> Result<Vec<DataSet<'a>>, ImagingError> {
        let Some(value) = self.get(tag) else { return Ok(Vec::new()) };
        // A sequence of unknown VR is in implicit VR (PS3.5, 6.2.2).
        let encoding = if value.vr == Some(*b"UN") { Encoding::IMPLICIT_LITTLE } else { self.encoding };
        let mut reader = Reader { bytes: value.bytes, position: 0, encoding };
        let mut items = Vec::new();
        while let Some(header) = reader.item_header()? {
            if header.tag != ITEM {
                break;
            }
            let content = reader.item_content(&header, self.depth)?;
            items.push(Self::read_at(content, encoding, self.depth + 1)?);
        }
        Ok(items)
    }

    /// The first item of a sequence.
    pub(crate) fn first_item(&self, tag: Tag) -> Result<Option<DataSet<'a>>, ImagingError> {
        Ok(self.items(tag)?.into_iter().next())
    }

    /// First value of US, SS as the file's bits, or of a longer integer that fits.
    pub(crate) fn u16(&self, tag: Tag) -> Option<u16> {
        let bytes = self.get(tag)?.bytes;
        bytes.first_chunk::<2>().map(|bytes| self.encoding.u16(*bytes))
    }

    /// All values of US, SS or OW.
    pub(crate) fn u16s(&self, tag: Tag) -> Vec<u16> {
        let bytes = self.get(tag).map_or(&[][..], |value| value.bytes);
        bytes.as_chunks::<2>().0.iter().map(|bytes| self.encoding.u16(*bytes)).collect()
    }

    /// Numbers written as text (DS, IS), separated by backslashes; what is not a finite number is `None`.
    pub(crate) fn decimals(&self, tag: Tag) -> Vec<Option<f64>> {
        let Some(value) = self.get(tag) else { return Vec::new() };
        // FD is written by some for DS.
        if value.vr == Some(*b"FD") {
            let read = |bytes: &[u8; 8]| {
                let bits = u64::from_le_bytes(*bytes);
                f64::from_bits(if self.encoding.big_endian { bits.swap_bytes() } else { bits })
            };
            let finite = |bytes: &[u8; 8]| Some(read(bytes)).filter(|number| number.is_finite());
            return value.bytes.as_chunks::<8>().0.iter().map(finite).collect();
        }
        let Ok(text) = std::str::from_utf8(value.bytes) else { return Vec::new() };
        let parse = |part: &str| {
            let number: Option<f64> = part.trim_matches([' ', '\0']).parse().ok();
            number.filter(|number| number.is_finite())
        };
        text.split('\\').map(parse).collect()
    }

    /// The first number written as text.
    pub(crate) fn decimal(&self, tag: Tag) -> Option<f64> {
        self.decimals(tag).first().copied().flatten()
    }

    /// The first value of a text in the default character set (CS, UI, DA, TM, DT), trimmed, with blanks for control characters; `None` where
    /// empty.
    pub(crate) fn code(&self, tag: Tag) -> Option<String> {
        let bytes = self.get(tag)?.bytes;
        let first = bytes.split(|byte| *byte == b'\\').next().unwrap_or_default();
        let text = String::from_utf8_lossy(first).replace(char::is_control, " ");
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// `(gggg,eeee)`.
pub(crate) fn tag_name(tag: Tag) -> String {
    format!("({:04X},{:04X})", tag >> 16, tag & 0xFFFF)
}

/// True for two letters that can be a VR.
pub(crate) fn is_vr(bytes: &[u8]) -> bool {
    bytes.len() == 2 && bytes.iter().all(u8::is_ascii_uppercase)
}

fn damaged(detail: String) -> ImagingError {
    ImagingError::damaged(Format::Dicom, detail)
}

/// An element before its value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) tag: Tag,
    pub(crate) vr: Option<[u8; 2]>,
    pub(crate) length: u32,
}

/// A position in the bytes of a data set.
pub(crate) struct Reader<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) position: usize,
    pub(crate) encoding: Encoding,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    fn take<const N: usize>(&mut self, what: &str) -> Result<[u8; N], ImagingError> {
        let bytes = self.rest().first_chunk::<N>().copied().ok_or_else(|| {
            ImagingError::truncated(
                Format::Dicom,
                format!("it ends in {what} at byte {} of its data set", self.position),
            )
        })?;
        self.position += N;
        Ok(bytes)
    }

    fn tag(&mut self) -> Result<Tag, ImagingError> {
        let [a, b, c, d] = self.take::<4>("a tag")?;
        Ok(u32::from(self.encoding.u16([a, b])) << 16 | u32::from(self.encoding.u16([c, d])))
    }

    /// The next element's tag, VR and length; `None` at the end, or where only zero padding follows.
    pub(crate) fn header(&mut self) -> Result<Option<Header>, ImagingError> {
        if self.rest().len() < 8 && self.rest().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let tag = self.tag()?;
        if !self.encoding.explicit_vr || tag >> 16 == ITEM >> 16 {
            let length = self.take::<4>("a length")?;
            return Ok(Some(Header { tag, vr: None, length: self.encoding.u32(length) }));
        }
        let [a, b, c, d] = self.take::<4>("a VR")?;
        let vr = [a, b];
        let long = matches!(
            &vr,
            b"OB"
                | b"OD"
                | b"OF"
                | b"OL"
                | b"OV"
                | b"OW"
                | b"SQ"
                | b"SV"
                | b"UC"
                | b"UN"
                | b"UR"
                | b"UT"
                | b"UV"
        );
        let length = if long {
            let length = self.take::<4>("a length")?;
            self.encoding.u32(length)
        } else if is_vr(&vr) {
            u32::from(self.encoding.u16([c, d]))
        } else {
            // Some writers fall into implicit VR for single elements.
            self.encoding.u32([a, b, c, d])
        };
        Ok(Some(Header { tag, vr: is_vr(&vr).then_some(vr), length }))
    }

    fn item_header(&mut self) -> Result<Option<Header>, ImagingError> {
        if self.rest().len() < 8 {
            return Ok(None);
        }
        let tag = self.tag()?;
        let length = self.take::<4>("a length")?;
        Ok(Some(Header { tag, vr: None, length: self.encoding.u32(length) }))
    }

    /// The value that follows a header; the position moves behind it.
    pub(crate) fn value(&mut self, header: &Header, depth: usize) -> Result<Value<'a>, ImagingError> {
        let undefined = header.length == UNDEFINED;
        if !undefined {
            let rest = self.rest();
            let length = header.length as usize;
            let bytes = &rest[..length.min(rest.len())];
            self.position += bytes.len();
            let missing = (length - bytes.len()) as u64;
            return Ok(Value { vr: header.vr, bytes, undefined, missing });
        }
        if matches!(header.tag, PIXEL_DATA | FLOAT_PIXEL_DATA | DOUBLE_PIXEL_DATA) {
            // Fragments are walked by the reader of pixel data; nothing behind them is needed.
            let bytes = self.rest();
            self.position = self.bytes.len();
            return Ok(Value { vr: header.vr, bytes, undefined, missing: 0 });
        }
        let start = self.position;
        let outer = self.encoding;
        if header.vr == Some(*b"UN") {
            self.encoding = Encoding::IMPLICIT_LITTLE;
        }
        let end = self.skip_items(depth + 1);
        self.encoding = outer;
        Ok(Value { vr: header.vr, bytes: &self.bytes[start..end?], undefined, missing: 0 })
    }

    /// Moves behind the items of a sequence of undefined length; answers where the last item ends.
    fn skip_items(&mut self, depth: usize) -> Result<usize, ImagingError> {
        if depth > MAX_DEPTH {
            return Err(damaged(format!("its sequences are nested more than {MAX_DEPTH} deep")));
        }
        loop {
            let end = self.position;
            let tag = self.tag()?;
            let length = self.take::<4>("a length")?;
            let header = Header { tag, vr: None, length: self.encoding.u32(length) };
            match tag {
                SEQUENCE_END => return Ok(end),
                ITEM => drop(self.item_content(&header, depth)?),
                _ => {
                    return Err(damaged(format!(
                        "a sequence has {} at byte {end} where an item belongs",
                        tag_name(tag)
                    )));
                }
            }
        }
    }

    /// The content of an item, without its delimiter; the position moves behind it.
    fn item_content(&mut self, header: &Header, depth: usize) -> Result<&'a [u8], ImagingError> {
        let start = self.position;
        if header.length != UNDEFINED {
            let length = header.length as usize;
            let content = self.rest().get(..length).ok_or_else(|| {
                ImagingError::truncated(
                    Format::Dicom,
                    format!("an item declares {length} bytes, more than are left"),
                )
            })?;
            self.position += length;
            return Ok(content);
        }
        loop {
            let end = self.position;
            let Some(inner) = self.header()? else {
                return Err(ImagingError::truncated(Format::Dicom, "it ends inside a sequence"));
            };
            if inner.tag == ITEM_END {
                return Ok(&self.bytes[start..end]);
            }
            let value = self.value(&inner, depth)?;
            if value.missing > 0 {
                return Err(ImagingError::truncated(
                    Format::Dicom,
                    format!("element {} reaches behind the end", tag_name(inner.tag)),
                ));
            }
        }
    }
}
