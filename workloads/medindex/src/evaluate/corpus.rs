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
