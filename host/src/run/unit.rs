//! The units of work of a run and what each needs first.

use std::fmt;

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
    /// Every unit of a run with this many modules, in an order that respects
    /// [`Unit::dependencies`].
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

    /// What must be finished before this unit can begin.
    pub fn dependencies(self, modules: usize) -> Vec<Self> {
        match self {
            Self::Train(Phase::Meta | Phase::Baseline) => Vec::new(),
            Self::Train(Phase::Module(_)) => vec![Self::Train(Phase::Meta)],
            Self::Assemble => (0..modules)
                .map(|index| Self::Train(Phase::Module(index)))
                .collect(),
            Self::Train(Phase::FineTune) => vec![Self::Assemble],
        }
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

    #[test]
    fn the_order_respects_the_dependencies() {
        let units = Unit::all(12);
        for (position, unit) in units.iter().enumerate() {
            for needed in unit.dependencies(12) {
                let before = units.iter().position(|other| *other == needed);
                assert!(
                    before.is_some_and(|before| before < position),
                    "{unit} before {needed}"
                );
            }
        }
    }

    #[test]
    fn names_lead_back_to_units() {
        for unit in Unit::all(11) {
            assert_eq!(Unit::parse(&unit.to_string(), 11), Some(unit));
        }
        assert_eq!(Unit::parse("module.11", 11), None);
    }
}
