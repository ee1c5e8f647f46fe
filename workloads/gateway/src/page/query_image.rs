//! The image that is searched with, as the page shows it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use medindex_pipeline::{ImageDetails, PreviewRequest, Region};

use crate::form::FormFile;
use crate::page::choices::{Choices, encoded};
use crate::problem::Problem;
use crate::state::Gateway;

/// Longest edge of the picture in pixels.
const EDGE: u32 = 640;

/// The image that is searched with.
#[derive(Debug, Clone)]
pub(crate) struct QueryImage {
    /// Id when it is stored.
    pub(crate) id: Option<String>,
    /// Name of the file.
    pub(crate) name: String,
    /// What is known of it, in few words each.
    pub(crate) facts: Vec<String>,
    /// Address of the picture.
    pub(crate) picture: String,
    /// Width in pixels.
    pub(crate) width: u32,
    /// Height in pixels.
    pub(crate) height: u32,
    /// Frames.
    pub(crate) frames: u32,
    /// The chosen part.
    pub(crate) region: Option<Region>,
}

impl QueryImage {
    /// A stored image.
    pub(crate) fn stored(details: &ImageDetails, choices: &Choices) -> Self {
        let known = [&details.modality, &details.body_part, &details.label, &details.study_date];
        let mut facts: Vec<String> = known.into_iter().flatten().cloned().collect();
        facts.push(dimensions(details.width, details.height, details.frames));
        Self {
            id: Some(details.id.to_string()),
            name: details.name.clone(),
            facts,
            picture: preview(&details.id.to_string(), EDGE, choices, choices.get("frame")),
            width: details.width,
            height: details.height,
            frames: details.frames,
            region: region(choices),
        }
    }

    /// An uploaded file: its picture is only in the answer.
    pub(crate) async fn uploaded(
        gateway: &Gateway,
        file: FormFile,
        choices: &Choices,
    ) -> Result<Self, Problem> {
        let options = choices.options()?;
        let info = gateway.within(gateway.pipeline().inspect(file.bytes.clone())).await?;
        let wanted = PreviewRequest { window: options.window, frame: options.frame, max_edge: EDGE };
        let png = gateway.within(gateway.pipeline().render(file.bytes, wanted)).await?;
        let mut facts: Vec<String> =
            [info.attributes.modality, info.attributes.body_part].into_iter().flatten().collect();
        if facts.is_empty() {
            facts.push(info.format.to_string());
        }
        facts.push(dimensions(info.width, info.height, info.frames));
        Ok(Self {
            id: None,
            name: file.name,
            facts,
            picture: format!("data:image/png;base64,{}", STANDARD.encode(png)),
            width: info.width,
            height: info.height,
            frames: info.frames,
            region: options.region,
        })
    }
}

/// Address of a stored image's preview in the chosen window.
pub(crate) fn preview(id: &str, edge: u32, choices: &Choices, frame: Option<&str>) -> String {
    let mut address = format!("/api/v1/images/{id}/preview.png?size={edge}");
    for (name, value) in [("window", choices.get("window")), ("frame", frame)] {
        if let Some(value) = value {
            address.push('&');
            address.push_str(name);
            address.push('=');
            address.extend(encoded(value));
        }
    }
    address
}

fn region(choices: &Choices) -> Option<Region> {
    choices.options().ok().and_then(|options| options.region)
}

fn dimensions(width: u32, height: u32, frames: u32) -> String {
    if frames == 1 { format!("{width} × {height}") } else { format!("{width} × {height}, {frames} frames") }
}
