//! Searching: what is asked, what is answered, and how the answer is found.

mod coded;
mod exact;
mod explain;
mod filtered;
mod found;
mod groups;
mod lists;
mod prepare;
mod query;
mod request;
mod run;

pub use explain::{Explain, FilterPlan, StepTimes};
pub use request::{GroupBy, Hit, SearchRequest, SearchResponse};
