//! Search by file, by stored image, by region.

pub(crate) mod error;
pub(crate) mod filter;
pub(crate) mod query;
pub(crate) mod record;
mod request;
pub(crate) mod run;

pub use error::SearchError;
pub use filter::{FILTER_FIELDS, FilterError, all_of, parse_filter};
pub use request::{ExplainReport, Hit, Query, QueryDescription, SearchRequest, SearchResponse};
