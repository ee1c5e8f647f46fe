//! The images that are evaluated: one vector and one label each.

use std::collections::BTreeMap;

use medindex_pipeline::{ImageDetails, StoredVector};
use medindex_proto::identity::ImageId;

use super::Vectors;
use crate::failure::{Code, Failure};

/// Labelled images with their vectors.
#[derive(Debug)]
pub(crate) struct Corpus {
    /// Ids, by image number.
    pub(crate) ids: Vec<ImageId>,
    /// Label numbers, by image number.
    pub(crate) labels: Vec<usize>,
    /// Names of the labels, sorted, by label number.
    pub(crate) label_names: Vec<String>,
    /// Images of each label.
    pub(crate) label_counts: Vec<usize>,
    /// Embeddings, by image number.
    pub(crate) vectors: Vectors,
    /// Searchable images that have no label and are left out.
    pub(crate) unlabelled: usize,
}

impl Corpus {
    /// The labelled images among `stored`; of a multi-frame image, the middle one of its frames.
    ///
    /// # Errors
    /// When fewer than two labels have images, or there are none at all: then there is nothing to tell apart.
    pub(crate) fn new(stored: Vec<StoredVector>) -> Result<Self, Failure> {
        let images = middle_frames(stored);
        let all = images.len();
        let labelled: Vec<_> = images.into_iter().filter(|(image, _)| image.label.is_some()).collect();
        let unlabelled = all - labelled.len();
        let mut label_names: Vec<String> =
            labelled.iter().filter_map(|(image, _)| image.label.clone()).collect();
        label_names.sort();
        label_names.dedup();
        if label_names.len() < 2 {
            let message = format!(
                "evaluation needs stored images with at least two labels, there are {} labels on {} images: import with --labels or --label-from-folder",
                label_names.len(),
                labelled.len()
            );
            return Err(Failure::new(Code::Refused, message));
        }
        let dimension = labelled.first().map_or(1, |(_, vector)| vector.len());
        let mut corpus = Self {
            ids: Vec::with_capacity(labelled.len()),
            labels: Vec::with_capacity(labelled.len()),
            label_counts: vec![0; label_names.len()],
            label_names,
            vectors: Vectors { data: Vec::with_capacity(labelled.len() * dimension), dimension },
            unlabelled,
        };
        for (image, vector) in labelled {
            let label = image.label.unwrap_or_default();
            let Ok(number) = corpus.label_names.binary_search(&label) else { continue };
            corpus.ids.push(image.id);
            corpus.labels.push(number);
            corpus.label_counts[number] += 1;
            corpus.vectors.data.extend(vector);
        }
        Ok(corpus)
    }

    /// How many images there are.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Other images with the label of image `query`: what a perfect ranking puts first.
    pub(crate) fn relevant_count(&self, query: usize) -> usize {
        self.label_counts[self.labels[query]] - 1
    }

    /// The images that can be queries: those whose label another image has. For the others there is nothing to find, however images are ranked,
    /// and every figure would be 0; the rest is searched among them all the same.
    pub(crate) fn queries(&self) -> Vec<usize> {
        (0..self.len()).filter(|image| self.relevant_count(*image) > 0).collect()
    }
}

#[cfg(test)]
impl Corpus {
    /// Images of the labels `a`, `b` and so on, by number.
    pub(crate) fn of(vectors: &[[f32; 2]], labels: Vec<usize>) -> Self {
        let count = labels.iter().max().map_or(0, |greatest| greatest + 1);
        let label_counts = (0..count).map(|label| labels.iter().filter(|l| **l == label).count()).collect();
        let label_names = ('a'..='z').take(count).map(String::from).collect();
        Self {
            ids: labels.iter().map(|_| ImageId::new()).collect(),
            labels,
            label_names,
            label_counts,
            vectors: Vectors { data: vectors.concat(), dimension: 2 },
            unlabelled: 0,
        }
    }
}

/// One vector an image, in the order of the ids.
fn middle_frames(stored: Vec<StoredVector>) -> Vec<(ImageDetails, Vec<f32>)> {
    let mut frames: BTreeMap<ImageId, Vec<StoredVector>> = BTreeMap::new();
    for vector in stored {
        frames.entry(vector.image.id).or_default().push(vector);
    }
    frames
        .into_values()
        .filter_map(|mut frames| {
            frames.sort_by_key(|frame| frame.frame);
            let middle = frames.len() / 2;
            let chosen = frames.into_iter().nth(middle)?;
            Some((chosen.image, chosen.vector.into_iter().map(f32::from).collect()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_whose_label_no_other_has_is_no_query() {
        let corpus = Corpus::of(&[[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], vec![0, 1, 0, 2]);
        assert_eq!(corpus.queries(), [0, 2]);
        assert_eq!(corpus.len(), 4, "it is searched among all the same");
    }
}
