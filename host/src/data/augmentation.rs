//! Random changes of training pictures, each draw a function of (seed, phase, epoch, sample, purpose).

use rand::RngExt;
use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};

use super::DataError;
use crate::phase::Phase;
use crate::random::{Key, Seed};

/// Which random changes training pictures get; by default none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Black pixels around the picture, out of which a window of its size is cut at random; 0 is no
    /// cropping.
    pub crop_padding: usize,
    /// Whether to mirror every other picture, left to right.
    pub flip: bool,
    /// Parameter of the symmetric beta distribution of the weight with which a batch is mixed with
    /// itself in reverse order (mixup, Zhang et al. 2018, one weight a batch); 0 is no mixing.
    pub mixup: f64,
}

/// Where the window of one picture is, and whether it is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Columns to the right, negative to the left.
    pub(super) right: isize,
    /// Rows down, negative up.
    pub(super) down: isize,
    pub(super) mirrored: bool,
}

impl View {
    /// The picture as it is.
    pub(super) const PLAIN: Self = Self {
        right: 0,
        down: 0,
        mirrored: false,
    };
}

impl Augmentation {
    pub(super) fn validate(&self, picture_size: usize) -> Result<(), DataError> {
        if self.crop_padding >= picture_size {
            return Err(DataError::Setting {
                key: "crop_padding",
                value: self.crop_padding.to_string(),
                reason: format!(
                    "it has to be less than the picture size {picture_size}, or nothing of a picture may be left"
                ),
            });
        }
        if !(self.mixup.is_finite() && self.mixup >= 0.0) {
            return Err(DataError::Setting {
                key: "mixup",
                value: self.mixup.to_string(),
                reason: "it has to be 0 (off) or positive and finite".to_owned(),
            });
        }
        Ok(())
    }

    /// What becomes of one picture.
    pub(super) fn view(&self, seed: Seed, phase: Phase, epoch: u64, sample: u64) -> View {
        let stream = |purpose| {
            seed.stream(&Key {
                phase,
                epoch,
                sample,
                purpose,
            })
        };
        let mut view = View::PLAIN;
        if self.crop_padding > 0 {
            let mut stream = stream("crop");
            let padding = self.crop_padding as i64;
            view.down = stream.random_range(-padding..=padding) as isize;
            view.right = stream.random_range(-padding..=padding) as isize;
        }
        if self.flip {
            view.mirrored = stream("flip").random();
        }
        view
    }

    /// The weight of a batch against its reverse, if they are mixed.
    pub(super) fn mixing_weight(
        &self,
        seed: Seed,
        phase: Phase,
        epoch: u64,
        batch: u64,
    ) -> Option<f32> {
        if self.mixup <= 0.0 {
            return None;
        }
        let mut stream = seed.stream(&Key {
            phase,
            epoch,
            sample: batch,
            purpose: "mixup",
        });
        let beta = Beta::new(self.mixup, self.mixup).expect("the parameter was validated");
        Some(beta.sample(&mut stream) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: Seed = Seed(3);

    fn views(augmentation: &Augmentation) -> Vec<View> {
        (0..4000)
            .map(|sample| augmentation.view(SEED, Phase::Meta, 0, sample))
            .collect()
    }

    #[test]
    fn nothing_happens_by_default() {
        let off = Augmentation::default();
        assert!(views(&off).iter().all(|view| *view == View::PLAIN));
        assert_eq!(off.mixing_weight(SEED, Phase::Meta, 0, 0), None);
    }

    #[test]
    fn every_window_and_both_directions_occur_equally() {
        let views = views(&Augmentation {
            crop_padding: 1,
            flip: true,
            mixup: 0.0,
        });
        for right in -1..=1 {
            for down in -1..=1 {
                for mirrored in [false, true] {
                    let view = View {
                        right,
                        down,
                        mirrored,
                    };
                    let count = views.iter().filter(|other| **other == view).count() as f64;
                    let expected = views.len() as f64 / 18.0;
                    assert!(
                        (count - expected).abs() < 5.0 * expected.sqrt(),
                        "{view:?} {count}"
                    );
                }
            }
        }
    }

    #[test]
    fn purposes_do_not_disturb_each_other() {
        let crop = Augmentation {
            crop_padding: 2,
            ..Augmentation::default()
        };
        let both = Augmentation { flip: true, ..crop };
        for (alone, together) in views(&crop).iter().zip(views(&both)) {
            assert_eq!((alone.right, alone.down), (together.right, together.down));
        }
    }

    #[test]
    fn mixing_weights_follow_the_distribution() {
        for alpha in [1e-3, 0.2, 0.8, 1.0, 4.0, 1e6] {
            let augmentation = Augmentation {
                mixup: alpha,
                ..Augmentation::default()
            };
            let weights: Vec<f64> = (0..4000)
                .filter_map(|batch| augmentation.mixing_weight(SEED, Phase::Meta, 0, batch))
                .map(f64::from)
                .collect();
            assert_eq!(weights.len(), 4000);
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
    fn impossible_settings_are_refused() {
        let failure = |crop_padding, mixup| {
            let augmentation = Augmentation {
                crop_padding,
                flip: false,
                mixup,
            };
            augmentation.validate(8).unwrap_err().to_string()
        };
        assert!(failure(8, 0.0).starts_with("setting `crop_padding` is 8, but"));
        for mixup in [-0.1, f64::NAN, f64::INFINITY] {
            assert!(failure(0, mixup).starts_with("setting `mixup` is"));
        }
    }
}
