//! The description of a parameter, built step by step.

use crate::{Parameter, SettingKind, SettingValue};

/// Constructors, one for each kind of value. The name is made of lower-case words joined by `_`;
/// the summary is one sentence that says what the parameter does, with its unit.
///
/// Without a default a parameter is required, unless it is [optional](Self::optional).
impl Parameter {
    /// `true` or `false`.
    pub fn boolean(name: &str, summary: &str) -> Self {
        Self::new(name, SettingKind::Boolean, summary)
    }

    /// A whole number.
    pub fn integer(name: &str, summary: &str) -> Self {
        Self::new(name, SettingKind::Integer, summary)
    }

    /// A number; a whole one in the experiment file is taken, too.
    pub fn number(name: &str, summary: &str) -> Self {
        Self::new(name, SettingKind::Number, summary)
    }

    /// A text.
    pub fn text(name: &str, summary: &str) -> Self {
        Self::new(name, SettingKind::Text, summary)
    }

    /// A list of whole numbers.
    pub fn integers(name: &str, summary: &str) -> Self {
        Self::new(name, SettingKind::Integers, summary)
    }

    /// A list of numbers.
    pub fn numbers(name: &str, summary: &str) -> Self {
        Self::new(name, SettingKind::Numbers, summary)
    }

    /// A list of texts.
    pub fn texts(name: &str, summary: &str) -> Self {
        Self::new(name, SettingKind::Texts, summary)
    }

    /// Taken when the experiment is silent; of the kind of this parameter.
    #[must_use]
    pub fn default(self, value: impl Into<SettingValue>) -> Self {
        Self {
            default: Some(value.into()),
            ..self
        }
    }

    /// The plugin may be configured without it: read it as an `Option`.
    #[must_use]
    pub fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }

    /// Inclusive lower bound, of every element of a list.
    #[must_use]
    pub fn at_least(self, minimum: f64) -> Self {
        Self {
            minimum: Some(minimum),
            ..self
        }
    }

    /// Inclusive upper bound, of every element of a list.
    #[must_use]
    pub fn at_most(self, maximum: f64) -> Self {
        Self {
            maximum: Some(maximum),
            ..self
        }
    }

    /// The allowed texts.
    #[must_use]
    pub fn one_of(self, choices: &[&str]) -> Self {
        Self {
            choices: choices.iter().map(|&choice| choice.to_owned()).collect(),
            ..self
        }
    }

    fn new(name: &str, kind: SettingKind, summary: &str) -> Self {
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
}
