//! Settings that have a short form: `true` for the usual value, `false` for none.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserializer, Serialize, Serializer};

/// `false`, `true`, or a least and a largest share of an area.
pub(super) mod area {
    use super::*;

    /// The shares of the recipe.
    const USUAL: [f64; 2] = [0.08, 1.0];

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Option<[f64; 2]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(area) => area.serialize(serializer),
            None => serializer.serialize_bool(false),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<[f64; 2]>, D::Error> {
        struct Area;
        impl<'de> Visitor<'de> for Area {
            type Value = Option<[f64; 2]>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(
                    "`false`, `true`, or a least and a largest share of the area, as in [0.08, 1.0]",
                )
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<Self::Value, E> {
                Ok(on.then_some(USUAL))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut shares: A) -> Result<Self::Value, A::Error> {
                let least = shares.next_element()?;
                let most = shares.next_element()?;
                match (least, most, shares.next_element::<f64>()?) {
                    (Some(least), Some(most), None) => Ok(Some([least, most])),
                    _ => Err(A::Error::custom(format!("expected {}", Expectation(&self)))),
                }
            }
        }
        deserializer.deserialize_any(Area)
    }
}

/// `false`, or a policy in timm's notation.
pub(super) mod policy {
    use super::*;
    use crate::data::RandAugment;

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Option<RandAugment>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(policy) => serializer.collect_str(policy),
            None => serializer.serialize_bool(false),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<RandAugment>, D::Error> {
        struct Policy;
        impl Visitor<'_> for Policy {
            type Value = Option<RandAugment>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("`false`, or a policy such as \"rand-m9-mstd0.5-inc1\"")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<Self::Value, E> {
                if on {
                    let found = serde::de::Unexpected::Bool(true);
                    return Err(E::invalid_value(found, &self));
                }
                Ok(None)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map(Some).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Policy)
    }
}

/// A probability, or `true` for one half and `false` for none.
pub(super) fn probability_or_half<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<f64, D::Error> {
    struct Probability;
    impl Visitor<'_> for Probability {
        type Value = f64;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a probability, `true` (0.5), or `false`")
        }

        fn visit_bool<E: Error>(self, on: bool) -> Result<f64, E> {
            Ok(if on { 0.5 } else { 0.0 })
        }

        fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
            Ok(value)
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
            Ok(value as f64)
        }
    }
    deserializer.deserialize_any(Probability)
}

/// What a visitor expects, in its own words.
struct Expectation<'a, V>(&'a V);

impl<'de, V: Visitor<'de>> fmt::Display for Expectation<'_, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(formatter)
    }
}

#[cfg(test)]
mod tests {
    use crate::data::Augmentation;

    fn read(text: &str) -> Result<Augmentation, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn short_forms_are_read() {
        let found = read("flip = true\nrandom_resized_crop = true\nrand_augment = false").unwrap();
        let expected = Augmentation {
            flip: 0.5,
            random_resized_crop: Some([0.08, 1.0]),
            ..Augmentation::default()
        };
        assert_eq!(found, expected);
        let found = read("flip = 1\nrandom_resized_crop = [0.5, 1]\ncolour_jitter = 0.4").unwrap();
        assert_eq!(found.flip, 1.0);
        assert_eq!(found.random_resized_crop, Some([0.5, 1.0]));
        assert!(found.colour_jitter.is_on());
        let off = read("flip = false\nrandom_resized_crop = false").unwrap();
        assert_eq!(off, Augmentation::default());
    }

    #[test]
    fn what_was_written_reads_back() {
        for text in [
            "",
            "rand_augment = \"rand-m9-mstd0.5-inc1\"\nrandom_resized_crop = [0.3, 0.9]\nflip = 0.25",
            "colour_jitter = [0.1, 0.0, 0.3]\nerasing_mode = \"const\"\ninterpolation = \"bilinear\"",
        ] {
            let first = read(text).unwrap();
            assert_eq!(read(&toml::to_string(&first).unwrap()), Ok(first), "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for (text, phrase) in [
            (
                "flip = \"often\"",
                "a probability, `true` (0.5), or `false`",
            ),
            ("random_resized_crop = [0.5]", "a least and a largest share"),
            (
                "random_resized_crop = [0.1, 0.2, 0.3]",
                "a least and a largest share",
            ),
            ("random_resized_crop = 0.5", "a least and a largest share"),
            ("rand_augment = true", "a policy such as"),
            ("rand_augment = \"augmix-m3\"", "augmix-m3"),
            ("erasing_mode = \"noise\"", "unknown variant `noise`"),
            ("colour_jitter = [0.1]", "one number, or three"),
            ("mix-up = 0.1", "unknown field `mix-up`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(phrase), "{text}: {error}");
        }
    }
}
