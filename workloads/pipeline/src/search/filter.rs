//! The text form of filters: `modality=CT,body_part=CHEST|HEAD,time>=2020-01-01`.
//!
//! A comma means *and*, a bar between values means *any of*, `!=` means *none of*; a backslash takes such a character as part of the value
//! (`label=a\,b`). Fields are `image_type`, `modality`,
//! `body_part`, `label`, `organisation`, `study`, `patient` and `time`; `time` is compared with `>=`, `>`, `<=`, `<` or `=` to a day
//! (`2020-01-31`) or a moment (`2020-01-31T12:00:00Z`). Modality, body part and image type are compared in capital letters, as
//! DICOM writes them. Guarantee: whatever is not understood is an error that names it; nothing is ignored.

use chrono::{DateTime, Days, NaiveDate, NaiveTime};
use medindex_index::{Field, Filter};

use crate::error::{Classified, ErrorKind};

/// Names of the fields a filter may use, as users write them.
pub const FILTER_FIELDS: [&str; 8] =
    ["image_type", "modality", "body_part", "label", "organisation", "study", "patient", "time"];

/// Why a filter was not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FilterError {
    /// Nothing before, between or after commas.
    #[error("filter '{0}' has an empty condition: a comma too many; write it like modality=CT,label=x")]
    FindCondition(String),
    /// A condition without an operator.
    #[error("filter '{0}' has no operator; write it like modality=CT or time>=2020-01-01")]
    FindOperator(String),
    /// A backslash before something that needs none, or at the end.
    #[error(
        "filter '{0}' has a backslash that stands before none of , | \\ = < > !; write \\\\ for a backslash itself"
    )]
    Unescape(String),
    /// A field that does not exist.
    #[error("unknown filter field '{0}'; fields are {fields}", fields = FILTER_FIELDS.join(", "))]
    FindField(String),
    /// A condition without a value, or with an empty one between bars.
    #[error("filter '{0}' lacks a value; write it like modality=CT or modality=CT|MR")]
    FindValue(String),
    /// An operator that the field does not know.
    #[error(
        "filter field '{field}' is compared with = or !={more}, not with '{operator}'",
        more = if field == "time" { ", or with >=, >, <= or <" } else { "" }
    )]
    ApplyOperator {
        /// The field.
        field: String,
        /// The operator.
        operator: String,
    },
    /// A time that is neither a day nor a moment.
    #[error("'{0}' is not a time; write a day (2020-01-31) or a moment (2020-01-31T12:00:00Z)")]
    ParseTime(String),
}

impl Classified for FilterError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::BadRequest
    }
}

/// Reads a filter; an empty text matches everything.
///
/// # Errors
/// [`FilterError`] naming the part that was not understood.
pub fn parse_filter(text: &str) -> Result<Filter, FilterError> {
    if text.trim().is_empty() {
        return Ok(Filter::All);
    }
    let conditions = split(text, ',').map(str::trim).map(|condition| match condition {
        "" => Err(FilterError::FindCondition(text.to_owned())),
        condition => parse_condition(condition),
    });
    Ok(all_of(conditions.collect::<Result<Vec<_>, _>>()?))
}

/// One filter that demands all of `filters`.
pub fn all_of(mut filters: Vec<Filter>) -> Filter {
    filters.retain(|filter| *filter != Filter::All);
    match filters.len() {
        0 => Filter::All,
        1 => filters.remove(0),
        _ => Filter::And(filters),
    }
}

fn parse_condition(condition: &str) -> Result<Filter, FilterError> {
    let (name, operator, value) = split_condition(condition)?;
    if value.starts_with(['=', '<', '>', '!']) {
        let operator = format!("{operator}{}", &value[..1]);
        return Err(FilterError::ApplyOperator { field: name.to_owned(), operator });
    }
    if split(value, '|').any(|value| value.trim().is_empty()) {
        return Err(FilterError::FindValue(condition.to_owned()));
    }
    if name == "time" {
        return parse_time_condition(operator, value);
    }
    let field = parse_field(name)?;
    let matches = value_filter(field, value).ok_or_else(|| FilterError::Unescape(condition.to_owned()))?;
    match operator {
        "=" => Ok(matches),
        "!=" => Ok(Filter::Not(Box::new(matches))),
        _ => Err(FilterError::ApplyOperator { field: name.to_owned(), operator: operator.to_owned() }),
    }
}

fn split_condition(condition: &str) -> Result<(&str, &str, &str), FilterError> {
    // Two-letter operators first: ">=" also contains "=".
    let found = condition.find(['=', '<', '>', '!']);
    let start = found.ok_or_else(|| FilterError::FindOperator(condition.to_owned()))?;
    let rest = &condition[start..];
    let operator = [">=", "<=", "!=", "=", ">", "<"]
        .into_iter()
        .find(|operator| rest.starts_with(operator))
        .ok_or_else(|| FilterError::FindOperator(condition.to_owned()))?;
    Ok((condition[..start].trim(), operator, rest[operator.len()..].trim()))
}

fn parse_field(name: &str) -> Result<Field, FilterError> {
    name.parse().map_err(|_| FilterError::FindField(name.to_owned()))
}

/// `None` where a value cannot be unescaped.
fn value_filter(field: Field, text: &str) -> Option<Filter> {
    let values = split(text, '|').map(|value| Some(normalise(field, &unescape(value.trim())?)));
    let mut values = values.collect::<Option<Vec<String>>>()?;
    Some(if values.len() == 1 {
        Filter::Equals { field, value: values.remove(0) }
    } else {
        Filter::In { field, values }
    })
}

/// The parts between separators that no backslash stands before.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |letter| {
        let is_separator = letter == separator && !escaped;
        escaped = letter == '\\' && !escaped;
        is_separator
    })
}

/// A value without its backslashes; `None` where one stands before nothing that needs it.
fn unescape(value: &str) -> Option<String> {
    let mut plain = String::with_capacity(value.len());
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => letters.next().filter(|next| matches!(next, ',' | '|' | '\\' | '=' | '<' | '>' | '!'))?,
            letter => letter,
        });
    }
    Some(plain)
}

/// The form in which a value of `field` is indexed and compared.
pub(crate) fn normalise(field: Field, value: &str) -> String {
    match field {
        Field::Modality | Field::BodyPart | Field::ImageType => value.to_uppercase(),
        Field::Label | Field::Organisation | Field::Study | Field::Patient => value.to_owned(),
    }
}

fn parse_time_condition(operator: &str, value: &str) -> Result<Filter, FilterError> {
    let (start, end) = parse_time(value)?;
    let (from_ms, to_ms) = match operator {
        ">=" => (start, i64::MAX),
        ">" => (end, i64::MAX),
        "<" => (i64::MIN, start),
        "<=" => (i64::MIN, end),
        "=" => (start, end),
        _ => {
            let inside = Filter::TimeRange { from_ms: start, to_ms: end };
            return Ok(Filter::Not(Box::new(inside)));
        }
    };
    Ok(Filter::TimeRange { from_ms, to_ms })
}

/// First and one-past-last millisecond of a day or of a moment.
fn parse_time(text: &str) -> Result<(i64, i64), FilterError> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        let start = moment.timestamp_millis();
        return Ok((start, start + 1));
    }
    let error = || FilterError::ParseTime(text.to_owned());
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| error())?;
    let next = day.checked_add_days(Days::new(1)).ok_or_else(error)?;
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
    Ok((midnight(day), midnight(next)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equals(field: Field, value: &str) -> Filter {
        Filter::Equals { field, value: value.to_owned() }
    }

    #[test]
    fn an_empty_filter_matches_everything() {
        assert_eq!(parse_filter("").unwrap(), Filter::All);
        assert_eq!(parse_filter("  ").unwrap(), Filter::All);
    }

    #[test]
    fn commas_mean_and_and_bars_mean_any_of() {
        let filter = parse_filter("modality=ct, body_part=chest|Head").unwrap();
        let parts = Filter::In { field: Field::BodyPart, values: vec!["CHEST".into(), "HEAD".into()] };
        assert_eq!(filter, Filter::And(vec![equals(Field::Modality, "CT"), parts]));
    }

    #[test]
    fn labels_keep_their_case() {
        assert_eq!(parse_filter("label=HeadCT").unwrap(), equals(Field::Label, "HeadCT"));
        let not = Filter::Not(Box::new(equals(Field::Label, "Hand")));
        assert_eq!(parse_filter("label!=Hand").unwrap(), not);
    }

    #[test]
    fn a_backslash_takes_a_separator_as_part_of_the_value() {
        assert_eq!(parse_filter(r"label=a\,b").unwrap(), equals(Field::Label, "a,b"));
        assert_eq!(parse_filter(r"label=a\|b\\").unwrap(), equals(Field::Label, r"a|b\"));
        assert_eq!(parse_filter(r"label=\=x").unwrap(), equals(Field::Label, "=x"));
        let both = Filter::In { field: Field::Label, values: vec!["a|b".into(), "c".into()] };
        assert_eq!(parse_filter(r"label=a\|b|c").unwrap(), both);
        for text in [r"label=a\b", r"label=a\"] {
            assert_eq!(parse_filter(text), Err(FilterError::Unescape(text.into())));
        }
    }

    #[test]
    fn an_operator_too_much_is_no_part_of_the_value() {
        for (text, operator) in [("modality==CT", "=="), ("time>>2020-01-01", ">>"), ("label!==x", "!==")] {
            let refused = parse_filter(text).unwrap_err();
            assert!(
                matches!(&refused, FilterError::ApplyOperator { operator: found, .. } if found == operator),
                "{text}: {refused}"
            );
        }
    }

    #[test]
    fn a_day_covers_its_twenty_four_hours() {
        let day = Filter::TimeRange { from_ms: 1_577_836_800_000, to_ms: 1_577_923_200_000 };
        assert_eq!(parse_filter("time=2020-01-01").unwrap(), day);
        let after = Filter::TimeRange { from_ms: 1_577_923_200_000, to_ms: i64::MAX };
        assert_eq!(parse_filter("time>2020-01-01").unwrap(), after);
        let moment = Filter::TimeRange { from_ms: i64::MIN, to_ms: 1_577_836_801_000 };
        assert_eq!(parse_filter("time<2020-01-01T00:00:01Z").unwrap(), moment);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert_eq!(parse_filter("modality"), Err(FilterError::FindOperator("modality".into())));
        assert_eq!(parse_filter("colour=red"), Err(FilterError::FindField("colour".into())));
        assert_eq!(parse_filter("modality="), Err(FilterError::FindValue("modality=".into())));
        assert_eq!(parse_filter("label=a|"), Err(FilterError::FindValue("label=a|".into())));
        for text in [",", "modality=CT,,label=x", "modality=CT,"] {
            assert_eq!(parse_filter(text), Err(FilterError::FindCondition(text.into())));
        }
        assert_eq!(parse_filter("time>=soon"), Err(FilterError::ParseTime("soon".into())));
        let operator = FilterError::ApplyOperator { field: "label".into(), operator: ">=".into() };
        assert_eq!(parse_filter("label>=a"), Err(operator));
        assert!(parse_filter("colour=red").unwrap_err().to_string().contains("body_part"));
    }
}
