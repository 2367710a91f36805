//! Random inputs as functions of what they are for, and numbers as a report writes them.

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use crate::phase::Phase;
use crate::random::{Key, Seed, Stream};

/// Numbers of a list that a report writes out.
const WRITTEN: usize = 16;

/// The seed of everything that is generated.
const SEED: Seed = Seed(0x1AC5);

/// The random numbers for one purpose.
pub(super) fn stream(purpose: &str, sample: u64) -> Stream {
    SEED.stream(&Key {
        phase: Phase::Meta,
        epoch: 0,
        sample,
        purpose,
    })
}

/// Normal draws with this standard deviation.
pub(super) fn normal(random: &mut Stream, count: usize, deviation: f32) -> Vec<f32> {
    (0..count)
        .map(|_| {
            let draw: f32 = StandardNormal.sample(random);
            draw * deviation
        })
        .collect()
}

/// A whole number below `end`, which is at least 1.
pub(super) fn below(random: &mut Stream, end: u64) -> u64 {
    random.random_range(0..end)
}

/// A list as a report writes it: whole when it is short.
pub(super) fn list<T: std::fmt::Debug>(values: &[T]) -> String {
    if values.len() <= WRITTEN {
        return format!("{values:?}");
    }
    let first: Vec<String> = values[..4]
        .iter()
        .map(|value| format!("{value:?}"))
        .collect();
    format!("[{}, … {} in all]", first.join(", "), values.len())
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(list(&[1, 2, 3]), "[1, 2, 3]");
        assert_eq!(list(&[7; 20]), "[7, 7, 7, 7, … 20 in all]");
    }
}
