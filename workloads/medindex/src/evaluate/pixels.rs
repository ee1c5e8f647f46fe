//! Raw pixels as features: what retrieval finds without any model.
//!
//! Each image is squeezed to 16 x 16 grey pixels (bilinear with antialiasing). Compared by cosine in two forms: as they are, and with the image's
//! mean grey removed first. The published baseline of `MedNIST` is the second; the first is the stronger one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use medindex_imaging::{
    ColourOrder, FrameSelection, InputSpec, Layout, Limits, Resize, WindowChoice, decode,
};
use medindex_pipeline::Pipeline;
use medindex_proto::identity::ImageId;

use super::{Vectors, normalise};
use crate::failure::{Code, Failure, describe};

/// Edge of the small image.
const EDGE: u32 = 16;
/// Components of a vector.
const DIMENSION: usize = (EDGE * EDGE) as usize;

/// Small grey images of `ids`, in their order, not normalised. `done` is called with the number of images behind.
pub(crate) async fn read_all(
    pipeline: &Pipeline,
    ids: &[ImageId],
    done: Arc<dyn Fn(usize) + Send + Sync>,
) -> Result<Vectors, Failure> {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let counter = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for part in ids.chunks(ids.len().div_ceil(workers).max(1)) {
        let (pipeline, part) = (pipeline.clone(), part.to_vec());
        let (counter, done) = (Arc::clone(&counter), Arc::clone(&done));
        tasks.push(tokio::spawn(async move {
            let mut data = Vec::with_capacity(part.len() * DIMENSION);
            for id in part {
                let (_, bytes) = pipeline.file(&id).await.map_err(|error| Failure::flow(&error))?;
                let small = tokio::task::block_in_place(|| shrink(&bytes, &pipeline.settings().limits));
                data.extend(small.map_err(|reason| {
                    Failure::new(Code::Storage, format!("the stored image {id} cannot be read: {reason}"))
                })?);
                done(counter.fetch_add(1, Ordering::Relaxed) + 1);
            }
            Ok::<_, Failure>(data)
        }));
    }
    let mut data = Vec::with_capacity(ids.len() * DIMENSION);
    for task in tasks {
        let part = task.await;
        let failed = |error| Failure::caused_by(Code::Other, "reading pixels stopped", &error);
        data.extend(part.map_err(failed)??);
    }
    Ok(Vectors { data, dimension: DIMENSION })
}

/// The middle frame of an image as 16 x 16 grey values.
fn shrink(bytes: &[u8], limits: &Limits) -> Result<Vec<f32>, String> {
    let spec = InputSpec {
        width: EDGE,
        height: EDGE,
        layout: Layout::Nchw,
        colour_order: ColourOrder::Rgb,
        mean: [0.0; 3],
        scale: [1.0; 3],
        resize: Resize::Squeeze,
    };
    let decoded = decode(bytes, limits, FrameSelection::MiddleOfStored).map_err(|error| describe(&error))?;
    let frame = decoded.frames.first().ok_or("it has no frame")?;
    let tensor = frame.render(&WindowChoice::File).to_tensor(&spec).map_err(|error| describe(&error))?;
    // Luma of ITU-R BT.601, as PIL's mode L.
    let (red, rest) = tensor.split_at(DIMENSION);
    let (green, blue) = rest.split_at(DIMENSION);
    let grey = red.iter().zip(green).zip(blue).map(|((r, g), b)| 0.299 * r + 0.587 * g + 0.114 * b);
    Ok(grey.collect())
}

/// Every vector normalised as it is.
pub(crate) fn plain(pixels: &Vectors) -> Vectors {
    let mut vectors = pixels.clone();
    vectors.data.chunks_mut(DIMENSION).for_each(normalise);
    vectors
}

/// Every vector normalised after its mean is removed.
pub(crate) fn without_mean(pixels: &Vectors) -> Vectors {
    let mut vectors = pixels.clone();
    for vector in vectors.data.chunks_mut(DIMENSION) {
        let mean = vector.iter().sum::<f32>() / DIMENSION as f32;
        for pixel in vector.iter_mut() {
            *pixel -= mean;
        }
        normalise(vector);
    }
    vectors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_squeezed_to_its_grey_values() {
        // A binary 32 x 32 bitmap made here would test the decoder; a PNG of one grey tests the arithmetic.
        let grey = medindex_imaging::Rendered::new(32, 32, medindex_imaging::Channels::Grey, vec![77; 1024]);
        let png = grey.unwrap().to_png(32).unwrap();
        let small = shrink(&png, &Limits::default()).unwrap();
        assert_eq!(small.len(), DIMENSION);
        assert!(small.iter().all(|pixel| (pixel - 77.0).abs() < 0.1), "{small:?}");
    }

    #[test]
    fn removing_the_mean_leaves_the_pattern() {
        let mut data = vec![10.0; DIMENSION];
        data[0] = 11.0;
        let pixels = Vectors { data, dimension: DIMENSION };
        assert!(plain(&pixels).row(0)[0] < 0.1, "almost all of it is the mean");
        assert!(without_mean(&pixels).row(0)[0] > 0.99, "only the pattern is left");
    }
}
