//! How two measurements of the same round compare.

use serde::Serialize;

/// Which of two measurements is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Better {
    /// Times and bytes.
    Less,
    /// Pictures a second.
    More,
}

/// What was measured of one thing on both sides, in pairs.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Pairs {
    /// PyTorch and incubate.
    pairs: Vec<[f64; 2]>,
}

impl Pairs {
    /// Adds what was measured in one round.
    pub(crate) fn push(&mut self, pytorch: f64, ours: f64) {
        self.pairs.push([pytorch, ours]);
    }

    /// The median of PyTorch and of ours.
    pub(crate) fn medians(&self) -> [f64; 2] {
        [0, 1].map(|side| sorted(self.pairs.iter().map(|pair| pair[side]))[self.pairs.len() / 2])
    }

    /// How many times better ours was, pair by pair: least, median, and most.
    pub(crate) fn ratios(&self, better: Better) -> [f64; 3] {
        let ratios = sorted(self.pairs.iter().map(|[pytorch, ours]| match better {
            Better::Less => pytorch / ours,
            Better::More => ours / pytorch,
        }));
        [
            ratios[0],
            ratios[ratios.len() / 2],
            ratios[ratios.len() - 1],
        ]
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}
