//! Searching: what is asked, what is answered, and how the answer is found.

mod explain;
mod request;

pub use explain::{Explain, FilterPlan, StepTimes};
pub use request::{GroupBy, Hit, SearchRequest, SearchResponse};
