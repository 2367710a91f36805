//! The operations of RandAugment and of colour jitter on the bytes of a picture, as Pillow does them.

use std::fmt;

use serde::Serialize;

use super::super::Picture;
use super::super::resize::Interpolation;
use super::{affine, blend, tone};

/// One operation with what it is given. Grey pictures have no saturation, so `Colour` leaves them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// The darkest byte of each channel becomes 0, the lightest 255.
    AutoContrast,
    /// The bytes of each channel become equally frequent.
    Equalize,
    /// Light becomes dark.
    Invert,
    /// Around the centre, counter-clockwise, in degrees.
    Rotate(f64),
    /// Only so many of the highest bits remain.
    Posterize(u8),
    /// Bytes from this one on are inverted.
    Solarize(u16),
    /// So much is added to bytes below 128.
    SolarizeAdd(u8),
    /// Saturation: 0 is grey, 1 the picture.
    Colour(f64),
    /// 0 is the mean, 1 the picture.
    Contrast(f64),
    /// 0 is black, 1 the picture.
    Brightness(f64),
    /// 0 is smoothed, 1 the picture.
    Sharpness(f64),
    /// Columns to the left for each row down.
    ShearX(f64),
    /// Rows up for each column to the right.
    ShearY(f64),
    /// To the left, as a share of the width.
    TranslateX(f64),
    /// Up, as a share of the height.
    TranslateY(f64),
}

impl Operation {
    /// How many kinds there are.
    pub(super) const KINDS: usize = 15;

    /// The operation `kind` of a magnitude from 0 to 10. `negative` turns the direction of those that
    /// have one; `increasing` is timm's choice of operations whose severity grows with the magnitude.
    pub(super) fn of_level(kind: usize, level: f64, negative: bool, increasing: bool) -> Self {
        let share = level / 10.0;
        let signed = |value: f64| if negative { -value } else { value };
        let factor = if increasing {
            (1.0 + signed(share * 0.9)).max(0.1)
        } else {
            share * 1.8 + 0.1
        };
        match kind {
            0 => Self::AutoContrast,
            1 => Self::Equalize,
            2 => Self::Invert,
            3 => Self::Rotate(signed(share * 30.0)),
            4 => {
                let bits = (share * 4.0) as u8;
                Self::Posterize(if increasing { 4 - bits } else { bits })
            }
            5 => {
                let threshold = (share * 256.0) as u16;
                Self::Solarize(if increasing {
                    256 - threshold
                } else {
                    threshold
                })
            }
            6 => Self::SolarizeAdd((share * 110.0) as u8),
            7 => Self::Colour(factor),
            8 => Self::Contrast(factor),
            9 => Self::Brightness(factor),
            10 => Self::Sharpness(factor),
            11 => Self::ShearX(signed(share * 0.3)),
            12 => Self::ShearY(signed(share * 0.3)),
            13 => Self::TranslateX(signed(share * 0.45)),
            14 => Self::TranslateY(signed(share * 0.45)),
            kind => unreachable!("there are {} kinds, not {kind}", Self::KINDS),
        }
    }

    /// Changes a picture; `fill` is put where pixels come from outside of it.
    pub(super) fn apply(self, picture: &mut Picture, fill: [u8; 3], interpolation: Interpolation) {
        match self {
            Self::AutoContrast => tone::auto_contrast(picture),
            Self::Equalize => tone::equalize(picture),
            Self::Invert => tone::invert(picture),
            Self::Posterize(bits) => tone::posterize(picture, bits),
            Self::Solarize(threshold) => tone::solarize(picture, threshold),
            Self::SolarizeAdd(addition) => tone::solarize_add(picture, addition),
            Self::Colour(factor) => blend::colour(picture, factor),
            Self::Contrast(factor) => blend::contrast(picture, factor),
            Self::Brightness(factor) => blend::brightness(picture, factor),
            Self::Sharpness(factor) => blend::sharpness(picture, factor),
            Self::Rotate(degrees) => affine::rotate(picture, degrees, fill, interpolation),
            Self::ShearX(slope) => {
                affine::transform(
                    picture,
                    [1.0, slope, 0.0, 0.0, 1.0, 0.0],
                    fill,
                    interpolation,
                );
            }
            Self::ShearY(slope) => {
                affine::transform(
                    picture,
                    [1.0, 0.0, 0.0, slope, 1.0, 0.0],
                    fill,
                    interpolation,
                );
            }
            Self::TranslateX(share) => {
                let columns = share * picture.width as f64;
                affine::transform(
                    picture,
                    [1.0, 0.0, columns, 0.0, 1.0, 0.0],
                    fill,
                    interpolation,
                );
            }
            Self::TranslateY(share) => {
                let rows = share * picture.height as f64;
                affine::transform(
                    picture,
                    [1.0, 0.0, 0.0, 0.0, 1.0, rows],
                    fill,
                    interpolation,
                );
            }
        }
    }

    /// The number of its kind.
    #[cfg(test)]
    pub(super) fn kind(self) -> usize {
        (0..Self::KINDS)
            .find(|kind| {
                let other = Self::of_level(*kind, 0.0, false, false);
                std::mem::discriminant(&other) == std::mem::discriminant(&self)
            })
            .expect("every operation has a kind")
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::AutoContrast => formatter.write_str("auto-contrast"),
            Self::Equalize => formatter.write_str("equalize"),
            Self::Invert => formatter.write_str("invert"),
            Self::Rotate(degrees) => write!(formatter, "rotate {degrees:.1}°"),
            Self::Posterize(bits) => write!(formatter, "posterize {bits}"),
            Self::Solarize(threshold) => write!(formatter, "solarize {threshold}"),
            Self::SolarizeAdd(addition) => write!(formatter, "solarize-add {addition}"),
            Self::Colour(factor) => write!(formatter, "colour {factor:.2}"),
            Self::Contrast(factor) => write!(formatter, "contrast {factor:.2}"),
            Self::Brightness(factor) => write!(formatter, "brightness {factor:.2}"),
            Self::Sharpness(factor) => write!(formatter, "sharpness {factor:.2}"),
            Self::ShearX(slope) => write!(formatter, "shear-x {slope:.2}"),
            Self::ShearY(slope) => write!(formatter, "shear-y {slope:.2}"),
            Self::TranslateX(share) => write!(formatter, "translate-x {share:.2}"),
            Self::TranslateY(share) => write!(formatter, "translate-y {share:.2}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::data::reference::{REFERENCE, pixels, source};

    fn named(name: &str, value: f64) -> Operation {
        match name {
            "auto-contrast" => Operation::AutoContrast,
            "equalize" => Operation::Equalize,
            "invert" => Operation::Invert,
            "rotate" => Operation::Rotate(value),
            "posterize" => Operation::Posterize(value as u8),
            "solarize" => Operation::Solarize(value as u16),
            "solarize-add" => Operation::SolarizeAdd(value as u8),
            "colour" => Operation::Colour(value),
            "contrast" => Operation::Contrast(value),
            "brightness" => Operation::Brightness(value),
            "sharpness" => Operation::Sharpness(value),
            "shear-x" => Operation::ShearX(value),
            "shear-y" => Operation::ShearY(value),
            "translate-x" => Operation::TranslateX(value),
            "translate-y" => Operation::TranslateY(value),
            name => panic!("{name}"),
        }
    }

    #[derive(Deserialize)]
    struct Case {
        operation: String,
        value: f64,
        filter: Interpolation,
        source: String,
        pixels: String,
    }

    #[test]
    fn every_operation_agrees_with_timm_and_pillow() {
        let cases: Vec<Case> = REFERENCE.cases("operations");
        let mut kinds = [0; Operation::KINDS];
        for case in cases {
            let operation = named(&case.operation, case.value);
            let mut picture = source(&case.source);
            operation.apply(&mut picture, [124, 116, 104], case.filter);
            assert_eq!(
                picture.pixels,
                pixels(&case.pixels),
                "{operation:?} on {} ({:?})",
                case.source,
                case.filter
            );
            kinds[operation.kind()] += 1;
        }
        assert!(kinds.iter().all(|count| *count >= 5), "{kinds:?}");
    }

    #[derive(Deserialize)]
    struct Level {
        operation: String,
        increasing: bool,
        level: f64,
        value: f64,
    }

    #[test]
    fn magnitudes_mean_what_they_mean_in_timm() {
        let cases: Vec<Level> = REFERENCE.cases("levels");
        assert_eq!(cases.len(), 96);
        for case in cases {
            let expected = named(&case.operation, case.value);
            let kind = expected.kind();
            let found = Operation::of_level(kind, case.level, false, case.increasing);
            // The last bit of a number can get lost on its way through a file.
            let same = found == expected || found.kind() == kind && close(found, case.value);
            assert!(same, "{found:?} {expected:?} {}", case.increasing);
        }
    }

    /// Whether the number of an operation that has one of 64 bits is this, but for its last bits.
    fn close(operation: Operation, value: f64) -> bool {
        match operation {
            Operation::Rotate(found)
            | Operation::Colour(found)
            | Operation::Contrast(found)
            | Operation::Brightness(found)
            | Operation::Sharpness(found)
            | Operation::ShearX(found)
            | Operation::ShearY(found)
            | Operation::TranslateX(found)
            | Operation::TranslateY(found) => (found - value).abs() < 1e-12,
            _ => false,
        }
    }

    #[test]
    fn directions_turn() {
        let both =
            |kind| [false, true].map(|negative| Operation::of_level(kind, 10.0, negative, true));
        assert_eq!(both(3), [Operation::Rotate(30.0), Operation::Rotate(-30.0)]);
        assert_eq!(both(12), [Operation::ShearY(0.3), Operation::ShearY(-0.3)]);
        let [lighter, darker] = both(9);
        assert_eq!(lighter, Operation::Brightness(1.9));
        let Operation::Brightness(factor) = darker else {
            panic!("{darker:?}")
        };
        assert!((factor - 0.1).abs() < 1e-9);
    }
}
