//! What a person chose on the page: the fields of its form and of its address.

use medindex_index::{Field, Filter};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::Deserialize;

use crate::form::Form;
use crate::problem::Problem;
use crate::search_options::SearchOptions;

/// Results when nothing else is chosen.
const DEFAULT_K: &str = "20";

/// The fields as text; blank ones count as not chosen.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Choices {
    id: String,
    k: String,
    modality: String,
    label: String,
    group_by: String,
    window: String,
    frame: String,
    roi: String,
}

impl Choices {
    /// Names of the fields.
    pub(crate) const FIELDS: [&str; 8] =
        ["id", "k", "modality", "label", "group_by", "window", "frame", "roi"];

    pub(crate) fn from_form(form: &Form) -> Self {
        let text = |name| form.text(name).unwrap_or_default().to_owned();
        Self {
            id: text("id"),
            k: text("k"),
            modality: text("modality"),
            label: text("label"),
            group_by: text("group_by"),
            window: text("window"),
            frame: text("frame"),
            roi: text("roi"),
        }
    }

    /// Value of a field, `None` when blank.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let value = match name {
            "id" => &self.id,
            "k" => &self.k,
            "modality" => &self.modality,
            "label" => &self.label,
            "group_by" => &self.group_by,
            "window" => &self.window,
            "frame" => &self.frame,
            "roi" => &self.roi,
            _ => return None,
        };
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.get("id")
    }

    pub(crate) fn k(&self) -> &str {
        self.get("k").unwrap_or(DEFAULT_K)
    }

    pub(crate) fn without_id(self) -> Self {
        Self { id: String::new(), ..self }
    }

    /// The search that these choices describe.
    pub(crate) fn options(&self) -> Result<SearchOptions, Problem> {
        let mut options = SearchOptions::from_text(|name| match name {
            "k" => Some(self.k()),
            "group_by" | "window" | "frame" | "roi" => self.get(name),
            _ => None,
        })?;
        options.filter = Some(self.filter());
        Ok(options)
    }

    fn filter(&self) -> Filter {
        let mut conditions = Vec::new();
        if let Some(modality) = self.get("modality") {
            conditions.push(Filter::equals(Field::Modality, modality.to_uppercase()));
        }
        if let Some(label) = self.get("label") {
            conditions.push(Filter::equals(Field::Label, label));
        }
        match conditions.len() {
            0 => Filter::All,
            1 => conditions.remove(0),
            _ => Filter::And(conditions),
        }
    }

    /// The address of the page with these choices.
    pub(crate) fn address(&self) -> String {
        let mut address = String::from("/");
        for name in Self::FIELDS {
            if let Some(value) = self.get(name) {
                address.push(if address.len() == 1 { '?' } else { '&' });
                address.push_str(name);
                address.push('=');
                address.extend(encoded(value));
            }
        }
        address
    }

    /// The address that searches from another stored image, narrowed in the same way.
    pub(crate) fn address_of(&self, id: &str) -> String {
        Self { id: id.to_owned(), frame: String::new(), roi: String::new(), ..self.clone() }.address()
    }
}

/// Unreserved characters (RFC 3986) stay, everything else is escaped.
const NOT_IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A value as it stands in the query part of an address.
pub(crate) fn encoded(value: &str) -> PercentEncode<'_> {
    utf8_percent_encode(value, NOT_IN_QUERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_what_was_chosen_and_nothing_else() {
        let choices =
            Choices { id: "x".into(), label: "a&b=c".into(), roi: "1,2,3,4".into(), ..Choices::default() };
        assert_eq!(choices.address(), "/?id=x&label=a%26b%3Dc&roi=1%2C2%2C3%2C4");
        assert_eq!(choices.address_of("y"), "/?id=y&label=a%26b%3Dc");
        assert_eq!(Choices::default().address(), "/");
    }

    #[test]
    fn modality_and_label_must_both_match() {
        let choices = Choices { modality: "ct".into(), label: "Hand".into(), ..Choices::default() };
        let both = vec![Filter::equals(Field::Modality, "CT"), Filter::equals(Field::Label, "Hand")];
        assert_eq!(choices.options().unwrap().filter, Some(Filter::And(both)));
        assert_eq!(choices.options().unwrap().k, Some(20));
    }
}
