//! Memory for packed blocks: aligned to cache lines, in huge pages where it is large.

use memmap2::MmapMut;

/// From this size on, blocks get pages of their own: two megabytes, one huge page.
const PAGES_FROM: usize = 2 << 20;

/// One cache line, for alignment.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(super) struct Line([u8; 64]);

/// Zeroed bytes aligned to 64.
pub(super) enum Blocks {
    /// From the allocator.
    Lines(Vec<Line>, usize),
    /// Anonymous pages: scans of many lists touch so many small pages that looking their addresses up would
    /// cost as much as reading them.
    Pages(MmapMut),
}

impl Blocks {
    /// `bytes` zeroed bytes.
    pub(super) fn zeroed(bytes: usize) -> std::io::Result<Self> {
        if bytes < PAGES_FROM {
            return Ok(Self::Lines(vec![bytemuck::Zeroable::zeroed(); bytes.div_ceil(64)], bytes));
        }
        let pages = MmapMut::map_anon(bytes)?;
        // A hint: without huge pages everything works, a little slower.
        #[cfg(target_os = "linux")]
        if let Err(reason) = pages.advise(memmap2::Advice::HugePage) {
            tracing::debug!(%reason, "no huge pages for packed codes");
        }
        Ok(Self::Pages(pages))
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Lines(lines, bytes) => &bytemuck::cast_slice(lines)[..*bytes],
            Self::Pages(pages) => pages,
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        match self {
            Self::Lines(lines, bytes) => &mut bytemuck::cast_slice_mut(lines)[..*bytes],
            Self::Pages(pages) => pages,
        }
    }
}
