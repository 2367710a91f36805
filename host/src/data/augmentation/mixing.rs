//! Mixup and CutMix: a batch is mixed with itself in reverse order, one draw for the whole batch.
//!
//! An odd batch has a picture in the middle that is its own partner and stays as it is.

use rand::RngExt;
use rand_distr::{Beta, Distribution};
use serde::Serialize;

use super::super::resize::Region;
use super::{Augmentation, Occasion};

/// How a batch is mixed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mixing {
    /// Not at all, this time.
    Unmixed,
    /// Every picture and every target is a weighted sum.
    Mixup {
        /// The weight of a picture; its partner has the rest.
        weight: f32,
    },
    /// Every picture has a region of its partner.
    CutMix {
        /// What the region leaves of a picture, as a share of its area; also the weight of its
        /// target.
        weight: f32,
        /// Where it lies.
        region: Region,
    },
}

impl Mixing {
    /// The weight of each picture's own target.
    pub(in crate::data) fn weight(&self) -> f32 {
        match *self {
            Self::Unmixed => 1.0,
            Self::Mixup { weight } | Self::CutMix { weight, .. } => weight,
        }
    }

    /// Mixes two partners of the same channels, rows, and columns.
    pub(in crate::data) fn mix(&self, first: &mut [f32], second: &mut [f32], size: usize) {
        match *self {
            Self::Unmixed => {}
            Self::Mixup { weight } => {
                let rest = 1.0 - weight;
                for (first, second) in first.iter_mut().zip(second) {
                    (*first, *second) = (
                        *first * weight + *second * rest,
                        *second * weight + *first * rest,
                    );
                }
            }
            Self::CutMix { region, .. } => {
                let columns = region.left..region.left + region.width;
                let rows = first
                    .chunks_exact_mut(size)
                    .zip(second.chunks_exact_mut(size));
                for (row, (first, second)) in rows.enumerate() {
                    if (region.top..region.top + region.height).contains(&(row % size)) {
                        first[columns.clone()].swap_with_slice(&mut second[columns.clone()]);
                    }
                }
            }
        }
    }
}

/// The region of a partner that leaves `weight` of a picture, around a centre, and what it leaves
/// after what lies outside of the picture is cut off.
fn region(size: usize, weight: f64, down: usize, right: usize) -> (Region, f32) {
    let side = (size as f64 * (1.0 - weight).sqrt()) as usize;
    let range = |centre: usize| {
        let first = centre.saturating_sub(side / 2);
        (first, (centre + side / 2).min(size) - first)
    };
    let ((top, height), (left, width)) = (range(down), range(right));
    let region = Region {
        left,
        top,
        width,
        height,
    };
    let left = 1.0 - (width * height) as f64 / (size * size) as f64;
    (region, left as f32)
}

impl Augmentation {
    /// How a batch is mixed, if batches are mixed at all, for pictures of `size` pixels in each
    /// direction.
    pub(in crate::data) fn mixing(&self, batch: &Occasion, size: usize) -> Option<Mixing> {
        if self.mixup <= 0.0 && self.cutmix <= 0.0 {
            return None;
        }
        let mut stream = batch.stream("mixing");
        if stream.random::<f64>() >= self.mix_probability {
            return Some(Mixing::Unmixed);
        }
        let switched = stream.random::<f64>() < self.switch_probability;
        let cut = self.cutmix > 0.0 && (self.mixup <= 0.0 || switched);
        let (alpha, purpose) = if cut {
            (self.cutmix, "cutmix")
        } else {
            (self.mixup, "mixup")
        };
        let mut stream = batch.stream(purpose);
        let beta = Beta::new(alpha, alpha).expect("the parameter was validated");
        let weight: f64 = beta.sample(&mut stream);
        if cut {
            let down = stream.random_range(0..size);
            let right = stream.random_range(0..size);
            let (region, weight) = region(size, weight, down, right);
            Some(Mixing::CutMix { weight, region })
        } else {
            Some(Mixing::Mixup {
                weight: weight as f32,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::data::reference::REFERENCE;
    use crate::phase::Phase;
    use crate::random::Seed;

    fn mixings(augmentation: &Augmentation) -> Vec<Option<Mixing>> {
        (0..4000)
            .map(|number| {
                let batch = Occasion {
                    seed: Seed(3),
                    phase: Phase::Meta,
                    epoch: 0,
                    number,
                };
                augmentation.mixing(&batch, 32)
            })
            .collect()
    }

    #[derive(Deserialize)]
    struct Case {
        height: usize,
        weight: f64,
        down: usize,
        right: usize,
        r#box: [usize; 4],
        corrected: f64,
    }

    #[test]
    fn regions_and_corrected_weights_are_timms() {
        let cases: Vec<Case> = REFERENCE.cases("cut_boxes");
        assert_eq!(cases.len(), 6);
        for case in cases {
            let (found, weight) = region(case.height, case.weight, case.down, case.right);
            let [left, top, right, bottom] = case.r#box;
            let expected = Region {
                left,
                top,
                width: right - left,
                height: bottom - top,
            };
            assert_eq!(found, expected);
            assert_eq!(weight, case.corrected as f32);
        }
    }

    #[test]
    fn weights_follow_the_distribution() {
        for alpha in [1e-3, 0.2, 0.8, 1.0, 4.0, 1e6] {
            let augmentation = Augmentation {
                mixup: alpha,
                ..Augmentation::default()
            };
            let weights: Vec<f64> = mixings(&augmentation)
                .into_iter()
                .map(|mixing| match mixing {
                    Some(Mixing::Mixup { weight }) => f64::from(weight),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert!(
                weights.iter().all(|weight| (0.0..=1.0).contains(weight)),
                "{alpha}"
            );
            let count = weights.len() as f64;
            let mean = weights.iter().sum::<f64>() / count;
            let variance = weights.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / count;
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!(
                (mean - 0.5).abs() < 5.0 * (expected / count).sqrt() + 1e-6,
                "{alpha} {mean}"
            );
            assert!(
                (variance / expected - 1.0).abs() < 0.1,
                "{alpha} {variance} {expected}"
            );
        }
    }

    #[test]
    fn probabilities_choose_between_both_and_none() {
        let shares = |mix_probability, switch_probability, mixup, cutmix| {
            let all = mixings(&Augmentation {
                mixup,
                cutmix,
                mix_probability,
                switch_probability,
                ..Augmentation::default()
            });
            let share = |wanted: fn(&Mixing) -> bool| {
                all.iter().flatten().filter(|mixing| wanted(mixing)).count() as f64 / 4000.0
            };
            [
                share(|mixing| matches!(mixing, Mixing::Unmixed)),
                share(|mixing| matches!(mixing, Mixing::Mixup { .. })),
                share(|mixing| matches!(mixing, Mixing::CutMix { .. })),
            ]
        };
        for (found, expected) in [
            (shares(1.0, 0.5, 0.8, 1.0), [0.0, 0.5, 0.5]),
            (shares(0.7, 0.2, 0.8, 1.0), [0.3, 0.56, 0.14]),
            (shares(0.5, 0.5, 0.0, 1.0), [0.5, 0.0, 0.5]),
            (shares(1.0, 1.0, 0.8, 0.0), [0.0, 1.0, 0.0]),
            (shares(1.0, 0.0, 0.8, 1.0), [0.0, 1.0, 0.0]),
            (shares(0.0, 0.5, 0.8, 1.0), [1.0, 0.0, 0.0]),
        ] {
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 0.04, "{found} {expected}");
            }
        }
        assert_eq!(mixings(&Augmentation::default())[0], None);
    }

    /// The share that is left is uniform before the correction (Beta(1, 1)); the correction adds the
    /// expected area outside.
    #[test]
    fn regions_move_over_the_whole_picture() {
        let augmentation = Augmentation {
            cutmix: 1.0,
            ..Augmentation::default()
        };
        let mut covered = vec![0_u32; 32 * 32];
        for mixing in mixings(&augmentation).into_iter().flatten() {
            let Mixing::CutMix { weight, region } = mixing else {
                panic!("{mixing:?}")
            };
            let area = (region.width * region.height) as f32 / 1024.0;
            assert!((weight - (1.0 - area)).abs() < 1e-6);
            for row in region.top..region.top + region.height {
                for column in region.left..region.left + region.width {
                    covered[row * 32 + column] += 1;
                }
            }
        }
        assert!(covered.iter().all(|count| *count > 400));
        assert!(covered[16 * 32 + 16] > covered[0]);
    }
}
