//! The table of a run: what every unit reached and what it cost.

use serde::Serialize;

use super::TrainError;
use crate::event::{Replacement, RollBack};
use crate::phase::Phase;
use crate::plugin::ModuleDepth;
use crate::run::{Change, LeftOutCount, RunFolder, Unit, UnitResult};

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The unit.
    pub unit: String,
    /// What was scored, for a person.
    pub title: String,
    /// The share of validation pictures classified rightly.
    pub accuracy: f64,
    /// The share whose class is among the five that the network finds likeliest, where it was counted.
    pub top5: Option<f64>,
    /// Plain cross-entropy over them.
    pub loss: f64,
    /// Numbers of the network that was scored.
    pub parameters: u64,
    /// Numbers that were trained.
    pub trained_parameters: u64,
    /// Epochs.
    pub epochs: u32,
    /// MACs forward and backward.
    #[serde(with = "crate::macs")]
    pub macs: u128,
    /// Seconds.
    pub seconds: f64,
}

/// Compute and time of several units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spent {
    /// MACs forward and backward.
    #[serde(with = "crate::macs")]
    pub macs: u128,
    /// Seconds.
    pub seconds: f64,
}

/// The table of a run; units that are not finished are missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Classes that the networks tell apart.
    pub classes: usize,
    /// The finished units, in order.
    pub rows: Vec<Row>,
    /// Meta, modules, assembly, and fine-tuning together, when all are finished.
    pub incubation: Option<Spent>,
    /// The same with every module trained at the same time: the slowest module counts.
    pub longest_chain: Option<Spent>,
    /// The end-to-end baseline, when it is finished.
    pub baseline: Option<Spent>,
    /// Plugins that failed and were replaced, in the order of the units.
    pub fallbacks: Vec<Replacement>,
    /// Training that went back to a checkpoint, in the order of the units.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roll_backs: Vec<RollBack>,
    /// Pictures that cannot be decoded and are left out.
    #[serde(skip_serializing_if = "LeftOutCount::is_empty")]
    pub left_out: LeftOutCount,
    /// How the experiment changed since the run began, in order.
    pub changes: Vec<Change>,
}

impl Report {
    /// Collects the results in a run folder; the modules `kept` stay meta in the assembly.
    ///
    /// # Errors
    /// When a result cannot be read.
    pub(super) fn new(
        folder: &RunFolder,
        division: &[ModuleDepth],
        classes: usize,
        kept: &[usize],
        fallbacks: &[Replacement],
    ) -> Result<Self, TrainError> {
        let mut results = Vec::new();
        for unit in Unit::all(division.len()) {
            if let Some(result) = folder.result(unit)? {
                results.push((unit, result));
            }
        }
        let mut report = Self::from_results(&results, division, kept);
        report.classes = classes;
        report.fallbacks.splice(..0, fallbacks.iter().cloned());
        Ok(report)
    }

    /// The table of these results.
    fn from_results(
        results: &[(Unit, UnitResult)],
        division: &[ModuleDepth],
        kept: &[usize],
    ) -> Self {
        let spent = |units: &[Unit]| -> Option<Spent> {
            units.iter().try_fold(Spent::default(), |sum, unit| {
                let (_, result) = results.iter().find(|(found, _)| found == unit)?;
                // What an imported unit cost elsewhere is not known here.
                if result.imported.is_some() {
                    return None;
                }
                Some(Spent {
                    macs: sum.macs + result.forward_macs + result.backward_macs,
                    seconds: sum.seconds + result.seconds,
                })
            })
        };
        let modules: Vec<Unit> = (0..division.len())
            .filter(|index| !kept.contains(index))
            .map(|index| Unit::Train(Phase::Module(index)))
            .collect();
        let serial = [
            Unit::Train(Phase::Meta),
            Unit::Assemble,
            Unit::Train(Phase::FineTune),
        ];
        let alone = spent(&serial);
        let together = spent(&modules);
        let slowest = modules
            .iter()
            .map(|module| spent(&[*module]))
            .collect::<Option<Vec<_>>>()
            .map(|each| {
                each.into_iter()
                    .fold(Spent::default(), |slowest, one| Spent {
                        macs: slowest.macs.max(one.macs),
                        seconds: slowest.seconds.max(one.seconds),
                    })
            });
        let sum = |left: Option<Spent>, right: Option<Spent>| {
            let (left, right) = (left?, right?);
            Some(Spent {
                macs: left.macs + right.macs,
                seconds: left.seconds + right.seconds,
            })
        };
        Self {
            classes: 0,
            rows: results
                .iter()
                .map(|(unit, result)| row(*unit, result, division, kept))
                .collect(),
            incubation: sum(alone, together),
            longest_chain: sum(alone, slowest),
            baseline: spent(&[Unit::Train(Phase::Baseline)]),
            fallbacks: results
                .iter()
                .flat_map(|(_, result)| result.fallbacks.iter().cloned())
                .collect(),
            roll_backs: results
                .iter()
                .flat_map(|(_, result)| result.roll_backs.iter().cloned())
                .collect(),
            left_out: LeftOutCount::default(),
            changes: Vec::new(),
        }
    }

    /// A sentence about pictures that are left out, if some are.
    pub fn without_pictures(&self) -> Option<String> {
        let LeftOutCount { train, validation } = self.left_out;
        (!self.left_out.is_empty()).then(|| {
            format!(
                "{train} training and {validation} validation pictures cannot be decoded and are in none of these numbers."
            )
        })
    }

    /// The accuracy of a unit, if it is finished.
    pub fn accuracy(&self, unit: Unit) -> Option<f64> {
        let name = unit.to_string();
        self.rows
            .iter()
            .find(|row| row.unit == name)
            .map(|row| row.accuracy)
    }
}

/// The line of one unit.
fn row(unit: Unit, result: &UnitResult, division: &[ModuleDepth], kept: &[usize]) -> Row {
    let title = match unit {
        Unit::Train(Phase::Meta) => "meta model".to_owned(),
        Unit::Train(Phase::Module(index)) => {
            let depths: Vec<String> = division
                .iter()
                .enumerate()
                .map(|(other, depth)| {
                    if other == index {
                        format!("[{}]", depth.target)
                    } else {
                        depth.meta.to_string()
                    }
                })
                .collect();
            format!("hybrid {index}: {}", depths.join(" "))
        }
        Unit::Assemble if !kept.is_empty() => {
            let depths: Vec<String> = division
                .iter()
                .enumerate()
                .map(|(index, depth)| {
                    let stays = kept.contains(&index);
                    (if stays { depth.meta } else { depth.target }).to_string()
                })
                .collect();
            format!("assembled: {}", depths.join(" "))
        }
        Unit::Assemble => "assembled".to_owned(),
        Unit::Train(Phase::FineTune) => "fine-tuned".to_owned(),
        Unit::Train(Phase::Baseline) => "end-to-end".to_owned(),
    };
    let title = match &result.imported {
        Some(_) => format!("{title} (imported)"),
        None => title,
    };
    Row {
        unit: unit.to_string(),
        title,
        accuracy: result.accuracy,
        top5: result.top5,
        loss: result.loss,
        parameters: result.parameters,
        trained_parameters: result.trained_parameters,
        epochs: result.epochs,
        macs: result.forward_macs + result.backward_macs,
        seconds: result.seconds,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn result(unit: Unit, macs: u128, seconds: f64) -> (Unit, UnitResult) {
        let result = UnitResult {
            unit: unit.to_string(),
            device: "cpu".into(),
            loss: 0.5,
            accuracy: 0.9,
            top5: None,
            parameters: 10,
            trained_parameters: 5,
            epochs: 1,
            updates: 1,
            pictures: 1,
            forward_macs: macs,
            backward_macs: macs,
            seconds,
            weights_sha256: String::new(),
            built_from: BTreeMap::new(),
            fallbacks: Vec::new(),
            roll_backs: Vec::new(),
            left_out: LeftOutCount::default(),
            changed: false,
            imported: None,
        };
        (unit, result)
    }

    #[test]
    fn the_longest_chain_counts_the_slowest_module_alone() {
        let division = [ModuleDepth { target: 2, meta: 1 }; 2];
        let mut results = vec![
            result(Unit::Train(Phase::Meta), 10, 1.0),
            result(Unit::Train(Phase::Module(0)), 20, 7.0),
            result(Unit::Train(Phase::Module(1)), 30, 3.0),
            result(Unit::Assemble, 0, 0.5),
        ];
        assert_eq!(
            Report::from_results(&results, &division, &[]).incubation,
            None
        );
        results.push(result(Unit::Train(Phase::FineTune), 5, 2.0));
        let report = Report::from_results(&results, &division, &[]);
        let spent = |macs, seconds| Some(Spent { macs, seconds });
        assert_eq!(report.incubation, spent(130, 13.5));
        assert_eq!(report.longest_chain, spent(90, 10.5));
        assert_eq!(report.baseline, None);
    }
}
