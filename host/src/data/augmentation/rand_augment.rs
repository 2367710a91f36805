//! RandAugment (Cubuk et al. 2020) as timm has it, in timm's notation.
//!
//! Of fifteen operations some are drawn with replacement; each is done with a probability, with a
//! magnitude from 0 to 10 that has normal noise.

use std::fmt;
use std::str::FromStr;

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use super::operation::Operation;

/// The largest magnitude.
const MOST: f64 = 10.0;

/// What happens when the notation leaves it out.
const USUAL: RandAugment = RandAugment {
    magnitude: MOST,
    deviation: 0.0,
    layers: 2,
    probability: 0.5,
    increasing: false,
};

/// A policy of random operations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandAugment {
    /// `m`: the magnitude, from 0 to 10.
    pub magnitude: f64,
    /// `mstd`: the standard deviation of its noise.
    pub deviation: f64,
    /// `n`: how many operations are drawn for a picture.
    pub layers: usize,
    /// `p`: the probability with which each of them is done.
    pub probability: f64,
    /// `inc1`: whether the severity of every operation increases with the magnitude.
    pub increasing: bool,
}

/// A policy that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Another policy than RandAugment.
    #[error(
        "`{policy}` is no policy that this program has (write `rand-`, then parts: {PARTS}, as in `rand-m9-mstd0.5-inc1`)"
    )]
    Policy {
        /// What was written.
        policy: String,
    },
    /// A part with an unknown name.
    #[error("`{part}` in `{policy}` is unknown (known parts: {PARTS})")]
    Part {
        /// The part.
        part: String,
        /// All of it.
        policy: String,
    },
    /// A part whose number cannot be.
    #[error("`{part}` in `{policy}` cannot be: {reason}")]
    Value {
        /// The part.
        part: String,
        /// All of it.
        policy: String,
        /// What is possible.
        reason: &'static str,
    },
    /// A part twice.
    #[error("`{part}` in `{policy}` sets what an earlier part has set (take one of them out)")]
    Twice {
        /// The second part.
        part: String,
        /// All of it.
        policy: String,
    },
}

/// The parts of the notation, for errors.
const PARTS: &str =
    "m (magnitude), mstd (its noise), n (operations), p (probability), inc (1 or 0)";

impl FromStr for RandAugment {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let policy = || text.to_owned();
        let mut parts = text.split('-');
        if parts.next() != Some("rand") {
            return Err(PolicyError::Policy { policy: policy() });
        }
        let mut found = USUAL;
        let mut seen = Vec::new();
        for part in parts {
            let digits = part.find(|letter: char| !letter.is_ascii_alphabetic());
            let (name, number) = part.split_at(digits.unwrap_or(part.len()));
            let impossible = |reason| PolicyError::Value {
                part: part.to_owned(),
                policy: policy(),
                reason,
            };
            let real = |range: std::ops::RangeInclusive<f64>, reason| {
                number
                    .parse::<f64>()
                    .ok()
                    .filter(|value| range.contains(value))
                    .ok_or_else(|| impossible(reason))
            };
            match name {
                "m" => found.magnitude = real(0.0..=MOST, "write a number from 0 to 10")?,
                "mstd" => {
                    found.deviation = real(0.0..=100.0, "write a number from 0 to 100")?;
                }
                "p" => found.probability = real(0.0..=1.0, "write a number from 0 to 1")?,
                "n" => {
                    found.layers = number
                        .parse()
                        .ok()
                        .filter(|count| (1..=15).contains(count))
                        .ok_or_else(|| impossible("write a whole number from 1 to 15"))?;
                }
                "inc" => {
                    found.increasing = match number {
                        "0" => false,
                        "1" => true,
                        _ => return Err(impossible("write `inc1` or `inc0`")),
                    };
                }
                _ => {
                    return Err(PolicyError::Part {
                        part: part.to_owned(),
                        policy: policy(),
                    });
                }
            }
            if seen.contains(&name) {
                return Err(PolicyError::Twice {
                    part: part.to_owned(),
                    policy: policy(),
                });
            }
            seen.push(name);
        }
        Ok(found)
    }
}

impl fmt::Display for RandAugment {
    /// The notation; what is usual is left out.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "rand-m{}", self.magnitude)?;
        if self.deviation != USUAL.deviation {
            write!(formatter, "-mstd{}", self.deviation)?;
        }
        if self.layers != USUAL.layers {
            write!(formatter, "-n{}", self.layers)?;
        }
        if self.probability != USUAL.probability {
            write!(formatter, "-p{}", self.probability)?;
        }
        if self.increasing {
            formatter.write_str("-inc1")?;
        }
        Ok(())
    }
}

impl RandAugment {
    /// What happens to one picture, in order.
    pub(super) fn draw(&self, stream: &mut impl Rng) -> Vec<Operation> {
        let mut operations = Vec::new();
        for _ in 0..self.layers {
            let kind = stream.random_range(0..Operation::KINDS);
            if stream.random::<f64>() >= self.probability {
                continue;
            }
            let noise: f64 = StandardNormal.sample(stream);
            let level = (self.magnitude + self.deviation * noise).clamp(0.0, MOST);
            let negative = stream.random();
            operations.push(Operation::of_level(kind, level, negative, self.increasing));
        }
        operations
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::data::reference::REFERENCE;
    use crate::phase::Phase;
    use crate::random::{Key, Seed, Stream};

    fn stream(sample: u64) -> Stream {
        Seed(2).stream(&Key {
            phase: Phase::FineTune,
            epoch: 1,
            sample,
            purpose: "rand-augment",
        })
    }

    #[test]
    fn the_notation_is_timms() {
        let recipe: RandAugment = "rand-m9-mstd0.5-inc1".parse().unwrap();
        let expected = RandAugment {
            magnitude: 9.0,
            deviation: 0.5,
            layers: 2,
            probability: 0.5,
            increasing: true,
        };
        assert_eq!(recipe, expected);
        assert_eq!("rand-mstd0.5-inc1-m9".parse(), Ok(expected));
        assert_eq!("rand".parse(), Ok(USUAL));
        let other: RandAugment = "rand-n3-p0.7-m4-inc0".parse().unwrap();
        assert_eq!((other.layers, other.probability), (3, 0.7));
        for policy in [recipe, other, USUAL] {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        assert_eq!(recipe.to_string(), "rand-m9-mstd0.5-inc1");
    }

    #[test]
    fn unknown_parts_are_named() {
        for (text, phrase) in [
            ("augmix-m3", "`augmix-m3` is no policy"),
            ("", "`` is no policy"),
            (
                "rand-w0",
                "`w0` in `rand-w0` is unknown (known parts: m (magn",
            ),
            ("rand-mmax12", "`mmax12` in"),
            ("rand-m9-", "`` in `rand-m9-` is unknown"),
            ("rand-m", "`m` in `rand-m` cannot be: write a number from 0"),
            ("rand-m11", "`m11` in `rand-m11` cannot be"),
            ("rand-m9-mstd101", "write a number from 0 to 100"),
            ("rand-n0", "whole number from 1 to 15"),
            ("rand-n2.5", "whole number from 1 to 15"),
            ("rand-p1.5", "from 0 to 1"),
            ("rand-inc2", "`inc1` or `inc0`"),
            ("rand-inc", "`inc1` or `inc0`"),
            ("rand-m9-m8", "`m8` in `rand-m9-m8` sets what"),
            ("rand-mNaN", "`mNaN`"),
        ] {
            let error = text.parse::<RandAugment>().unwrap_err().to_string();
            assert!(error.contains(phrase), "{error}");
        }
    }

    #[derive(Deserialize)]
    struct Moments {
        applied: f64,
        mean: f64,
        std: f64,
        clipped: f64,
    }

    /// Against 20,000 pictures of timm's.
    #[test]
    fn operations_and_magnitudes_are_distributed_as_timms() {
        let timm: Moments = REFERENCE.cases("rand_augment");
        let policy: RandAugment = "rand-m9-mstd0.5-inc1".parse().unwrap();
        const PICTURES: u64 = 20_000;
        let all: Vec<Operation> = (0..PICTURES)
            .flat_map(|sample| policy.draw(&mut stream(sample)))
            .collect();
        let applied = all.len() as f64 / PICTURES as f64;
        assert!((applied - timm.applied).abs() < 0.04, "{applied}");
        let mut kinds = [0_usize; Operation::KINDS];
        all.iter()
            .for_each(|operation| kinds[operation.kind()] += 1);
        let expected = all.len() as f64 / Operation::KINDS as f64;
        for (kind, count) in kinds.into_iter().enumerate() {
            let difference = (count as f64 - expected).abs();
            assert!(difference < 5.0 * expected.sqrt(), "{kind} {count}");
        }
        // A rotation shows its magnitude, and both directions are equally likely.
        let degrees: Vec<f64> = all
            .iter()
            .filter_map(|operation| match operation {
                Operation::Rotate(degrees) => Some(*degrees),
                _ => None,
            })
            .collect();
        let count = degrees.len() as f64;
        let negative = degrees.iter().filter(|degrees| **degrees < 0.0).count() as f64;
        assert!((negative - count / 2.0).abs() < 2.5 * count.sqrt());
        let levels: Vec<f64> = degrees.iter().map(|degrees| degrees.abs() / 3.0).collect();
        let mean = levels.iter().sum::<f64>() / count;
        let variance = levels
            .iter()
            .map(|level| (level - mean).powi(2))
            .sum::<f64>()
            / count;
        let clipped = levels.iter().filter(|level| **level == 10.0).count() as f64 / count;
        assert!((mean - timm.mean).abs() < 0.07, "{mean}");
        assert!((variance.sqrt() - timm.std).abs() < 0.05, "{variance}");
        assert!((clipped - timm.clipped).abs() < 0.02, "{clipped}");
    }
}
