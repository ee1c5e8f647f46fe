//! The index engine: transforms, quantizers, ADC scan kernels, segments and search.

pub mod coarse;
pub mod collect;
pub mod entry;
pub mod filter;
pub mod index;
pub mod kernels;
pub mod linear;
pub mod product;
pub mod quantizer;
pub mod search;
mod segment;
mod snapshot;
pub mod transform;

pub use entry::{Attributes, Change, Entry, EntryKey, LogPositions};
pub use filter::{Field, Filter, UnknownField};
pub use index::{
    BuildProgress, DamagedSegment, Export, ExportedFile, Index, IndexError, IndexOptions, IndexStatus,
    Maintenance, Recall,
};
pub use search::{Explain, FilterPlan, GroupBy, Hit, SearchRequest, SearchResponse, StepTimes};
