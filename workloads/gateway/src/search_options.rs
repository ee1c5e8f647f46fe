//! How a search is narrowed, read from forms, JSON and the page's address by one set of rules.

use std::fmt::Display;
use std::str::FromStr;

use medindex_imaging::WindowChoice;
use medindex_index::{Filter, GroupBy};
use medindex_pipeline::{Query, Region, SearchRequest, parse_filter};
use medindex_proto::identity::ImageId;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::problem::Problem;

/// Names of the text fields that narrow a search.
pub(crate) const FIELDS: [&str; 11] =
    ["id", "k", "filter", "group_by", "roi", "window", "frame", "exact", "explain", "probes", "whole"];

/// A search from a stored image, as JSON.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchById {
    /// Image to search from; it is left out of the results.
    #[schema(format = "uuid")]
    pub(crate) id: String,
    /// How many results; 10 when absent.
    #[schema(minimum = 1)]
    pub(crate) k: Option<usize>,
    /// Only images that match, such as `modality=CT,body_part=CHEST|HEAD` (comma: and, bar: any of).
    pub(crate) filter: Option<String>,
    /// At most one result for each `image` (default), `study` or `patient`; `none`: every frame counts.
    pub(crate) group_by: Option<String>,
    /// Only this box of the image counts.
    pub(crate) roi: Option<Roi>,
    /// Grey window of the query image: `lung`, `mediastinum`, `bone`, `brain`, `soft_tissue`, `liver`, `file`,
    /// `full`, or `CENTER,WIDTH`.
    pub(crate) window: Option<String>,
    /// Frame of the query image, from 0; the middle one when absent.
    pub(crate) frame: Option<u32>,
    /// Compare with every stored vector instead of scanning codes.
    pub(crate) exact: Option<bool>,
    /// Tell how the answer was found.
    pub(crate) explain: Option<bool>,
    /// Lists to probe; chosen by the size of the index when absent.
    #[schema(minimum = 1)]
    pub(crate) probes: Option<usize>,
    /// Fail with 503 rather than answer without a part of the index.
    pub(crate) whole: Option<bool>,
}

/// A box in pixels of the image, from its top left corner.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Roi {
    /// Left edge.
    x: u32,
    /// Top edge.
    y: u32,
    /// Width, at least 1.
    #[schema(minimum = 1)]
    width: u32,
    /// Height, at least 1.
    #[schema(minimum = 1)]
    height: u32,
}

/// How a search is narrowed.
#[derive(Debug, Clone, Default)]
pub(crate) struct SearchOptions {
    pub(crate) k: Option<usize>,
    pub(crate) filter: Option<Filter>,
    pub(crate) group_by: Option<GroupBy>,
    pub(crate) region: Option<Region>,
    pub(crate) window: Option<WindowChoice>,
    pub(crate) frame: Option<u32>,
    pub(crate) exact: bool,
    pub(crate) explain: bool,
    pub(crate) probes: Option<usize>,
    pub(crate) whole: bool,
}

impl SearchOptions {
    /// Reads the fields of a form; blank ones count as absent.
    pub(crate) fn from_text<'a>(text: impl Fn(&'static str) -> Option<&'a str>) -> Result<Self, Problem> {
        Ok(Self {
            k: text("k").map(|k| number("k", k)).transpose()?,
            filter: text("filter").map(filter).transpose()?,
            group_by: text("group_by").map(group_by).transpose()?,
            region: text("roi").map(region).transpose()?,
            window: text("window").map(window).transpose()?,
            frame: text("frame").map(|frame| number("frame", frame)).transpose()?,
            exact: text("exact").map(|exact| flag("exact", exact)).transpose()?.unwrap_or(false),
            explain: text("explain").map(|explain| flag("explain", explain)).transpose()?.unwrap_or(false),
            probes: text("probes").map(|probes| number("probes", probes)).transpose()?,
            whole: text("whole").map(|whole| flag("whole", whole)).transpose()?.unwrap_or(false),
        })
    }

    /// Reads a search from JSON.
    pub(crate) fn from_json(search: &SearchById) -> Result<Self, Problem> {
        Ok(Self {
            k: search.k,
            filter: search.filter.as_deref().map(filter).transpose()?,
            group_by: search.group_by.as_deref().map(group_by).transpose()?,
            region: search.roi.map(|roi| Region { x: roi.x, y: roi.y, width: roi.width, height: roi.height }),
            window: search.window.as_deref().map(window).transpose()?,
            frame: search.frame,
            exact: search.exact.unwrap_or(false),
            explain: search.explain.unwrap_or(false),
            probes: search.probes,
            whole: search.whole.unwrap_or(false),
        })
    }

    /// The search for `query` with these options.
    pub(crate) fn request(self, query: Query) -> SearchRequest {
        let all = SearchRequest::new(query);
        SearchRequest {
            k: self.k.unwrap_or(all.k),
            region: self.region,
            frame: self.frame,
            window: self.window,
            filter: self.filter.unwrap_or(Filter::All),
            group_by: self.group_by.unwrap_or(all.group_by),
            probes: self.probes,
            whole: self.whole,
            exact: self.exact,
            explain: self.explain,
            query: all.query,
        }
    }
}

/// Reads an image id that is a value, not a place: what is none is a bad request.
pub(crate) fn image_id(text: &str) -> Result<ImageId, Problem> {
    ImageId::parse(text).map_err(|refused| Problem::bad_request(format!("id: {refused}")))
}

/// Reads `file`, `full`, a preset or `CENTER,WIDTH`.
pub(crate) fn window(text: &str) -> Result<WindowChoice, Problem> {
    text.parse::<WindowChoice>().map_err(|refused| Problem::bad_request(format!("window: {refused}")))
}

/// Reads `x,y,width,height`.
pub(crate) fn region(text: &str) -> Result<Region, Problem> {
    let numbers: Option<Vec<u32>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[x, y, width, height]) => Ok(Region { x, y, width, height }),
        _ => Err(Problem::bad_request(format!(
            "roi: {text:?} is no region; write x,y,width,height in pixels, such as 10,20,64,64"
        ))),
    }
}

fn filter(text: &str) -> Result<Filter, Problem> {
    if text.trim().is_empty() {
        return Err(Problem::bad_request(
            "filter is empty: write a condition like modality=CT, or leave it out",
        ));
    }
    parse_filter(text).map_err(|refused| Problem::bad_request(format!("filter: {refused}")))
}

fn group_by(text: &str) -> Result<GroupBy, Problem> {
    match text {
        "none" => Ok(GroupBy::None),
        "image" => Ok(GroupBy::Image),
        "study" => Ok(GroupBy::Study),
        "patient" => Ok(GroupBy::Patient),
        _ => Err(Problem::bad_request(format!(
            "group_by: there is no {text:?}; use none, image, study or patient"
        ))),
    }
}

fn number<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|refused| {
        Problem::bad_request(format!("{name}: {text:?} is no number that fits: {refused}"))
    })
}

fn flag(name: &str, text: &str) -> Result<bool, Problem> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(Problem::bad_request(format!("{name}: {text:?} is neither true nor false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_four_numbers() {
        assert_eq!(region("1, 2,3,4").unwrap(), Region { x: 1, y: 2, width: 3, height: 4 });
        for wrong in ["1,2,3", "1,2,3,4,5", "a,b,c,d", "-1,2,3,4", ""] {
            assert!(region(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn flags_are_words_or_digits() {
        assert!(flag("exact", "On").unwrap());
        assert!(!flag("exact", "0").unwrap());
        assert!(flag("exact", "maybe").unwrap_err().detail().contains("exact"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = SearchOptions::from_text(|name| (name == "k").then_some("ten")).unwrap_err();
        assert!(refused.detail().starts_with("k: \"ten\""), "{}", refused.detail());
    }
}
