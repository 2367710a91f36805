//! What the units of the method cost beside end-to-end training, in the counts that papers use.

use serde::Serialize;

use super::cost::{EqualCompute, PhaseCost, depths, trained};
use crate::model::Trained;
use crate::phase::Phase;
use crate::run::Unit;

/// A cost as a share of a cost of end-to-end training, counted in four ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Ratio {
    /// Multiply-accumulate operations, as this host computes them.
    pub macs: f64,
    /// The same as the reference implementation of the method computes them: gradients of the frozen
    /// weights behind the trained module, too.
    pub macs_reference: f64,
    /// Blocks alone, without what comes before the first and after the last: 1 for the forward pass
    /// through a block, 1 for the gradient of its input, 1 for the gradient of its weights.
    pub blocks: f64,
    /// Blocks as the reference implementation computes them.
    pub blocks_reference: f64,
}

/// The cost of one unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnitRatio {
    /// The unit.
    pub unit: String,
    /// Training on one picture, as a share of training on it end to end.
    pub picture: Ratio,
    /// The whole unit, as a share of the whole baseline.
    pub whole: Ratio,
}

/// The cost of a plan beside that of end-to-end training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ratios {
    /// Meta, every module, and fine-tuning, in their order.
    pub units: Vec<UnitRatio>,
    /// All modules together.
    pub modules: UnitRatio,
    /// The heaviest module.
    pub heaviest: UnitRatio,
    /// Meta, all modules, and fine-tuning, as a share of the baseline.
    pub incubation: Ratio,
    /// Meta, the heaviest module, and fine-tuning: what takes the time when every module is trained
    /// on a machine of its own.
    pub longest_chain: Ratio,
}

impl Ratio {
    fn map(self, other: Self, operation: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            macs: operation(self.macs, other.macs),
            macs_reference: operation(self.macs_reference, other.macs_reference),
            blocks: operation(self.blocks, other.blocks),
            blocks_reference: operation(self.blocks_reference, other.blocks_reference),
        }
    }

    fn sum(ratios: impl Iterator<Item = Self>) -> Self {
        ratios.fold(Self::default(), |sum, one| sum.map(one, |a, b| a + b))
    }

    fn largest(ratios: impl Iterator<Item = Self>) -> Self {
        ratios.fold(Self::default(), |most, one| most.map(one, f64::max))
    }

    fn times(self, factor: f64) -> Self {
        self.map(self, |value, _| value * factor)
    }
}

/// Costs of a phase for one picture, not yet shares of anything.
fn picture(compute: &EqualCompute<'_>, phase: Phase) -> Ratio {
    let depths = depths(phase, compute.division, compute.experiment);
    let trained = trained(phase);
    let macs = compute
        .experiment
        .architecture(phase)
        .training_macs(&depths, trained)
        .total();
    let reference = compute
        .experiment
        .architecture(phase)
        .reference_macs(&depths, trained);
    let all: usize = depths.iter().sum();
    let (first, own) = match trained {
        Trained::All => (0, all),
        Trained::Module(module) => (module, depths[module]),
    };
    let behind: usize = depths[first..].iter().sum();
    Ratio {
        macs: macs as f64,
        macs_reference: reference.total() as f64,
        blocks: (all + behind + own) as f64,
        blocks_reference: (all + 2 * behind) as f64,
    }
}

/// What a phase does not compute since features are kept; the reference implementation keeps none.
fn saved(compute: &EqualCompute<'_>, phase: Phase, cost: &PhaseCost) -> Ratio {
    let depths = depths(phase, compute.division, compute.experiment);
    let frozen: usize = depths[..phase.module().unwrap_or(0)].iter().sum();
    let all = cost.pictures();
    let passes = all - cost.kept.map_or(all, |kept| kept.min(all));
    Ratio {
        macs: passes as f64 * cost.frozen_macs as f64,
        blocks: passes as f64 * frozen as f64,
        ..Ratio::default()
    }
}

impl Ratios {
    /// Counts what the phases cost; `cost` says what of them is kept.
    pub(super) fn new(compute: &EqualCompute<'_>, cost: impl Fn(Phase) -> PhaseCost) -> Self {
        let end_to_end = picture(compute, Phase::Baseline);
        let baseline = (compute.phase(Phase::Baseline).pictures() as f64).max(1.0);
        let phases: Vec<Phase> = Unit::of_run(compute.division.len(), compute.experiment)
            .into_iter()
            .filter_map(|unit| match unit {
                Unit::Train(Phase::Baseline) | Unit::Assemble => None,
                Unit::Train(phase) => Some(phase),
            })
            .collect();
        let units: Vec<UnitRatio> = phases
            .iter()
            .map(|phase| {
                let share = picture(compute, *phase).map(end_to_end, |own, whole| own / whole);
                let cost = cost(*phase);
                let saved = saved(compute, *phase, &cost)
                    .map(end_to_end, |saved, whole| saved / whole / baseline);
                UnitRatio {
                    unit: phase.to_string(),
                    picture: share,
                    whole: share
                        .times(cost.pictures() as f64 / baseline)
                        .map(saved, |whole, saved| whole - saved),
                }
            })
            .collect();
        let part = |modules: bool| {
            let both = phases.iter().zip(&units);
            both.filter(move |(phase, _)| phase.module().is_some() == modules)
                .map(|(_, unit)| unit)
        };
        let modules = || part(true);
        let together = UnitRatio {
            unit: "all modules".to_owned(),
            picture: Ratio::sum(modules().map(|unit| unit.picture)),
            whole: Ratio::sum(modules().map(|unit| unit.whole)),
        };
        let heaviest = UnitRatio {
            unit: "heaviest module".to_owned(),
            picture: Ratio::largest(modules().map(|unit| unit.picture)),
            whole: Ratio::largest(modules().map(|unit| unit.whole)),
        };
        let ends = Ratio::sum(part(false).map(|unit| unit.whole));
        let with = |modules: Ratio| Ratio::sum([ends, modules].into_iter());
        Self {
            incubation: with(together.whole),
            longest_chain: with(heaviest.whole),
            units,
            modules: together,
            heaviest,
        }
    }
}
