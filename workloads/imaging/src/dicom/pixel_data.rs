//! Where each frame's bytes lie: uncompressed one after the other, or in fragments (PS3.5, A.4).

use std::borrow::Cow;
use std::ops::Range;

use super::data_set::{DOUBLE_PIXEL_DATA, DataSet, FLOAT_PIXEL_DATA, PIXEL_DATA, Tag, Value};
use super::image_module::{ImageModule, damaged};
use super::transfer_syntax::Compression;
use crate::error::ImagingError;
use crate::format::Format;

const EXTENDED_OFFSET_TABLE: Tag = 0x7FE0_0001;
const ITEM: [u8; 4] = [0xFE, 0xFF, 0x00, 0xE0];
const SEQUENCE_END: [u8; 4] = [0xFE, 0xFF, 0xDD, 0xE0];

/// The pixel data element of a file.
pub(crate) enum PixelData<'a> {
    /// Frames one after the other.
    Native(Value<'a>),
    /// One list of fragments a frame.
    Encapsulated(Vec<Vec<&'a [u8]>>),
}

impl<'a> PixelData<'a> {
    /// Finds the frames; no pixel is decoded or copied.
    pub(crate) fn locate(
        data_set: &DataSet<'a>,
        module: &ImageModule,
        compression: Compression,
    ) -> Result<Self, ImagingError> {
        let value = [PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA]
            .into_iter()
            .find_map(|tag| data_set.get(tag))
            .ok_or_else(|| damaged("it has no pixel data"))?;
        if !value.undefined {
            if compression != Compression::Native {
                return Err(damaged("its transfer syntax is compressed, but its pixel data is not"));
            }
            return Ok(Self::Native(*value));
        }
        if data_set.encoding.big_endian {
            return Err(damaged("its pixel data is in fragments, which big endian data cannot have"));
        }
        let (offsets, fragments) = walk(value.bytes)?;
        let extended = data_set.get(EXTENDED_OFFSET_TABLE).map(|table| {
            table.bytes.as_chunks::<8>().0.iter().map(|offset| u64::from_le_bytes(*offset)).collect()
        });
        group(&extended.unwrap_or(offsets), fragments, module.frames as usize, compression)
            .map(Self::Encapsulated)
    }

    /// Refuses pixel data without its first frame.
    pub(crate) fn check_first(&self, module: &ImageModule) -> Result<(), ImagingError> {
        match self {
            Self::Native(_) => self.frame(module, 0, None).map(drop),
            Self::Encapsulated(frames) if frames.is_empty() => {
                Err(ImagingError::truncated(Format::Dicom, "its pixel data has no frame"))
            }
            Self::Encapsulated(_) => Ok(()),
        }
    }

    /// The bytes of a frame, uncompressed ones in little endian; for frames that do not begin on a byte (1 bit a pixel),
    /// all bytes they touch.
    ///
    /// `swap` is the number of bytes of a big endian word.
    pub(crate) fn frame(
        &self,
        module: &ImageModule,
        frame: u32,
        swap: Option<usize>,
    ) -> Result<Cow<'a, [u8]>, ImagingError> {
        match self {
            Self::Native(value) => {
                let bits = module.native_frame_bits();
                let from = bits * u64::from(frame) / 8;
                let to = (bits * (u64::from(frame) + 1)).div_ceil(8);
                let bytes = swapped(value.bytes, from as usize..to as usize, swap).ok_or_else(|| {
                    let have = value.bytes.len();
                    ImagingError::truncated(
                        Format::Dicom,
                        format!(
                            "its pixel data has {have} bytes where its {} frame(s) of {} x {} need {}",
                            module.frames,
                            module.columns,
                            module.rows,
                            module.native_bytes()
                        ),
                    )
                })?;
                Ok(bytes)
            }
            Self::Encapsulated(frames) => match frames.get(frame as usize).map(Vec::as_slice) {
                Some([fragment]) => Ok(Cow::Borrowed(fragment)),
                Some(fragments) if !fragments.is_empty() => Ok(Cow::Owned(fragments.concat())),
                _ => Err(ImagingError::truncated(Format::Dicom, format!("frame {frame} has no data"))),
            },
        }
    }
}

/// A range of bytes, each word of `swap` bytes turned round; words count from the start of `bytes`, so that a range may begin
/// inside one.
fn swapped(bytes: &[u8], range: Range<usize>, swap: Option<usize>) -> Option<Cow<'_, [u8]>> {
    let Some(word) = swap else { return bytes.get(range).map(Cow::Borrowed) };
    let place = |at: usize| at / word * word + (word - 1 - at % word);
    // The last word must be there as a whole.
    if range.end.div_ceil(word) * word > bytes.len() {
        return None;
    }
    range.map(|at| bytes.get(place(at)).copied()).collect::<Option<Vec<u8>>>().map(Cow::Owned)
}

/// A fragment and where its item begins, counted from the first item after the offset table.
type Fragment<'a> = (u64, &'a [u8]);

/// Walks the items of encapsulated pixel data: offset table and fragments.
fn walk(bytes: &[u8]) -> Result<(Vec<u64>, Vec<Fragment<'_>>), ImagingError> {
    let mut position = 0;
    let mut items: Vec<(usize, &[u8])> = Vec::new();
    while let Some(header) = bytes.get(position..position + 8) {
        let (tag, length) = header.split_at(4);
        if tag == SEQUENCE_END {
            break;
        }
        if tag != ITEM {
            return Err(damaged(format!("its pixel data has no item at byte {position}")));
        }
        let length = length.first_chunk().map_or(0, |length| u32::from_le_bytes(*length)) as usize;
        let content = bytes.get(position + 8..position + 8 + length).ok_or_else(|| {
            ImagingError::truncated(
                Format::Dicom,
                format!(
                    "a fragment of its pixel data declares {length} bytes, and {} are left",
                    bytes.len() - position - 8
                ),
            )
        })?;
        items.push((position, content));
        position += 8 + length;
    }
    let mut items = items.into_iter();
    let Some((_, table)) = items.next() else {
        return Err(ImagingError::truncated(Format::Dicom, "its pixel data is empty"));
    };
    let offsets = table.as_chunks::<4>().0.iter().map(|offset| u64::from(u32::from_le_bytes(*offset)));
    let start = 8 + table.len();
    let fragments = items.map(|(position, content)| ((position - start) as u64, content)).collect();
    Ok((offsets.collect(), fragments))
}

/// Which fragments belong to which frame.
fn group<'a>(
    offsets: &[u64],
    fragments: Vec<Fragment<'a>>,
    frames: usize,
    compression: Compression,
) -> Result<Vec<Vec<&'a [u8]>>, ImagingError> {
    if fragments.is_empty() {
        return Err(ImagingError::truncated(Format::Dicom, "its pixel data has no fragment"));
    }
    if frames == 1 {
        return Ok(vec![fragments.into_iter().map(|(_, content)| content).collect()]);
    }
    if fragments.len() == frames {
        return Ok(fragments.into_iter().map(|(_, content)| vec![content]).collect());
    }
    if fragments.len() < frames {
        return Err(ImagingError::truncated(
            Format::Dicom,
            format!("it declares {frames} frames, and its pixel data has {} fragments", fragments.len()),
        ));
    }
    let starts_frame = |(offset, content): &Fragment<'_>| {
        if offsets.len() == frames {
            return offsets.contains(offset);
        }
        match compression {
            Compression::Jpeg | Compression::JpegLs => content.starts_with(&[0xFF, 0xD8]),
            Compression::Jpeg2000 => {
                content.starts_with(&[0xFF, 0x4F, 0xFF, 0x51]) || content.starts_with(b"\0\0\0\x0cjP  ")
            }
            _ => false,
        }
    };
    let mut grouped: Vec<Vec<&[u8]>> = Vec::with_capacity(frames);
    for fragment in fragments {
        match grouped.last_mut() {
            Some(frame) if !starts_frame(&fragment) => frame.push(fragment.1),
            _ => grouped.push(vec![fragment.1]),
        }
    }
    if grouped.len() == frames {
        Ok(grouped)
    } else {
        Err(damaged(format!("its fragments belong to {} frames, and it declares {frames}", grouped.len())))
    }
}
