//! A batch: pictures as the model's input, with labels and the mixture of them.

/// What one step trains on or one forward pass evaluates.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Normalised pictures, of the shape below.
    pub images: Vec<f32>,
    /// The class of each picture; with mixup that of the picture before it was mixed.
    pub labels: Vec<i64>,
    /// With mixup the share of each class in each picture, of shape (pictures, classes); every row
    /// sums to 1. Label smoothing is not included.
    pub soft_targets: Option<Vec<f32>>,
    /// Which pictures of the part these are.
    pub indices: Vec<usize>,
    /// Pictures, channels, rows, columns.
    pub shape: [usize; 4],
}

impl Batch {
    /// Mixes the batch with its reverse: `weight` of each picture and the rest of its partner.
    pub(super) fn mix(&mut self, weight: f32, classes: usize) {
        let count = self.labels.len();
        let size = self.images.len() / count;
        let rest = 1.0 - weight;
        let (front, back) = self.images.split_at_mut(count / 2 * size);
        // The middle one of an odd number is its own partner.
        let partners = front
            .chunks_exact_mut(size)
            .zip(back.rchunks_exact_mut(size));
        for (first, second) in partners {
            for (first, second) in first.iter_mut().zip(second) {
                (*first, *second) = (
                    *first * weight + *second * rest,
                    *second * weight + *first * rest,
                );
            }
        }
        let mut targets = vec![0.0; count * classes];
        let partners = self.labels.iter().zip(self.labels.iter().rev());
        for (target, (label, partner)) in targets.chunks_exact_mut(classes).zip(partners) {
            target[*label as usize] += weight;
            target[*partner as usize] += rest;
        }
        self.soft_targets = Some(targets);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch(labels: Vec<i64>) -> Batch {
        let count = labels.len();
        Batch {
            images: (0..2 * count).map(|value| value as f32).collect(),
            indices: (0..count).collect(),
            shape: [count, 1, 1, 2],
            soft_targets: None,
            labels,
        }
    }

    #[test]
    fn pictures_are_mixed_with_the_reverse() {
        let mut mixed = batch(vec![0, 1, 2]);
        mixed.mix(0.75, 4);
        assert_eq!(mixed.images, [1.0, 2.0, 2.0, 3.0, 3.0, 4.0]);
        let expected = [
            [0.75, 0.0, 0.25, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            [0.25, 0.0, 0.75, 0.0],
        ];
        assert_eq!(mixed.soft_targets, Some(expected.concat()));
        assert_eq!(mixed.labels, [0, 1, 2]);
    }

    proptest! {
        #[test]
        fn targets_sum_to_one(
            labels in prop::collection::vec(0_i64..5, 1..20),
            weight in 0.0_f32..=1.0,
        ) {
            let mut mixed = batch(labels);
            mixed.mix(weight, 5);
            for row in mixed.soft_targets.unwrap().chunks_exact(5) {
                prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                prop_assert!(row.iter().all(|share| (0.0..=1.0).contains(share)));
            }
        }
    }
}
