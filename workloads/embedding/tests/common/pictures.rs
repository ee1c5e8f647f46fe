//! Pictures drawn here: nothing to fetch, and the same on every machine.

use std::f32::consts::PI;

use medindex_imaging::{Channels, Rendered};

/// One colour everywhere.
pub(crate) fn plain(colour: [u8; 3]) -> Rendered {
    Rendered::new(8, 8, Channels::Rgb, colour.repeat(64)).unwrap()
}

/// A grey picture of waves, different for every `seed`, `width` by `height`.
pub(crate) fn waves(seed: u32, width: u32, height: u32) -> Rendered {
    let phase = seed as f32;
    let pixels = (0..height)
        .flat_map(|y| (0..width).map(move |x| (x as f32, y as f32)))
        .map(|(x, y)| {
            let wave =
                (x / (3.0 + phase)).sin() + (y / (5.0 + phase * 0.5)).cos() + (x * y / 4000.0 + phase).sin();
            (127.5 + 42.0 * wave) as u8
        })
        .collect();
    Rendered::new(width, height, Channels::Grey, pixels).unwrap()
}

/// The face of a clock: a ring, twelve strokes and two hands, black on white.
pub(crate) fn clock() -> Rendered {
    const EDGE: u32 = 224;
    let mut pixels = Vec::new();
    for y in 0..EDGE {
        for x in 0..EDGE {
            let (x, y) = (x as f32 - 112.0, y as f32 - 112.0);
            let black = (92.0..100.0).contains(&x.hypot(y))
                || (0..12).any(|hour| stroke(x, y, hour as f32 * PI / 6.0, 80.0, 95.0, 3.0))
                || stroke(x, y, 0.0, 0.0, 72.0, 2.5)
                || stroke(x, y, 1.93, 0.0, 51.0, 3.5);
            pixels.push(if black { 0 } else { 255 });
        }
    }
    Rendered::new(EDGE, EDGE, Channels::Grey, pixels).unwrap()
}

/// Whether a point lies on the stroke at `angle` clockwise from the top, between two distances from the middle.
fn stroke(x: f32, y: f32, angle: f32, from: f32, to: f32, half_width: f32) -> bool {
    let (along, across) = (x * angle.sin() - y * angle.cos(), x * angle.cos() + y * angle.sin());
    (from..to).contains(&along) && across.abs() <= half_width
}
