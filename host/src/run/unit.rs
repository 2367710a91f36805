//! The units of work of a run and what each needs first.

use std::fmt;

use crate::experiment::{Experiment, Teacher};
use crate::model::Architecture;
use crate::phase::Phase;

/// A piece of work that is done once, alone, in any process on the run folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Training of one phase.
    Train(Phase),
    /// Putting the target modules together.
    Assemble,
}

impl Unit {
    /// Every unit that a run with this many modules can have, in an order in which each comes after
    /// those that it needs.
    pub fn all(modules: usize) -> Vec<Self> {
        let mut units = vec![Self::Train(Phase::Meta)];
        units.extend((0..modules).map(|index| Self::Train(Phase::Module(index))));
        units.extend([
            Self::Assemble,
            Self::Train(Phase::FineTune),
            Self::Train(Phase::Baseline),
        ]);
        units
    }

    /// The phase whose settings and depths hold for the unit: those of fine-tuning for the assembly.
    pub const fn phase(self) -> Phase {
        match self {
            Self::Train(phase) => phase,
            Self::Assemble => Phase::FineTune,
        }
    }

    /// The target network for the pictures of the network that the unit writes.
    pub fn architecture(self, experiment: &Experiment) -> Architecture {
        match self {
            Self::Train(phase) => experiment.architecture(phase),
            Self::Assemble => experiment.model.clone(),
        }
    }

    /// What this unit of a run with this many modules is made of: the units that must be finished
    /// before it can begin, the meta model of modules left out. A module that stays meta is part of
    /// no assembly, and what starts from a file needs no unit but the meta model, where that teaches.
    pub fn dependencies(self, modules: usize, experiment: &Experiment) -> Vec<Self> {
        let kept = &experiment.assembly.meta;
        let meta = Self::Train(Phase::Meta);
        let mut needed = match self {
            Self::Train(phase) if experiment.phase(phase).start.file().is_some() => Vec::new(),
            Self::Train(Phase::Meta | Phase::Baseline) => Vec::new(),
            Self::Train(Phase::Module(_)) => vec![meta],
            Self::Assemble => {
                let incubated = (0..modules)
                    .filter(|index| !kept.contains(index))
                    .map(|index| Self::Train(Phase::Module(index)));
                let stays = (!kept.is_empty()).then_some(meta);
                stays.into_iter().chain(incubated).collect()
            }
            Self::Train(Phase::FineTune) => vec![Self::Assemble],
        };
        let taught = matches!(self, Self::Train(phase)
            if experiment.phase(phase).teacher == Some(Teacher::Meta));
        if taught && !needed.contains(&meta) {
            needed.push(meta);
        }
        needed
    }

    /// The units of a run that nobody asked for by name: those that the fine-tuned network comes from, and
    /// the baseline to compare it with.
    pub fn of_run(modules: usize, experiment: &Experiment) -> Vec<Self> {
        let mut wanted = vec![Self::Train(Phase::FineTune), Self::Train(Phase::Baseline)];
        let mut looked_at = 0;
        while let Some(unit) = wanted.get(looked_at).copied() {
            looked_at += 1;
            for needed in unit.dependencies(modules, experiment) {
                if !wanted.contains(&needed) {
                    wanted.push(needed);
                }
            }
        }
        let mut units = Self::all(modules);
        units.retain(|unit| wanted.contains(unit));
        units
    }

    /// The unit with this name, in a run with this many modules.
    pub fn parse(name: &str, modules: usize) -> Option<Self> {
        Self::all(modules)
            .into_iter()
            .find(|unit| unit.to_string() == name)
    }
}

impl fmt::Display for Unit {
    /// `meta`, `module.0`, `assemble`, `fine-tune`, `baseline`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Train(phase) => phase.fmt(formatter),
            Self::Assemble => formatter.write_str("assemble"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::{Start, load};

    fn experiment(assignments: &[&str]) -> Experiment {
        let assignments: Vec<String> = assignments.iter().map(|&one| one.to_owned()).collect();
        load(Some("digits"), &assignments).unwrap().experiment
    }

    fn names(units: &[Unit]) -> String {
        let names: Vec<String> = units.iter().map(ToString::to_string).collect();
        names.join(" ")
    }

    #[test]
    fn the_order_respects_the_dependencies() {
        for kept in ["[]", "[3, 1]"] {
            let experiment = experiment(&[&format!("assembly.meta={kept}")]);
            let units = Unit::all(12);
            for (position, unit) in units.iter().enumerate() {
                for needed in unit.dependencies(12, &experiment) {
                    let before = units.iter().position(|other| *other == needed);
                    assert!(
                        before.is_some_and(|before| before < position),
                        "{unit} before {needed}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_run_has_the_units_that_its_results_come_from() {
        let all = experiment(&[]);
        assert_eq!(Unit::of_run(4, &all), Unit::all(4));
        let kept = experiment(&["assembly.meta=[1, 3]"]);
        assert_eq!(
            names(&Unit::of_run(4, &kept)),
            "meta module.0 module.2 assemble fine-tune baseline"
        );
        assert_eq!(
            names(&Unit::Assemble.dependencies(4, &kept)),
            "meta module.0 module.2"
        );
        let mut from_file = all;
        from_file.fine_tune.start = Start::File("teacher.safetensors".into());
        assert_eq!(names(&Unit::of_run(4, &from_file)), "fine-tune baseline");
        let mut taught = from_file.clone();
        taught.fine_tune.teacher = Some(Teacher::Meta);
        assert_eq!(names(&Unit::of_run(4, &taught)), "meta fine-tune baseline");
        let module = Unit::Train(Phase::Module(2));
        assert_eq!(names(&module.dependencies(4, &from_file)), "meta");
    }

    #[test]
    fn names_lead_back_to_units() {
        for unit in Unit::all(11) {
            assert_eq!(Unit::parse(&unit.to_string(), 11), Some(unit));
        }
        assert_eq!(Unit::parse("module.11", 11), None);
    }
}
