//! Evaluating a filter over a segment's columns.

use crate::filter::bitmap::Bitmap;
use crate::filter::{Field, Filter};
use crate::segment::Segment;

/// The rows of a segment that match a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Matching {
    /// Every row.
    All,
    /// These rows.
    Rows(Bitmap),
}

impl Matching {
    fn none(segment: &Segment) -> Self {
        Self::Rows(Bitmap::none(segment.rows()))
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, rows) | (rows, Self::All) => rows,
            (Self::Rows(mut rows), Self::Rows(other)) => {
                rows.and(&other);
                Self::Rows(rows)
            }
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Rows(mut rows), Self::Rows(other)) => {
                rows.or(&other);
                Self::Rows(rows)
            }
        }
    }
}

/// The rows of `segment` that match `filter`, removed ones included.
pub(crate) fn evaluate(filter: &Filter, segment: &Segment) -> Matching {
    let rows_with =
        |field: Field, values: &[&str]| Matching::Rows(segment.attributes.rows_with(field, values));
    match filter {
        Filter::All => Matching::All,
        Filter::Equals { field, value } => rows_with(*field, &[value]),
        Filter::In { field, values } => {
            rows_with(*field, &values.iter().map(String::as_str).collect::<Vec<_>>())
        }
        Filter::TimeRange { from_ms, to_ms } => {
            Matching::Rows(segment.attributes.rows_between(*from_ms, *to_ms))
        }
        Filter::And(filters) => {
            filters.iter().fold(Matching::All, |rows, filter| rows.and(evaluate(filter, segment)))
        }
        Filter::Or(filters) => {
            filters.iter().fold(Matching::none(segment), |rows, filter| rows.or(evaluate(filter, segment)))
        }
        Filter::Not(filter) => match evaluate(filter, segment) {
            Matching::All => Matching::none(segment),
            Matching::Rows(mut rows) => {
                rows.invert();
                Matching::Rows(rows)
            }
        },
    }
}
