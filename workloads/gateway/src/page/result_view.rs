//! The wide column: how the search is narrowed, and what was found.

use maud::{Markup, html};
use medindex_imaging::WindowPreset;
use medindex_pipeline::{Hit, ImageDetails, NamedCount, SearchResponse};

use crate::api::upload::UploadResult;
use crate::page::choices::Choices;
use crate::page::layout::{alert, count};
use crate::page::query_image::preview;
use crate::page::{Outcome, View};

/// Longest edge of a preview in pixels.
const EDGE: u32 = 256;
/// Labels in the list to choose from.
const SHOWN_LABELS: usize = 200;

/// The whole column.
pub(crate) fn panel(view: &View) -> Markup {
    html! {
        (narrowing(view))
        div id="results" tabindex="-1" {
            @match &view.outcome {
                Outcome::Recent(images) => (recent(images, view)),
                Outcome::Found(found) => (found_images(found, view)),
                Outcome::Refused(problem) => (alert(problem)),
                Outcome::Added(items) => (added(items)),
            }
        }
    }
}

fn narrowing(view: &View) -> Markup {
    let choices = &view.choices;
    html! {
        fieldset class="narrow" {
            legend class="visually-hidden" { "Narrow the search" }
            (named_select("modality", "Modality", "All", &view.status.modalities, choices))
            (named_select("label", "Label", "All", &view.status.labels, choices))
            (select("group_by", "Show", &GROUPINGS, choices.get("group_by").unwrap_or("image")))
            (select("window", "Grey window", &windows(), choices.get("window").unwrap_or_default()))
            (select("k", "Results", &RESULT_COUNTS, choices.k()))
        }
    }
}

const GROUPINGS: [(&str, &str); 3] =
    [("image", "Every image"), ("study", "One per study"), ("patient", "One per patient")];
const RESULT_COUNTS: [(&str, &str); 4] = [("10", "10"), ("20", "20"), ("50", "50"), ("100", "100")];

fn windows() -> Vec<(&'static str, &'static str)> {
    let title = |preset| match preset {
        WindowPreset::Lung => "Lung",
        WindowPreset::Mediastinum => "Mediastinum",
        WindowPreset::Bone => "Bone",
        WindowPreset::Brain => "Brain",
        WindowPreset::SoftTissue => "Soft tissue",
        WindowPreset::Liver => "Liver",
    };
    let presets = WindowPreset::ALL.into_iter().map(|preset| (preset.name(), title(preset)));
    [("", "Automatic"), ("file", "As in the file")]
        .into_iter()
        .chain(presets)
        .chain([("full", "Full range")])
        .collect()
}

fn select(name: &str, title: &str, options: &[(&str, &str)], chosen: &str) -> Markup {
    let known = options.iter().any(|(value, _)| *value == chosen);
    html! {
        label class="field" {
            span { (title) }
            select name=(name) form="search" {
                @for (value, text) in options {
                    option value=(value) selected[*value == chosen] { (text) }
                }
                @if !known { option value=(chosen) selected { (chosen) } }
            }
        }
    }
}

fn named_select(name: &str, title: &str, all: &str, counts: &[NamedCount], choices: &Choices) -> Markup {
    let chosen = choices.get(name);
    let named = || counts.iter().filter(|count| !count.name.is_empty()).take(SHOWN_LABELS);
    let missing = chosen.filter(|chosen| !named().any(|count| count.name == *chosen));
    html! {
        label class="field" {
            span { (title) }
            select name=(name) form="search" {
                option value="" { (all) }
                @if let Some(missing) = missing { option value=(missing) selected { (missing) } }
                @for named in named() {
                    option value=(named.name) selected[chosen == Some(named.name.as_str())] {
                        (named.name) " (" (count(named.count)) ")"
                    }
                }
            }
        }
    }
}

fn recent(images: &[ImageDetails], view: &View) -> Markup {
    html! {
        @if images.is_empty() {
            section class="empty" {
                h2 { "The index is empty" }
                p { "Add images on this page, or import a folder: " }
                pre { code { "medindex import FOLDER" } }
            }
        } @else {
            h2 { "Start from a recent image" }
            ol class="grid" {
                @for image in images {
                    li { (recent_tile(image, view)) }
                }
            }
        }
    }
}

fn recent_tile(image: &ImageDetails, view: &View) -> Markup {
    let id = image.id.to_string();
    html! {
        a class="tile" href=(view.choices.address_of(&id)) {
            img class="preview" src=(preview(&id, EDGE, &view.choices, None)) alt="" loading="lazy" decoding="async";
            (marks(image.modality.as_deref(), image.body_part.as_deref(), image.label.as_deref()))
            span class="name" title=(image.name) { (short(&image.name)) }
        }
    }
}

fn found_images(found: &SearchResponse, view: &View) -> Markup {
    html! {
        header class="found" {
            h2 tabindex="-1" {
                (found.results.len())
                @if found.results.len() == 1 { " image" } @else { " images" }
                " most like " em { (found.query.name) }
            }
            p class="quiet" {
                (format!("{:.0} ms", found.took_ms.max(1.0)))
                @if found.query.region.is_some() { " · by region" }
                @if found.generation == 0 { " · exact" } @else { " · generation " (found.generation) }
            }
        }
        @if found.partial {
            p class="alert" role="alert" { "A part of the index did not answer: images may be missing." }
        }
        @if found.results.is_empty() {
            section class="empty" {
                p { "No other image matches. Choose fewer conditions above, or add images." }
            }
        } @else {
            ol class="grid" { @for hit in &found.results { li { (hit_tile(hit, view)) } } }
        }
    }
}

fn hit_tile(hit: &Hit, view: &View) -> Markup {
    let id = hit.id.to_string();
    let frame = (hit.frame > 0).then(|| hit.frame.to_string());
    let similarity = format!("{:.3}", 1.0 - hit.distance.clamp(0.0, 1.0));
    html! {
        a class="tile" href=(view.choices.address_of(&id)) {
            img class="preview" src=(preview(&id, EDGE, &view.choices, frame.as_deref())) alt="" loading="lazy"
                decoding="async";
            span class="rank" { span class="visually-hidden" { "Rank " } (hit.rank) }
            span class="distance" title={ "1 − cosine similarity: " (hit.distance) } {
                span class="quiet" { "Distance " } (format!("{:.3}", hit.distance))
            }
            meter min="0" max="1" value=(similarity) aria-hidden="true" {}
            (marks(hit.modality.as_deref(), hit.body_part.as_deref(), hit.label.as_deref()))
            span class="name" title=(hit.name) { (short(&hit.name)) }
        }
    }
}

/// The last two parts of a name that is a path: what tells images of a folder apart.
fn short(name: &str) -> String {
    let mut parts = name.rsplitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(last), Some(folder), Some(_)) => format!("…/{folder}/{last}"),
        _ => name.to_owned(),
    }
}

fn marks(modality: Option<&str>, body_part: Option<&str>, label: Option<&str>) -> Markup {
    html! {
        span class="marks" {
            @if let Some(modality) = modality { span class="mark" { (modality) } }
            @if let Some(body_part) = body_part { span class="mark" { (body_part) } }
            @if let Some(label) = label { span class="mark label" { (label) } }
        }
    }
}

fn added(items: &[UploadResult]) -> Markup {
    let accepted = items.iter().filter(|item| item.accepted.is_some()).count();
    html! {
        section class="notice" {
            h2 tabindex="-1" { (accepted) " of " (items.len()) " files added" }
            ul class="added" {
                @for item in items {
                    li {
                        @if let Some(accepted) = &item.accepted {
                            a href={ "/?id=" (accepted.id) } { (item.name) }
                            @if accepted.duplicate { " was here already" } @else { " is searchable in a moment" }
                        } @else {
                            strong { (item.name) } " was refused"
                            @if let Some(problem) = &item.problem { ": " (problem.detail) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_keep_what_tells_them_apart() {
        assert_eq!(short("a.dcm"), "a.dcm");
        assert_eq!(short("b/a.dcm"), "b/a.dcm");
        assert_eq!(short("d/c/b/a.dcm"), "…/b/a.dcm");
    }
}
