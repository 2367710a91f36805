//! Weights that loss hooks may see: what an experiment grants must name weights that are trained.

use std::collections::BTreeMap;

use super::cost::{depths, trained};
use super::{LossPart, Prepared, TrainError};
use crate::model::Trained;
use crate::phase::Phase;
use crate::plugin::{ModuleDepth, WeightNames};

/// Refuses the first name in a grant `weights` that stands for no weight which a phase with this grant
/// trains. Phases often share a grant, and not every phase trains every weight.
///
/// # Errors
/// The name, with the role of the plugin and the names that are most like it.
pub(super) fn check_grants(
    prepared: &Prepared,
    division: &[ModuleDepth],
) -> Result<(), TrainError> {
    /// The phases that share a grant, and the names of what they train.
    struct Shared<'a> {
        names: &'a WeightNames,
        part: &'a LossPart,
        phases: Vec<Phase>,
        trained: Vec<String>,
    }
    let phases = [Phase::Meta, Phase::FineTune, Phase::Baseline]
        .into_iter()
        .chain((0..division.len()).map(Phase::Module));
    let mut grants: BTreeMap<Vec<&str>, Shared<'_>> = BTreeMap::new();
    for phase in phases {
        for part in &prepared.phase(phase).loss {
            let Some(names) = part.configured.plugin.grants().weights() else {
                continue;
            };
            let shared = grants
                .entry(names.patterns().collect())
                .or_insert_with(|| Shared {
                    names,
                    part,
                    phases: Vec::new(),
                    trained: Vec::new(),
                });
            shared.phases.push(phase);
            shared
                .trained
                .extend(trained_names(prepared, phase, division));
        }
    }
    for shared in grants.values() {
        let known = shared.trained.iter().map(String::as_str);
        if let Some((pattern, nearest)) = shared.names.unmatched(known) {
            let phase = shared.phases[0];
            return Err(TrainError::PluginRefused {
                role: format!("{}.{}", phase.kind(), shared.part.name),
                source: shared
                    .part
                    .configured
                    .plugin
                    .grants_unknown_weight(pattern, nearest),
            });
        }
    }
    Ok(())
}

/// The names of the weights that a phase trains, in the order of the network.
fn trained_names(prepared: &Prepared, phase: Phase, division: &[ModuleDepth]) -> Vec<String> {
    let architecture = &prepared.experiment().model;
    let depths = depths(phase, division, prepared.experiment());
    let stages = architecture.parameter_names(&depths);
    let names = stages
        .into_iter()
        .enumerate()
        .filter(|(stage, _)| match trained(phase) {
            Trained::All => true,
            Trained::Module(index) => index == *stage,
        });
    names
        .flat_map(|(stage, names)| {
            names
                .into_iter()
                .map(move |name| format!("stages.{stage}.{name}"))
        })
        .collect()
}
