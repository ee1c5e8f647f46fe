//! Segments: immutable rows of vectors, keys and attributes, with inverted lists beside them.
//!
//! Rows are in the order of their arrival. What depends on the quantizer, the inverted lists and codes of a
//! generation, is a file of its own ([`lists`]): a new generation never rewrites vectors, and the previous one
//! is kept at little cost. The append tail consists of small segments in memory.

pub(crate) mod attributes;
mod integers;
pub(crate) mod lists;
mod merge;
mod rows;
mod value_sets;
mod view;

pub(crate) use merge::{Part, merge_in_memory, write_merged};
pub(crate) use rows::{Segment, SegmentId};
pub(crate) use view::{Removed, SegmentView};
