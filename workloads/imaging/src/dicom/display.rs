//! How the grey frames of a file are shown: modality LUT, VOI, polarity, per frame (PS3.3 C.11.1, C.11.2, C.7.6.16.2).

use std::sync::Arc;

use super::data_set::{DataSet, Tag, tag_name};
use super::image_module::{ImageModule, Photometric, SampleKind, damaged};
use crate::error::ImagingError;
use crate::grey::{GreyDisplay, LookupTable, Modality, Voi};
use crate::window::{Window, WindowFunction};

const MODALITY: Tag = 0x0008_0060;
const PIXEL_PADDING_VALUE: Tag = 0x0028_0120;
const PIXEL_PADDING_RANGE_LIMIT: Tag = 0x0028_0121;
const WINDOW_CENTER: Tag = 0x0028_1050;
const WINDOW_WIDTH: Tag = 0x0028_1051;
const RESCALE_INTERCEPT: Tag = 0x0028_1052;
const RESCALE_SLOPE: Tag = 0x0028_1053;
const RESCALE_TYPE: Tag = 0x0028_1054;
const VOI_LUT_FUNCTION: Tag = 0x0028_1056;
const MODALITY_LUT_SEQUENCE: Tag = 0x0028_3000;
const LUT_DESCRIPTOR: Tag = 0x0028_3002;
const LUT_DATA: Tag = 0x0028_3006;
const VOI_LUT_SEQUENCE: Tag = 0x0028_3010;
const FRAME_VOI_LUT: Tag = 0x0028_9132;
const PIXEL_VALUE_TRANSFORMATION: Tag = 0x0028_9145;
const SHARED_GROUPS: Tag = 0x5200_9229;
const PER_FRAME_GROUPS: Tag = 0x5200_9230;

/// Gives the display of each frame of a file.
pub(crate) struct Displays<'a> {
    root: DataSet<'a>,
    per_frame: Vec<DataSet<'a>>,
    module: &'a ImageModule,
    common: Option<Arc<GreyDisplay>>,
}

impl<'a> Displays<'a> {
    pub(crate) fn read(data_set: &DataSet<'a>, module: &'a ImageModule) -> Result<Self, ImagingError> {
        let per_frame = data_set.items(PER_FRAME_GROUPS)?;
        let root = match data_set.first_item(SHARED_GROUPS)? {
            Some(shared) => with_groups(data_set, &shared)?,
            None => data_set.clone(),
        };
        let common = if per_frame.is_empty() { Some(Arc::new(display_of(&root, module)?)) } else { None };
        Ok(Self { root, per_frame, module, common })
    }

    pub(crate) fn of(&self, frame: u32) -> Result<Arc<GreyDisplay>, ImagingError> {
        if let Some(common) = &self.common {
            return Ok(Arc::clone(common));
        }
        let display = match self.per_frame.get(frame as usize) {
            Some(groups) => display_of(&with_groups(&self.root, groups)?, self.module)?,
            None => display_of(&self.root, self.module)?,
        };
        Ok(Arc::new(display))
    }
}

/// Lays the value transformation and VOI of functional groups over a data set.
fn with_groups<'a>(base: &DataSet<'a>, groups: &DataSet<'a>) -> Result<DataSet<'a>, ImagingError> {
    let mut laid = base.clone();
    for tag in [PIXEL_VALUE_TRANSFORMATION, FRAME_VOI_LUT] {
        if let Some(item) = groups.first_item(tag)? {
            laid = laid.overlaid(&item);
        }
    }
    Ok(laid)
}

fn display_of(data_set: &DataSet<'_>, module: &ImageModule) -> Result<GreyDisplay, ImagingError> {
    let modality_table = data_set.first_item(MODALITY_LUT_SEQUENCE)?;
    let modality_table =
        modality_table.and_then(|item| table_of(&item, module.signed && module.bits_allocated <= 16));
    let rescale_type = data_set.code(RESCALE_TYPE);
    let hounsfield = data_set.code(MODALITY).as_deref() == Some("CT")
        && modality_table.is_none()
        && rescale_type.is_none_or(|kind| kind.to_ascii_uppercase().starts_with("HU"));
    let rescaled = modality_table.is_some() || data_set.decimal(RESCALE_SLOPE).is_some();
    let modality = match modality_table {
        Some(table) => Modality::Table(table),
        None => Modality::Linear {
            slope: rescale(data_set, RESCALE_SLOPE, "Rescale Slope", 1.0)?,
            intercept: rescale(data_set, RESCALE_INTERCEPT, "Rescale Intercept", 0.0)?,
        },
    };
    let table_signed = match &modality {
        Modality::Linear { intercept, .. } => module.signed || *intercept < 0.0,
        Modality::Table(_) => false,
    };
    let voi_table = data_set.first_item(VOI_LUT_SEQUENCE)?.and_then(|item| table_of(&item, table_signed));
    let voi = voi_table.map(Voi::Table).or_else(|| window_of(data_set).map(Voi::Window));
    let bytes_as_shown = module.kind == SampleKind::Integer
        && module.bits_stored <= 8
        && !module.signed
        && (!rescaled || modality == Modality::IDENTITY);
    let white = f64::from((1u32 << module.bits_stored.min(8)) - 1);
    Ok(GreyDisplay {
        modality,
        voi,
        natural: bytes_as_shown.then_some((0.0, white)),
        inverted: module.photometric == Photometric::Monochrome1,
        hounsfield,
        padding: padding_of(data_set, module),
    })
}

/// A part of the rescale, `absent` where there is none. What is there and no number makes every value wrong, so it is refused; so is a slope
/// of zero, which PS3.3 C.11.1.1.2 forbids.
fn rescale(data_set: &DataSet<'_>, tag: Tag, name: &str, absent: f64) -> Result<f64, ImagingError> {
    let written = data_set.get(tag).is_some_and(|value| !value.bytes.trim_ascii().is_empty());
    if !written {
        return Ok(absent);
    }
    let usable = data_set.decimal(tag).filter(|number| number.is_finite());
    usable.filter(|number| tag != RESCALE_SLOPE || *number != 0.0).ok_or_else(|| {
        let text = data_set.code(tag).unwrap_or_default();
        damaged(format!("its {name} {} is {text:?}, by which no value can be computed", tag_name(tag)))
    })
}

/// The first window that shows anything: a width of 1 or less makes black and white only, and is written by some for
/// "no window".
fn window_of(data_set: &DataSet<'_>) -> Option<Window> {
    let function = match data_set.code(VOI_LUT_FUNCTION).as_deref() {
        Some("LINEAR_EXACT") => WindowFunction::LinearExact,
        Some("SIGMOID") => WindowFunction::Sigmoid,
        _ => WindowFunction::Linear,
    };
    let least = if function == WindowFunction::Linear { 1.0 } else { 0.0 };
    let centers = data_set.decimals(WINDOW_CENTER);
    let widths = data_set.decimals(WINDOW_WIDTH);
    centers.into_iter().zip(widths).find_map(|(center, width)| {
        let (center, width) = (center?, width?);
        (width > least).then_some(Window { center, width, function })
    })
}

/// Pixel Padding Value and Range Limit (PS3.3 C.7.5.1.1.2) as stored values.
fn padding_of(data_set: &DataSet<'_>, module: &ImageModule) -> Option<(f64, f64)> {
    let stored = |tag| {
        let bits = data_set.u16(tag)?;
        Some(if module.signed { f64::from(bits.cast_signed()) } else { f64::from(bits) })
    };
    let value = stored(PIXEL_PADDING_VALUE)?;
    let limit = stored(PIXEL_PADDING_RANGE_LIMIT).unwrap_or(value);
    Some((value.min(limit), value.max(limit)))
}

/// A lookup table of an item; `None` where it is empty or contradicts itself, as a table is only how values are shown.
fn table_of(item: &DataSet<'_>, signed: bool) -> Option<LookupTable> {
    let descriptor = item.u16s(LUT_DESCRIPTOR);
    let &[count, first, bits] = descriptor.first_chunk::<3>()?;
    let count = if count == 0 { 1 << 16 } else { usize::from(count) };
    let data = item.get(LUT_DATA)?.bytes;
    let entries: Vec<u16> = if data.len() >= 2 * count {
        item.u16s(LUT_DATA).into_iter().take(count).collect()
    } else {
        // Eight-bit entries, one a byte.
        data.get(..count)?.iter().map(|entry| u16::from(*entry)).collect()
    };
    let first = if signed { f64::from(first.cast_signed()) } else { f64::from(first) };
    // Some declare 16 bits and fill fewer; white is what the entries reach.
    let used = 16 - entries.iter().fold(0, |bits, entry| bits | entry).leading_zeros();
    let bits = u32::from(bits);
    let bits = if (8..=16).contains(&bits) && used <= bits { bits } else { used.max(8) };
    Some(LookupTable { first, entries, bits })
}
