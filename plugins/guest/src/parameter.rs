//! The description of a parameter, built step by step.

use crate::{Parameter, SettingKind, SettingValue};

impl Parameter {
    /// A parameter without default: required until one of the other functions says otherwise.
    pub fn new(name: &str, kind: SettingKind, summary: &str) -> Self {
        Self {
            name: name.to_owned(),
            summary: summary.to_owned(),
            kind,
            default: None,
            optional: false,
            minimum: None,
            maximum: None,
            choices: Vec::new(),
        }
    }

    /// Taken when the experiment is silent.
    pub fn with_default(self, value: SettingValue) -> Self {
        Self {
            default: Some(value),
            ..self
        }
    }

    /// The plugin may be configured without it.
    pub fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }

    /// Inclusive lower bound.
    pub fn at_least(self, minimum: f64) -> Self {
        Self {
            minimum: Some(minimum),
            ..self
        }
    }

    /// Inclusive upper bound.
    pub fn at_most(self, maximum: f64) -> Self {
        Self {
            maximum: Some(maximum),
            ..self
        }
    }

    /// The allowed texts.
    pub fn one_of(self, choices: &[&str]) -> Self {
        Self {
            choices: choices.iter().map(|&choice| choice.to_owned()).collect(),
            ..self
        }
    }
}
