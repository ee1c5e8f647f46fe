//! A balanced, repeatable choice of queries.

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_pcg::Pcg64;

/// `wanted` of `images`, about equally many of each label, chosen by `seed`, sorted. `labels` are those of all images by number. Labels with
/// too few images give all they have, and others more; all of `images` when there are not more than `wanted`.
pub(crate) fn balanced(
    images: &[usize],
    labels: &[usize],
    label_count: usize,
    wanted: usize,
    seed: u64,
) -> Vec<usize> {
    let mut by_label = vec![Vec::new(); label_count];
    for image in images {
        by_label[labels[*image]].push(*image);
    }
    let mut random = Pcg64::seed_from_u64(seed);
    for images in &mut by_label {
        images.shuffle(&mut random);
    }
    // One of each label in turn until there are enough.
    let longest = by_label.iter().map(Vec::len).max().unwrap_or(0);
    let turns = (0..longest).flat_map(|turn| by_label.iter().filter_map(move |images| images.get(turn)));
    let mut chosen: Vec<usize> = turns.take(wanted).copied().collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_all(labels: &[usize], wanted: usize, seed: u64) -> Vec<usize> {
        let images: Vec<usize> = (0..labels.len()).collect();
        balanced(&images, labels, 2, wanted, seed)
    }

    #[test]
    fn labels_are_represented_equally() {
        let labels: Vec<usize> = (0..100).map(|image| usize::from(image >= 90)).collect();
        let chosen = of_all(&labels, 10, 7);
        assert_eq!(chosen.len(), 10);
        assert_eq!(chosen.iter().filter(|image| labels[**image] == 1).count(), 5);
    }

    #[test]
    fn a_rare_label_gives_all_it_has() {
        let labels = [0, 0, 0, 0, 0, 1];
        assert_eq!(of_all(&labels, 4, 7).iter().filter(|image| **image == 5).count(), 1);
        assert_eq!(of_all(&labels, 100, 7), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn only_the_images_given_are_chosen() {
        let labels = [0, 0, 0, 0, 0, 1];
        assert_eq!(balanced(&[1, 3], &labels, 2, 100, 7), [1, 3]);
        assert!(balanced(&[], &labels, 2, 100, 7).is_empty());
    }

    #[test]
    fn the_seed_decides() {
        let labels = vec![0; 1000];
        assert_eq!(of_all(&labels, 10, 1), of_all(&labels, 10, 1));
        assert_ne!(of_all(&labels, 10, 1), of_all(&labels, 10, 2));
    }
}
