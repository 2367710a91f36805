//! Colour jitter: brightness, contrast, and saturation by random factors in a random order.

use std::fmt;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::operation::Operation;
use crate::data::DataError;

/// How far the factors go from 1; 0 leaves a picture as it is. Grey pictures have no saturation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ColourJitter {
    /// Of brightness.
    pub brightness: f64,
    /// Of contrast.
    pub contrast: f64,
    /// Of saturation.
    pub saturation: f64,
}

impl ColourJitter {
    /// Whether anything varies.
    pub(super) fn is_on(&self) -> bool {
        *self != Self::default()
    }

    pub(super) fn validate(&self) -> Result<(), DataError> {
        let values = [self.brightness, self.contrast, self.saturation];
        if values
            .iter()
            .all(|value| value.is_finite() && *value >= 0.0)
        {
            return Ok(());
        }
        Err(DataError::Setting {
            key: "colour_jitter",
            value: self.to_string(),
            reason: "it has to be 0 (off) or positive and finite".to_owned(),
        })
    }

    /// What happens to one picture: each factor is uniform around 1 and never negative.
    pub(super) fn draw(&self, stream: &mut impl Rng) -> Vec<Operation> {
        type Make = fn(f64) -> Operation;
        let all: [(f64, Make); 3] = [
            (self.brightness, Operation::Brightness),
            (self.contrast, Operation::Contrast),
            (self.saturation, Operation::Colour),
        ];
        let mut operations: Vec<Operation> = all
            .into_iter()
            .filter(|(reach, _)| *reach > 0.0)
            .map(|(reach, make)| make(stream.random_range((1.0 - reach).max(0.0)..=1.0 + reach)))
            .collect();
        operations.shuffle(stream);
        operations
    }
}

impl fmt::Display for ColourJitter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            brightness,
            contrast,
            saturation,
        } = self;
        if brightness == contrast && contrast == saturation {
            write!(formatter, "{brightness}")
        } else {
            write!(formatter, "[{brightness}, {contrast}, {saturation}]")
        }
    }
}

impl Serialize for ColourJitter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.brightness == self.contrast && self.contrast == self.saturation {
            return serializer.serialize_f64(self.brightness);
        }
        [self.brightness, self.contrast, self.saturation].serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ColourJitter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str =
            "one number, or three: brightness, contrast, and saturation, as in [0.4, 0.4, 0.4]";
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = ColourJitter;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(EXPECTED)
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<ColourJitter, E> {
                Ok(ColourJitter {
                    brightness: value,
                    contrast: value,
                    saturation: value,
                })
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<ColourJitter, E> {
                self.visit_f64(value as f64)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<ColourJitter, A::Error> {
                let mut all = Vec::new();
                while let Some(value) = values.next_element::<f64>()? {
                    all.push(value);
                }
                match all[..] {
                    [brightness, contrast, saturation] => Ok(ColourJitter {
                        brightness,
                        contrast,
                        saturation,
                    }),
                    _ => Err(A::Error::custom(format!("expected {EXPECTED}"))),
                }
            }
        }
        deserializer.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phase::Phase;
    use crate::random::{Key, Seed};

    #[test]
    fn factors_and_orders_are_uniform() {
        let jitter = ColourJitter {
            brightness: 0.4,
            contrast: 1.5,
            saturation: 0.0,
        };
        let mut brightness_first = 0;
        let (mut brightness, mut contrast) = (Vec::new(), Vec::new());
        for sample in 0..4000 {
            let mut stream = Seed(0).stream(&Key {
                phase: Phase::Meta,
                epoch: 0,
                sample,
                purpose: "colour-jitter",
            });
            let operations = jitter.draw(&mut stream);
            assert_eq!(operations.len(), 2);
            brightness_first += usize::from(matches!(operations[0], Operation::Brightness(_)));
            for operation in operations {
                match operation {
                    Operation::Brightness(factor) => brightness.push(factor),
                    Operation::Contrast(factor) => contrast.push(factor),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(brightness_first.abs_diff(2000) < 160, "{brightness_first}");
        // A uniform draw has the mean of its ends and a twelfth of its width squared as variance.
        for (factors, least, most) in [(brightness, 0.6, 1.4), (contrast, 0.0, 2.5)] {
            let count = factors.len() as f64;
            let mean = factors.iter().sum::<f64>() / count;
            let deviation = (most - least) / 12.0_f64.sqrt();
            assert!((mean - (least + most) / 2.0).abs() < 5.0 * deviation / count.sqrt());
            let variance = factors.iter().map(|f| (f - mean).powi(2)).sum::<f64>() / count;
            assert!((variance.sqrt() / deviation - 1.0).abs() < 0.05);
            assert!(factors.iter().all(|factor| (least..=most).contains(factor)));
        }
    }
}
