//! Random draws as functions of what they are for: there is no global generator.
//!
//! A [`Stream`] depends on the seed of the run and on its [`Key`] alone, so that a draw is the same
//! in whatever order, thread or process it is made, and after a run was interrupted. Equal keys give
//! equal streams; keys that differ in anything give streams that have nothing to do with each other.

use std::convert::Infallible;

use rand::{SeedableRng, TryRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::phase::Phase;

/// Precedes everything that is hashed; to be changed with the encoding.
const ENCODING: &[u8] = b"incubate.random.1";

/// The seed of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

/// What a random draw is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key<'a> {
    /// The phase, which contains the index of the module that is trained.
    pub phase: Phase,
    /// The epoch in the phase, from 0; 0 for what is drawn once.
    pub epoch: u64,
    /// The index of the sample in the data set, or of whatever else is drawn for; 0 if single.
    pub sample: u64,
    /// What is drawn, such as `order` or `crop`.
    pub purpose: &'a str,
}

impl Seed {
    /// The stream of random numbers for `key`: ChaCha with 8 rounds, its 256-bit key the SHA-256 of
    /// seed and key.
    pub fn stream(self, key: &Key<'_>) -> Stream {
        let (phase, module) = match key.phase {
            Phase::Meta => (0, 0),
            Phase::Module(index) => (1, index as u64),
            Phase::FineTune => (2, 0),
            Phase::Baseline => (3, 0),
        };
        // Everything before the purpose has a fixed length, so that no two keys have one encoding.
        let mut digest = Sha256::new();
        digest.update(ENCODING);
        digest.update(self.0.to_le_bytes());
        digest.update([phase]);
        digest.update(module.to_le_bytes());
        digest.update(key.epoch.to_le_bytes());
        digest.update(key.sample.to_le_bytes());
        digest.update(key.purpose.as_bytes());
        Stream(ChaCha8Rng::from_seed(digest.finalize().into()))
    }
}

/// Random numbers for one purpose; use it through the traits of `rand` and `rand_distr`.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::{Rng, RngExt};

    use super::*;

    const KEY: Key<'static> = Key {
        phase: Phase::Module(2),
        epoch: 3,
        sample: 5,
        purpose: "crop",
    };

    fn first_two(seed: u64, key: Key<'_>) -> [u64; 2] {
        let mut stream = Seed(seed).stream(&key);
        [stream.next_u64(), stream.next_u64()]
    }

    /// The values come from another implementation of the encoding and of ChaCha.
    #[test]
    fn values_are_pinned() {
        let order = Key {
            phase: Phase::Meta,
            epoch: 0,
            sample: 0,
            purpose: "order",
        };
        let nameless = Key {
            phase: Phase::Baseline,
            epoch: 1,
            sample: 0,
            purpose: "",
        };
        let fine_tune = Key {
            phase: Phase::FineTune,
            ..KEY
        };
        assert_eq!(
            first_two(0, order),
            [0x025a_b375_7707_3f1b, 0x955e_cb16_8624_8120]
        );
        assert_eq!(
            first_two(7, KEY),
            [0x48ff_8b98_0030_6a86, 0x8f07_0e86_8758_b54c]
        );
        assert_eq!(
            first_two(u64::MAX, nameless),
            [0x50ec_824b_37e6_9926, 0xe293_7819_7096_7fed]
        );
        assert_eq!(
            first_two(7, fine_tune),
            [0xb04f_6f53_2633_dac8, 0x0d33_9780_5e07_f3c1]
        );
    }

    #[test]
    fn equal_keys_give_equal_streams() {
        assert_eq!(first_two(7, KEY), first_two(7, KEY));
    }

    #[test]
    fn every_part_of_the_key_matters() {
        let phases = [
            Phase::Meta,
            Phase::Module(0),
            Phase::Module(1),
            Phase::FineTune,
            Phase::Baseline,
        ];
        let mut keys = 0;
        let mut seen = HashSet::new();
        for seed in [0, 1] {
            for phase in phases {
                for epoch in [0, 1, 256] {
                    for sample in [0, 1, 256] {
                        for purpose in ["", "a", "ab"] {
                            keys += 1;
                            seen.insert(first_two(
                                seed,
                                Key {
                                    phase,
                                    epoch,
                                    sample,
                                    purpose,
                                },
                            ));
                        }
                    }
                }
            }
        }
        assert_eq!(seen.len(), keys);
    }

    #[test]
    fn neighbouring_samples_are_uncorrelated() {
        let draws: Vec<f64> = (0..4096)
            .map(|sample| Seed(1).stream(&Key { sample, ..KEY }).random::<f64>() - 0.5)
            .collect();
        let count = draws.len() as f64;
        let mean = draws.iter().sum::<f64>() / count;
        let variance = draws.iter().map(|draw| draw * draw).sum::<f64>() / count;
        let neighbours = draws.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / count;
        // Four standard deviations of each, for independent uniform draws.
        assert!(mean.abs() < 4.0 * (1.0 / 12.0_f64 / count).sqrt(), "{mean}");
        assert!((variance - 1.0 / 12.0).abs() < 4.0 * (1.0 / 180.0 / count).sqrt());
        assert!((neighbours / variance).abs() < 4.0 / count.sqrt());
    }
}
