//! The frame of the page: head, title bar, the two columns, foot.

use maud::{DOCTYPE, Markup, html};
use medindex_pipeline::{INTENDED_USE, Status};

use crate::page::{Outcome, View, assets, query_view, result_view};
use crate::problem::Problem;

/// Modalities in the title bar.
const SHOWN_MODALITIES: usize = 6;

/// The whole page.
pub(crate) fn page(view: &View) -> Markup {
    let title = match (&view.outcome, &view.query) {
        (Outcome::Found(_), Some(query)) => format!("Like {} · MedIndex", query.name),
        _ => "MedIndex · search medical images by example".to_owned(),
    };
    document(
        &title,
        &html! {
            (stock(&view.status))
        },
        &html! {
            main id="content" class="columns" {
                div class="side" {
                    (query_view::panel(view))
                }
                div class="wide" {
                    p id="live" class="visually-hidden" role="status" {}
                    (result_view::panel(view))
                }
            }
        },
        &foot(&view.status),
    )
}

/// A problem as a page of its own.
pub(crate) fn error(problem: &Problem, request_id: &str) -> Markup {
    document(
        problem.kind().title(),
        &html! {},
        &html! {
            main id="content" class="alone" {
                (alert(problem))
                p { a href="/" { "Back to the search" } }
                p class="quiet" { "Request " code { (request_id) } }
            }
        },
        &html! {},
    )
}

/// A problem within a page.
pub(crate) fn alert(problem: &Problem) -> Markup {
    html! {
        section class="alert" role="alert" {
            h2 tabindex="-1" { (problem.kind().title()) }
            p { (sentence(problem.detail())) }
        }
    }
}

fn document(title: &str, bar: &Markup, body: &Markup, foot: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) }
                link rel="icon" type="image/svg+xml" href=(assets::address("icon.svg"));
                link rel="stylesheet" href=(assets::address("style.css"));
                script src=(assets::address("script.js")) defer {}
            }
            body {
                a class="skip" href="#results" { "Skip to the results" }
                header class="bar" {
                    a class="brand" href="/" {
                        img src=(assets::address("icon.svg")) alt="" width="32" height="32";
                        span { "MedIndex" }
                    }
                    (bar)
                    p class="purpose" { (INTENDED_USE) }
                }
                (body)
                (foot)
            }
        }
    }
}

/// How many images there are, and of which modalities.
fn stock(status: &Status) -> Markup {
    let named = || status.modalities.iter().filter(|modality| !modality.name.is_empty());
    let more = named().count().saturating_sub(SHOWN_MODALITIES);
    html! {
        div class="stock" {
            strong { (count(status.images.indexed)) }
            @if status.images.indexed == 1 { " image" } @else { " images" }
            @if status.images.received > 0 {
                span class="quiet" { " (" (count(status.images.received)) " on the way)" }
            }
            ul class="modalities" aria-label="Images by modality" {
                @for modality in named().take(SHOWN_MODALITIES) {
                    li { abbr { (modality.name) } " " (count(modality.count)) }
                }
                @if more > 0 { li class="quiet" { "and " (more) " more" } }
            }
        }
    }
}

fn foot(status: &Status) -> Markup {
    html! {
        footer class="foot" {
            span { "MedIndex " (status.version) }
            span { "Model " (status.model) }
            span {
                @if status.index.generation == 0 { "Exact search" }
                @else { "Generation " (status.index.generation) }
            }
            @if !status.alarms.is_empty() {
                span {
                    a href="/api/v1/status" {
                        (status.alarms.len()) @if status.alarms.len() == 1 { " alarm" } @else { " alarms" }
                    }
                }
            }
            span { a href="/api/openapi.json" { "API" } }
            span { a href="/metrics" { "Metrics" } }
        }
    }
}

/// A problem's words with a capital letter at their beginning.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A number with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        let written: Vec<String> = [0, 999, 1_000, 1_234_567].into_iter().map(count).collect();
        assert_eq!(written, ["0", "999", "1,000", "1,234,567"]);
    }
}
