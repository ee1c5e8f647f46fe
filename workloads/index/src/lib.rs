//! The index engine: transforms, quantizers, ADC scan kernels, segments and search.

pub mod entry;
pub mod filter;
pub mod index;
pub mod search;

pub use entry::{Attributes, Change, Entry, EntryKey, LogPositions};
pub use filter::{Field, Filter, UnknownField};
pub use index::{Index, IndexError, IndexOptions, IndexStatus, Maintenance, Recall};
pub use search::{Explain, FilterPlan, GroupBy, Hit, SearchRequest, SearchResponse, StepTimes};
