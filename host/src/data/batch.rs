//! A batch: pictures as the model's input, with labels and the mixture of them.

use super::Mixing;

/// What one step trains on or one forward pass evaluates.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Normalised pictures, of the shape below; empty where nobody needs them.
    pub images: Vec<f32>,
    /// The class of each picture; with mixup or CutMix that of the picture before it was mixed.
    pub labels: Vec<i64>,
    /// With mixup or CutMix the share of each class in each picture, of shape (pictures, classes); every row
    /// sums to 1. Label smoothing is not included.
    pub soft_targets: Option<Vec<f32>>,
    /// Which pictures of the part these are.
    pub indices: Vec<usize>,
    /// The number that random draws for each picture have: its index, and for further copies of a
    /// picture in an epoch a number of their own.
    pub samples: Vec<u64>,
    /// Pictures, channels, rows, columns.
    pub shape: [usize; 4],
}

impl Batch {
    /// Mixes the batch with its reverse.
    pub(super) fn mix(&mut self, mixing: &Mixing, classes: usize) {
        let count = self.labels.len();
        let size = self.images.len() / count;
        let (front, back) = self.images.split_at_mut(count / 2 * size);
        // The middle one of an odd number is its own partner.
        let partners = front
            .chunks_exact_mut(size)
            .zip(back.rchunks_exact_mut(size));
        for (first, second) in partners {
            mixing.mix(first, second, self.shape[3]);
        }
        let weight = mixing.weight();
        let mut targets = vec![0.0; count * classes];
        let partners = self.labels.iter().zip(self.labels.iter().rev());
        for (target, (label, partner)) in targets.chunks_exact_mut(classes).zip(partners) {
            target[*label as usize] += weight;
            target[*partner as usize] += 1.0 - weight;
        }
        self.soft_targets = Some(targets);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::resize::Region;

    fn batch(labels: Vec<i64>) -> Batch {
        let count = labels.len();
        Batch {
            images: (0..2 * count).map(|value| value as f32).collect(),
            indices: (0..count).collect(),
            samples: (0..count as u64).collect(),
            shape: [count, 1, 1, 2],
            soft_targets: None,
            labels,
        }
    }

    #[test]
    fn pictures_are_mixed_with_the_reverse() {
        let mut mixed = batch(vec![0, 1, 2]);
        mixed.mix(&Mixing::Mixup { weight: 0.75 }, 4);
        assert_eq!(mixed.images, [1.0, 2.0, 2.0, 3.0, 3.0, 4.0]);
        let expected = [
            [0.75, 0.0, 0.25, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            [0.25, 0.0, 0.75, 0.0],
        ];
        assert_eq!(mixed.soft_targets, Some(expected.concat()));
        assert_eq!(mixed.labels, [0, 1, 2]);
    }

    #[test]
    fn regions_change_places() {
        let mut cut = Batch {
            images: (0..16).map(|value| value as f32).collect(),
            shape: [2, 2, 2, 2],
            ..batch(vec![0, 1])
        };
        // The right half of both channels.
        let region = Region {
            left: 1,
            top: 0,
            width: 1,
            height: 2,
        };
        let weight = 0.5;
        cut.mix(&Mixing::CutMix { weight, region }, 2);
        let expected = [
            [0.0, 9.0, 2.0, 11.0, 4.0, 13.0, 6.0, 15.0],
            [8.0, 1.0, 10.0, 3.0, 12.0, 5.0, 14.0, 7.0],
        ];
        assert_eq!(cut.images, expected.concat());
        assert_eq!(cut.soft_targets, Some(vec![0.5; 4]));
    }

    #[test]
    fn a_batch_that_is_not_mixed_this_time_still_has_shares() {
        let mut kept = batch(vec![0, 1, 2]);
        kept.mix(&Mixing::Unmixed, 3);
        assert_eq!(kept.images, batch(Vec::from([0; 3])).images);
        let expected = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        assert_eq!(kept.soft_targets, Some(expected.concat()));
    }

    proptest! {
        #[test]
        fn targets_sum_to_one(
            labels in prop::collection::vec(0_i64..5, 1..20),
            weight in 0.0_f32..=1.0,
        ) {
            let mut mixed = batch(labels);
            mixed.mix(&Mixing::Mixup { weight }, 5);
            for row in mixed.soft_targets.unwrap().chunks_exact(5) {
                prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                prop_assert!(row.iter().all(|share| (0.0..=1.0).contains(share)));
            }
        }
    }
}
