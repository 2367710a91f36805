//! What a plugin says about itself, checked before anything relies on it.

use std::collections::HashSet;
use std::fmt;

use semver::Version;
use serde::Serialize;

use super::contract::v0_1::exports::incubate::plugin::description as contract;
use super::contract::v0_1::incubate::plugin::types;
use super::settings::SettingValue;
use super::text::{self, is_plain, plain};

/// More parameters, choices of one, or elements of a default than anybody would write down.
const LIST_MAX: usize = 256;

/// What a plugin says about itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// Lower case, words joined by `-`.
    pub name: String,
    /// The version of the plugin, not of the contract.
    pub version: Version,
    /// One sentence.
    pub summary: String,
    /// What can be set.
    pub parameters: Vec<Parameter>,
}

/// One parameter that a person may set in the experiment file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameter {
    /// Lower case, words joined by `_`.
    pub name: String,
    /// One sentence, with the unit.
    pub summary: String,
    /// The type.
    pub kind: SettingKind,
    /// Taken when the experiment is silent.
    pub default: Option<SettingValue>,
    /// Whether the plugin works without a value.
    pub optional: bool,
    /// Inclusive lower bound of a number or of every element of a list of numbers.
    pub minimum: Option<f64>,
    /// Inclusive upper bound of a number or of every element of a list of numbers.
    pub maximum: Option<f64>,
    /// The allowed texts; empty when any text is allowed.
    pub choices: Vec<String>,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingKind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A text.
    Text,
    /// A list of whole numbers.
    Integers,
    /// A list of numbers.
    Numbers,
    /// A list of texts.
    Texts,
}

impl fmt::Display for SettingKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Boolean => "`true` or `false`",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Integers => "a list of whole numbers",
            Self::Numbers => "a list of numbers",
            Self::Texts => "a list of texts",
        })
    }
}

impl Description {
    /// Takes over what `describe` answered.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it.
    pub(super) fn from_contract(info: contract::PluginInfo) -> Result<Self, String> {
        if !joined(&info.name, '-') || !is_plain(&info.name, text::NAME) {
            return Err(format!(
                "the name `{}` is not made of lower-case words joined by `-`, at most {} characters",
                plain(&info.name, text::NAME),
                text::NAME
            ));
        }
        let version = Some(&info.version)
            .filter(|version| is_plain(version, text::NAME))
            .and_then(|version| Version::parse(version).ok())
            .ok_or_else(|| {
                format!(
                    "the version `{}` is no semantic version of at most {} characters, like 1.0.0",
                    plain(&info.version, text::NAME),
                    text::NAME
                )
            })?;
        short("parameters", info.parameters.len())?;
        let mut names = HashSet::new();
        let parameters = info
            .parameters
            .into_iter()
            .map(|parameter| {
                let parameter = Parameter::from_contract(parameter)?;
                if !names.insert(parameter.name.clone()) {
                    return Err(format!("the parameter `{}` occurs twice", parameter.name));
                }
                Ok(parameter)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: info.name,
            version,
            summary: plain(&info.summary, text::SENTENCE),
            parameters,
        })
    }
}

/// Refuses a list that is longer than anybody would write.
fn short(what: &str, length: usize) -> Result<(), String> {
    if length > LIST_MAX {
        return Err(format!(
            "it has {length} {what}, and at most {LIST_MAX} are allowed"
        ));
    }
    Ok(())
}

impl Parameter {
    fn from_contract(parameter: types::Parameter) -> Result<Self, String> {
        let types::Parameter {
            name,
            summary,
            kind,
            default,
            optional,
            minimum,
            maximum,
            choices,
        } = parameter;
        if !joined(&name, '_') || !is_plain(&name, text::NAME) {
            return Err(format!(
                "the parameter `{}` is not made of lower-case words joined by `_`, at most {} characters",
                plain(&name, text::NAME),
                text::NAME
            ));
        }
        short(&format!("choices of `{name}`"), choices.len())?;
        let default: Option<SettingValue> = default.map(Into::into);
        if let Some(default) = &default {
            short(
                &format!("elements in the default of `{name}`"),
                default.len(),
            )?;
        }
        // These are values, which cannot be shown in another way than they are compared.
        let mut texts = choices
            .iter()
            .chain(default.iter().flat_map(SettingValue::texts));
        if let Some(text) = texts.find(|text| !is_plain(text, text::SENTENCE)) {
            return Err(format!(
                "a value of `{name}` is not one line of at most {} characters: {}",
                text::SENTENCE,
                plain(text, text::NAME)
            ));
        }
        let parameter = Self {
            name,
            summary: plain(&summary, text::SENTENCE),
            kind: kind.into(),
            default,
            optional,
            minimum,
            maximum,
            choices,
        };
        let bounds = [minimum, maximum];
        let empty = minimum
            .zip(maximum)
            .is_some_and(|(minimum, maximum)| minimum > maximum);
        if empty || bounds.iter().flatten().any(|bound| bound.is_nan()) {
            return Err(format!(
                "the bounds of `{}` exclude everything",
                parameter.name
            ));
        }
        if let Some(default) = &parameter.default {
            let fits = default.kind() == parameter.kind && parameter.allows(default);
            if !fits {
                return Err(format!(
                    "the default of `{}` is {default} ({} is needed; allowed: {})",
                    parameter.name,
                    parameter.kind,
                    parameter.allowed()
                ));
            }
        }
        Ok(parameter)
    }

    /// Whether a value of the right type is within bounds and choices.
    pub(super) fn allows(&self, value: &SettingValue) -> bool {
        let within = |number: f64| {
            self.minimum.is_none_or(|minimum| number >= minimum)
                && self.maximum.is_none_or(|maximum| number <= maximum)
        };
        let chosen = |text: &String| self.choices.is_empty() || self.choices.contains(text);
        match value {
            SettingValue::Boolean(_) => true,
            SettingValue::Integer(value) => within(*value as f64),
            // A bound is never met by NaN; without bounds it is refused here.
            SettingValue::Number(value) => !value.is_nan() && within(*value),
            SettingValue::Text(value) => chosen(value),
            SettingValue::Integers(values) => values.iter().all(|&value| within(value as f64)),
            SettingValue::Numbers(values) => {
                values.iter().all(|&value| !value.is_nan() && within(value))
            }
            SettingValue::Texts(values) => values.iter().all(chosen),
        }
    }

    /// What is allowed, in words.
    pub fn allowed(&self) -> String {
        let numbers = match (self.minimum, self.maximum) {
            (Some(minimum), Some(maximum)) => format!("{minimum} to {maximum}"),
            (Some(minimum), None) => format!("at least {minimum}"),
            (None, Some(maximum)) => format!("at most {maximum}"),
            (None, None) => "any number".to_owned(),
        };
        match self.kind {
            SettingKind::Boolean => "true, false".to_owned(),
            SettingKind::Integer
            | SettingKind::Number
            | SettingKind::Integers
            | SettingKind::Numbers => numbers,
            SettingKind::Text | SettingKind::Texts if self.choices.is_empty() => {
                "any text".to_owned()
            }
            SettingKind::Text | SettingKind::Texts => self.choices.join(", "),
        }
    }
}

impl From<types::SettingKind> for SettingKind {
    fn from(kind: types::SettingKind) -> Self {
        match kind {
            types::SettingKind::Boolean => Self::Boolean,
            types::SettingKind::Integer => Self::Integer,
            types::SettingKind::Number => Self::Number,
            types::SettingKind::Text => Self::Text,
            types::SettingKind::Integers => Self::Integers,
            types::SettingKind::Numbers => Self::Numbers,
            types::SettingKind::Texts => Self::Texts,
        }
    }
}

/// Whether `name` is made of lower-case words joined by `separator`.
fn joined(name: &str, separator: char) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.split(separator).all(|word| {
            !word.is_empty()
                && word
                    .chars()
                    .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
        })
}
