//! Random changes of training pictures, each draw a function of (seed, phase, epoch, sample, purpose).
//!
//! What happens to a picture is drawn first, as [`Draws`], and done to its bytes afterwards, so that
//! it can be shown, and tested against other implementations, without its randomness. The order is
//! timm's: crop, flip, RandAugment or colour jitter, normalisation, erasing, and then mixing of the
//! batch.

mod affine;
mod blend;
mod crop;
mod erasing;
mod flip;
mod jitter;
mod mixing;
mod operation;
mod rand_augment;
mod setting;
mod tone;

use rand::RngExt;
use serde::{Deserialize, Serialize};

pub use self::crop::Crop;
pub use self::erasing::ErasingMode;
pub use self::jitter::ColourJitter;
pub use self::mixing::Mixing;
pub use self::operation::Operation;
pub use self::rand_augment::RandAugment;

pub(super) use self::erasing::erase;

use super::resize::{Interpolation, Region};
use super::{DataError, Picture};
use crate::phase::Phase;
use crate::random::{Key, Seed, Stream};

/// Which random changes training pictures get; by default none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Black pixels around the picture, out of which a window of its size is cut at random; 0 is no
    /// cropping. For small pictures, in place of `random_resized_crop`.
    pub crop_padding: usize,
    /// The least and the largest share of a picture's area that a random region of it has, which
    /// becomes the whole picture; `None`, written `false`, is off, and `true` is `[0.08, 1.0]`.
    #[serde(with = "setting::area")]
    pub random_resized_crop: Option<[f64; 2]>,
    /// The least and the largest width of that region, over its height; its logarithm is uniform.
    pub crop_ratio: [f64; 2],
    /// How `random_resized_crop` and `rand_augment` compute pixels between pixels.
    pub interpolation: Interpolation,
    /// The probability with which a picture is mirrored, left to right; `true` is 0.5.
    #[serde(deserialize_with = "setting::probability_or_half")]
    pub flip: f64,
    /// Random operations in timm's notation, such as `rand-m9-mstd0.5-inc1`; `None`, written
    /// `false`, is off.
    #[serde(with = "setting::policy")]
    pub rand_augment: Option<RandAugment>,
    /// How much brightness, contrast, and saturation vary, in place of `rand_augment`: each factor
    /// is uniform in 1 ± its value. One number is for all three.
    pub colour_jitter: ColourJitter,
    /// The probability with which a rectangle of a picture is erased after normalisation.
    pub random_erasing: f64,
    /// What is put into it.
    pub erasing_mode: ErasingMode,
    /// How many rectangles are erased, which share the area of one.
    pub erasing_count: usize,
    /// Parameter of the symmetric beta distribution of the weight with which a batch is mixed with
    /// itself in reverse order (mixup, Zhang et al. 2018, one weight a batch); 0 is no mixup.
    pub mixup: f64,
    /// Parameter of the symmetric beta distribution of the share of each picture that a rectangle of
    /// its partner leaves (CutMix, Yun et al. 2019, one rectangle a batch); 0 is no CutMix.
    pub cutmix: f64,
    /// The probability with which a batch is mixed at all.
    pub mix_probability: f64,
    /// Where both are on, the probability of CutMix in place of mixup.
    pub switch_probability: f64,
    /// How many differently changed copies of each picture follow each other in an epoch, which has
    /// as many pictures as ever and therefore fewer different ones (Hoffer et al. 2020).
    pub repeats: usize,
    /// How many sets of draws there are: epoch e has those of epoch e modulo this number, so that
    /// pictures come back as they were, and what frozen networks make of them can be kept. 0 draws
    /// anew in every epoch. Mixing is always drawn anew.
    pub views: usize,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            crop_padding: 0,
            random_resized_crop: None,
            crop_ratio: [3.0 / 4.0, 4.0 / 3.0],
            interpolation: Interpolation::Bicubic,
            flip: 0.0,
            rand_augment: None,
            colour_jitter: ColourJitter::default(),
            random_erasing: 0.0,
            erasing_mode: ErasingMode::Pixel,
            erasing_count: 1,
            mixup: 0.0,
            cutmix: 0.0,
            mix_probability: 1.0,
            switch_probability: 0.5,
            repeats: 1,
            views: 0,
        }
    }
}

/// Whose draws: a picture in an epoch, or a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occasion {
    pub(super) seed: Seed,
    pub(super) phase: Phase,
    pub(super) epoch: u64,
    /// The number of the sample or of the batch.
    pub(super) number: u64,
}

impl Occasion {
    /// The random numbers for one purpose.
    pub(super) fn stream(&self, purpose: &str) -> Stream {
        self.seed.stream(&Key {
            phase: self.phase,
            epoch: self.epoch,
            sample: self.number,
            purpose,
        })
    }
}

/// What becomes of one picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Draws {
    /// Which part of the picture is taken.
    pub crop: Crop,
    /// Whether it is mirrored, left to right.
    pub mirrored: bool,
    /// What happens to its bytes after that, in this order.
    pub operations: Vec<Operation>,
    /// What is erased of the normalised picture.
    pub erased: Vec<Region>,
}

impl Draws {
    /// The picture as it is.
    pub(super) const PLAIN: Self = Self {
        crop: Crop::Whole,
        mirrored: false,
        operations: Vec::new(),
        erased: Vec::new(),
    };
}

impl Augmentation {
    /// Refuses what cannot be, for inputs of `picture_size` pixels in each direction.
    ///
    /// # Errors
    ///
    /// [`DataError::Setting`] with the first key whose value is impossible.
    pub fn validate(&self, picture_size: usize) -> Result<(), DataError> {
        let refuse = |key, value: String, reason: &str| {
            Err(DataError::Setting {
                key,
                value,
                reason: reason.to_owned(),
            })
        };
        if self.crop_padding >= picture_size {
            return Err(DataError::Setting {
                key: "crop_padding",
                value: self.crop_padding.to_string(),
                reason: format!(
                    "it has to be less than the picture size {picture_size}, or nothing of a picture may be left"
                ),
            });
        }
        if self.crop_padding > 0 && self.random_resized_crop.is_some() {
            return refuse(
                "crop_padding",
                self.crop_padding.to_string(),
                "`random_resized_crop` is on; set one of them to 0 or `false`",
            );
        }
        if let Some([least, most]) = self.random_resized_crop
            && !(0.0 < least && least <= most && most <= 1.0)
        {
            return refuse(
                "random_resized_crop",
                format!("[{least}, {most}]"),
                "it has to be two shares of the area, above 0 and up to 1, the smaller one first; the recipe has [0.08, 1.0]",
            );
        }
        let [least, most] = self.crop_ratio;
        if !(0.0 < least && least <= most && most.is_finite()) {
            return refuse(
                "crop_ratio",
                format!("[{least}, {most}]"),
                "it has to be two positive ratios of width to height, the smaller one first; the recipe has [0.75, 1.3333333333333333]",
            );
        }
        for (key, value) in [
            ("flip", self.flip),
            ("random_erasing", self.random_erasing),
            ("mix_probability", self.mix_probability),
            ("switch_probability", self.switch_probability),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return refuse(
                    key,
                    value.to_string(),
                    "it has to be a probability from 0 to 1",
                );
            }
        }
        for (key, value) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(
                    key,
                    value.to_string(),
                    "it has to be 0 (off) or positive and finite",
                );
            }
        }
        for (key, value) in [
            ("erasing_count", self.erasing_count),
            ("repeats", self.repeats),
        ] {
            if value == 0 {
                return refuse(key, "0".to_owned(), "it has to be at least 1");
            }
        }
        self.colour_jitter.validate()?;
        if self.colour_jitter.is_on() && self.rand_augment.is_some() {
            return refuse(
                "colour_jitter",
                self.colour_jitter.to_string(),
                "`rand_augment` is on, beside which it is not used; set it to 0, or `rand_augment` to `false`",
            );
        }
        Ok(())
    }

    /// Whether anything is drawn for a picture alone: what stays the same whatever its batch is.
    pub fn draws(&self) -> bool {
        self.crop_padding > 0 || self.flip > 0.0 || self.is_costly()
    }

    /// Whether pictures are mixed with others of their batch.
    pub fn mixes(&self) -> bool {
        (self.mixup > 0.0 || self.cutmix > 0.0) && self.mix_probability > 0.0
    }

    /// The epoch whose draws pictures have in this one.
    pub fn view(&self, epoch: u64) -> u64 {
        match self.views as u64 {
            0 => epoch,
            views => epoch % views,
        }
    }

    /// Whether the bytes of a picture are changed so much that threads are worth it.
    pub(super) fn is_costly(&self) -> bool {
        self.random_resized_crop.is_some()
            || self.rand_augment.is_some()
            || self.colour_jitter.is_on()
            || self.random_erasing > 0.0
    }

    /// What becomes of a picture of `width` times `height` pixels, as an input of `size` in each
    /// direction.
    pub(super) fn draw(
        &self,
        occasion: &Occasion,
        (width, height): (usize, usize),
        size: usize,
    ) -> Draws {
        let crop = if let Some(area) = self.random_resized_crop {
            let mut stream = occasion.stream("resized-crop");
            Crop::Resized(crop::draw(
                &mut stream,
                (width, height),
                area,
                self.crop_ratio,
            ))
        } else if self.crop_padding > 0 {
            let mut stream = occasion.stream("crop");
            let padding = self.crop_padding as i64;
            let down = stream.random_range(-padding..=padding) as isize;
            let right = stream.random_range(-padding..=padding) as isize;
            Crop::Padded { right, down }
        } else {
            Crop::Whole
        };
        let mirrored = self.flip > 0.0 && flip::draw(&mut occasion.stream("flip"), self.flip);
        let operations = match &self.rand_augment {
            Some(policy) => policy.draw(&mut occasion.stream("rand-augment")),
            None if self.colour_jitter.is_on() => self
                .colour_jitter
                .draw(&mut occasion.stream("colour-jitter")),
            None => Vec::new(),
        };
        let erased = if self.random_erasing > 0.0 {
            erasing::draw(
                &mut occasion.stream("erasing"),
                self.random_erasing,
                self.erasing_count,
                size,
            )
        } else {
            Vec::new()
        };
        Draws {
            crop,
            mirrored,
            operations,
            erased,
        }
    }

    /// The picture that the model will see, before normalisation: `size` pixels in each direction,
    /// unless nothing of it is resized. Of a picture whose region is resized, that region is given; `fill` is put where an operation takes pixels from outside.
    pub(super) fn change(
        &self,
        draws: &Draws,
        picture: Picture,
        size: usize,
        fill: [u8; 3],
    ) -> Picture {
        let crop = match draws.crop {
            Crop::Resized(_) => Crop::Resized(Region::whole(&picture)),
            other => other,
        };
        let mut picture = crop::apply(crop, picture, size, self.interpolation);
        if draws.mirrored {
            flip::mirror(&mut picture);
        }
        for operation in &draws.operations {
            operation.apply(&mut picture, fill, self.interpolation);
        }
        picture
    }
}

#[cfg(test)]
mod tests;
