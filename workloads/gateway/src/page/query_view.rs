//! The narrow column: the query image with its region, the drop zone, and adding files.

use maud::{Markup, html};

use crate::page::View;
use crate::page::query_image::QueryImage;

/// The whole column.
pub(crate) fn panel(view: &View) -> Markup {
    html! {
        form id="search" class="card" method="post" action="/" enctype="multipart/form-data" {
            h2 { "Search by example" }
            @if let Some(query) = &view.query { (picture(query, view)) }
            (drop_zone(view.query.is_some()))
            @if let Some(id) = view.choices.id() { input type="hidden" name="id" value=(id); }
            (precise(view))
            div class="row" {
                button class="primary" type="submit" { "Search" }
                @if view.query.is_some() { a class="plain" href="/" { "Start again" } }
            }
            p class="quiet" { "A file that you search with is not stored." }
            progress id="search-progress" max="1" hidden aria-label="Sending the image" {}
        }
        (adding(view))
    }
}

fn picture(query: &QueryImage, view: &View) -> Markup {
    let (width, height) = (query.width, query.height);
    let region = query.region;
    html! {
        figure class="query" {
            svg id="canvas" class="canvas" viewBox={ "0 0 " (width) " " (height) } role="img"
                aria-label={ "The image searched with: " (query.name) } {
                image href=(query.picture) width=(width) height=(height) preserveAspectRatio="none" {}
                @if let Some(region) = region {
                    rect class="region" x=(region.x) y=(region.y) width=(region.width) height=(region.height) {}
                }
            }
            figcaption {
                strong class="name" title=(query.name) { (query.name) }
                ul class="facts" { @for fact in &query.facts { li { (fact) } } }
                @if let Some(id) = &query.id {
                    div class="links" {
                        a href={ "/api/v1/images/" (id) "/file" } { "Download" }
                        a href={ "/api/v1/images/" (id) } { "Details" }
                    }
                }
                p class="hint scripted" {
                    @if region.is_some() {
                        "Only the framed region counts. "
                        button type="button" id="clear-region" class="link" { "Use the whole image" }
                    } @else {
                        "Drag a box on the image to search by a region."
                    }
                }
                @if query.frames > 1 {
                    label class="field" {
                        span { "Frame, 0 to " (query.frames - 1) }
                        input type="number" name="frame" min="0" max=(query.frames - 1) inputmode="numeric"
                            value=[view.choices.get("frame")] placeholder="middle";
                    }
                }
            }
        }
    }
}

fn drop_zone(again: bool) -> Markup {
    html! {
        label class={ "drop" @if again { " small" } } {
            @if !again {
                svg class="glyph" viewBox="0 0 24 24" aria-hidden="true" {
                    path d="M12 16V5m0 0L7.5 9.5M12 5l4.5 4.5M4 16v2a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2v-2" {}
                }
            }
            strong {
                @if again { "Search with another image" } @else { "Drop an image here, or choose a file" }
            }
            span class="quiet" { "DICOM, PNG, JPEG, TIFF, BMP or NIfTI" }
            input type="file" name="file" id="file";
        }
    }
}

/// The region in numbers: for keyboards, screen readers and browsers without scripts.
fn precise(view: &View) -> Markup {
    html! {
        details class="precise" {
            summary { "Region in numbers" }
            label class="field" {
                span { "x, y, width, height in pixels" }
                input type="text" name="roi" id="roi" value=[view.choices.get("roi")] placeholder="10,20,128,128"
                    pattern=r"\s*\d+\s*,\s*\d+\s*,\s*\d+\s*,\s*\d+\s*" autocomplete="off";
            }
        }
    }
}

fn adding(view: &View) -> Markup {
    html! {
        details class="card adding" open[view.status.images.indexed == 0] {
            summary { h2 { "Add images to the index" } }
            form id="add" method="post" action="/add" enctype="multipart/form-data" {
                label class="field" {
                    span { "Files" }
                    input type="file" name="file" id="add-files" multiple required;
                }
                label class="field" {
                    span { "Label (optional)" }
                    input type="text" name="label" maxlength="200" autocomplete="off" placeholder="for example Hand";
                }
                button type="submit" { "Add to the index" }
                p class="quiet" { "Added images are stored and searchable within about a second." }
                progress id="add-progress" max="1" hidden aria-label="Sending files" {}
                ul id="added" class="added" aria-live="polite" {}
            }
        }
    }
}
