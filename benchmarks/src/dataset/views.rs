//! Four views of an image: as it is, and three with random crop, flip, rotation and intensity.
//!
//! The same image number gives the same views on every machine: the generator is seeded with it.

use std::array;

use medindex_imaging::{Channels, ImagingError, Rendered};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Views of one image, the image itself included.
pub(crate) const VIEWS: usize = 4;

/// How one view is sampled from its image.
#[derive(Debug, Clone, Copy, PartialEq)]
struct View {
    /// Edge of the crop relative to the image, 0 to 1.
    zoom: f32,
    /// Centre of the crop away from the image's centre, in parts of the image's edge.
    shift: [f32; 2],
    /// Mirrored left to right.
    flip: bool,
    /// Rotation in radians.
    angle: f32,
    /// Intensity: `gain · value + offset`.
    gain: f32,
    offset: f32,
}

impl View {
    const IDENTITY: Self =
        Self { zoom: 1.0, shift: [0.0; 2], flip: false, angle: 0.0, gain: 1.0, offset: 0.0 };

    /// A crop of 75 to 95 % of the edge anywhere in the image, mirrored or not, turned by up to 15 degrees,
    /// with up to 20 % more or less contrast and 16 grey levels of brightness.
    fn draw(random: &mut Pcg64Mcg) -> Self {
        let zoom: f32 = random.random_range(0.75..0.95);
        let room = (1.0 - zoom) / 2.0;
        let turn = 15.0_f32.to_radians();
        Self {
            zoom,
            shift: array::from_fn(|_| random.random_range(-room..room)),
            flip: random.random_bool(0.5),
            angle: random.random_range(-turn..turn),
            gain: random.random_range(0.8..1.2),
            offset: random.random_range(-16.0..16.0),
        }
    }

    /// Where the centre of the view's pixel `(x, y)` lies in the image, in pixels.
    fn source(&self, x: u32, y: u32, width: f32, height: f32) -> [f32; 2] {
        let mut u = (x as f32 + 0.5) / width - 0.5;
        let v = (y as f32 + 0.5) / height - 0.5;
        if self.flip {
            u = -u;
        }
        let (sine, cosine) = self.angle.sin_cos();
        let (u, v) = (self.zoom * (cosine * u - sine * v), self.zoom * (sine * u + cosine * v));
        [(u + self.shift[0] + 0.5) * width - 0.5, (v + self.shift[1] + 0.5) * height - 0.5]
    }
}

/// The four views of `image`, of its own size; the first is the image.
///
/// # Errors
/// None in practice: each view has the image's size.
pub(crate) fn make_views(image: &Rendered, number: u64) -> Result<[Rendered; VIEWS], ImagingError> {
    let mut random = Pcg64Mcg::seed_from_u64(number);
    let mut views = [View::IDENTITY; VIEWS];
    for view in &mut views[1..] {
        *view = View::draw(&mut random);
    }
    let [first, second, third, fourth] = views;
    Ok([sample(image, first)?, sample(image, second)?, sample(image, third)?, sample(image, fourth)?])
}

fn sample(image: &Rendered, view: View) -> Result<Rendered, ImagingError> {
    let (width, height) = (image.width(), image.height());
    let channels = image.channels().count();
    let mut pixels = Vec::with_capacity(image.pixels().len());
    for y in 0..height {
        for x in 0..width {
            let [u, v] = view.source(x, y, width as f32, height as f32);
            for channel in 0..channels {
                let value = interpolate(image, u, v, channel);
                pixels.push((view.gain * value + view.offset).round().clamp(0.0, 255.0) as u8);
            }
        }
    }
    let kind = if channels == 1 { Channels::Grey } else { Channels::Rgb };
    Rendered::new(width, height, kind, pixels)
}

/// Bilinear; beyond the edge, the edge goes on.
fn interpolate(image: &Rendered, u: f32, v: f32, channel: usize) -> f32 {
    let channels = image.channels().count();
    let (left, top) = (u.floor(), v.floor());
    let at = |x: f32, y: f32| {
        let x = x.clamp(0.0, (image.width() - 1) as f32) as usize;
        let y = y.clamp(0.0, (image.height() - 1) as f32) as usize;
        f32::from(image.pixels()[(y * image.width() as usize + x) * channels + channel])
    };
    let (right, bottom) = (u - left, v - top);
    let upper = at(left, top) * (1.0 - right) + at(left + 1.0, top) * right;
    let lower = at(left, top + 1.0) * (1.0 - right) + at(left + 1.0, top + 1.0) * right;
    upper * (1.0 - bottom) + lower * bottom
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Rendered {
        let pixels = (0..64_u32 * 64).map(|i| ((i % 64) * 2 + (i / 64)) as u8).collect();
        Rendered::new(64, 64, Channels::Grey, pixels).unwrap()
    }

    #[test]
    fn the_first_view_is_the_image_itself() {
        let [first, ..] = make_views(&ramp(), 7).unwrap();
        assert_eq!(first, ramp());
    }

    #[test]
    fn the_same_number_gives_the_same_views_and_another_number_others() {
        let views = make_views(&ramp(), 7).unwrap();
        assert_eq!(views, make_views(&ramp(), 7).unwrap());
        assert_ne!(views, make_views(&ramp(), 8).unwrap());
    }

    #[test]
    fn the_four_views_differ_and_keep_the_size() {
        let views = make_views(&ramp(), 3).unwrap();
        for (i, view) in views.iter().enumerate() {
            assert_eq!((view.width(), view.height()), (64, 64));
            assert!(views[i + 1..].iter().all(|other| other != view));
        }
    }

    #[test]
    fn a_flip_mirrors_left_and_right() {
        let flipped = sample(&ramp(), View { flip: true, ..View::IDENTITY }).unwrap();
        let image = ramp();
        for (row, mirrored) in image.pixels().chunks(64).zip(flipped.pixels().chunks(64)) {
            assert!(row.iter().eq(mirrored.iter().rev()));
        }
    }

    #[test]
    fn a_quarter_turn_carries_columns_into_rows() {
        let quarter = View { angle: std::f32::consts::FRAC_PI_2, ..View::IDENTITY };
        let turned = sample(&ramp(), quarter).unwrap();
        let at = |image: &Rendered, x: usize, y: usize| i32::from(image.pixels()[y * 64 + x]);
        for (x, y) in [(0, 0), (10, 50), (63, 1)] {
            assert!((at(&turned, x, y) - at(&ramp(), 63 - y, x)).abs() <= 1);
        }
    }
}
