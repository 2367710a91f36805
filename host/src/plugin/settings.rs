//! Values of parameters: from the experiment, checked against the plugin's description.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::contract::v0_1::incubate::plugin::types;
use super::description::{Parameter, SettingKind};
use super::error::PluginErrorKind;

/// The value of one parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "toml::Value", into = "toml::Value")]
pub enum SettingValue {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// Whole numbers; also a list without elements, which fits every type of list.
    Integers(Vec<i64>),
    /// Numbers.
    Numbers(Vec<f64>),
    /// Texts.
    Texts(Vec<String>),
}

/// A value of an experiment that no parameter can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found} is no value of a parameter (give a boolean, a number, a text, or a list of numbers or of texts)"
)]
pub struct UnsupportedValue {
    /// What was found.
    found: String,
}

/// A value for every parameter that has one: checked, and with the defaults filled in.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Settings(BTreeMap<String, SettingValue>);

impl SettingValue {
    /// The type of this value.
    pub const fn kind(&self) -> SettingKind {
        match self {
            Self::Boolean(_) => SettingKind::Boolean,
            Self::Integer(_) => SettingKind::Integer,
            Self::Number(_) => SettingKind::Number,
            Self::Text(_) => SettingKind::Text,
            Self::Integers(_) => SettingKind::Integers,
            Self::Numbers(_) => SettingKind::Numbers,
            Self::Texts(_) => SettingKind::Texts,
        }
    }

    /// The texts of this value.
    pub(super) fn texts(&self) -> &[String] {
        match self {
            Self::Text(text) => std::slice::from_ref(text),
            Self::Texts(texts) => texts,
            _ => &[],
        }
    }

    /// The elements of a list; 1 for everything else.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Integers(values) => values.len(),
            Self::Numbers(values) => values.len(),
            Self::Texts(values) => values.len(),
            _ => 1,
        }
    }

    /// This value as one of type `kind`, if nothing is lost: whole numbers are numbers, finite numbers
    /// are texts (a duration may be written `20` or `"5%"`), and a list without elements is a list of
    /// anything.
    fn converted(&self, kind: SettingKind) -> Option<Self> {
        /// The largest magnitude up to which every whole number is a float.
        const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
        let number = |value: i64| (value.unsigned_abs() <= EXACT).then_some(value as f64);
        match (self, kind) {
            (same, kind) if same.kind() == kind => Some(same.clone()),
            (&Self::Integer(value), SettingKind::Number) => number(value).map(Self::Number),
            (Self::Integers(values), SettingKind::Numbers) => values
                .iter()
                .map(|&value| number(value))
                .collect::<Option<_>>()
                .map(Self::Numbers),
            (&Self::Integer(value), SettingKind::Text) => Some(Self::Text(value.to_string())),
            (&Self::Number(value), SettingKind::Text) if value.is_finite() => {
                Some(Self::Text(format!("{value:?}")))
            }
            (Self::Integers(values), SettingKind::Texts) => {
                Some(Self::Texts(values.iter().map(i64::to_string).collect()))
            }
            (Self::Numbers(values), SettingKind::Texts)
                if values.iter().all(|value| value.is_finite()) =>
            {
                let texts = values.iter().map(|value| format!("{value:?}"));
                Some(Self::Texts(texts.collect()))
            }
            _ => None,
        }
    }
}

impl Settings {
    /// Checks the values of an experiment against the parameters of a plugin.
    pub(super) fn check(
        parameters: &[Parameter],
        given: &BTreeMap<String, SettingValue>,
    ) -> Result<Self, PluginErrorKind> {
        let known = || parameters.iter().map(|parameter| parameter.name.as_str());
        if let Some(key) = given.keys().find(|key| !known().any(|name| name == *key)) {
            return Err(PluginErrorKind::UnknownSetting {
                key: key.clone(),
                nearest: crate::spelling::nearest(key, known()),
                known: known().map(str::to_owned).collect(),
            });
        }
        let mut values = BTreeMap::new();
        for parameter in parameters {
            let value = match (given.get(&parameter.name), &parameter.default) {
                (Some(given), _) => parameter.accept(given)?,
                (None, Some(default)) => default.clone(),
                (None, None) if parameter.optional => continue,
                (None, None) => {
                    return Err(PluginErrorKind::MissingSetting {
                        key: parameter.name.clone(),
                        summary: parameter.summary.clone(),
                    });
                }
            };
            values.insert(parameter.name.clone(), value);
        }
        Ok(Self(values))
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&SettingValue> {
        self.0.get(name)
    }

    /// All values by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SettingValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The values as JSON, by name; equal values give equal text.
    pub fn to_json(&self) -> String {
        // Plain values always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn to_contract(&self) -> Vec<types::Setting> {
        self.0
            .iter()
            .map(|(name, value)| types::Setting {
                name: name.clone(),
                value: value.clone().into(),
            })
            .collect()
    }
}

impl Parameter {
    /// The value as this parameter takes it.
    fn accept(&self, given: &SettingValue) -> Result<SettingValue, PluginErrorKind> {
        let value = given
            .converted(self.kind)
            .ok_or_else(|| PluginErrorKind::SettingKind {
                key: self.name.clone(),
                found: given.to_string(),
                wanted: self.kind,
            })?;
        if self.allows(&value) {
            Ok(value)
        } else {
            Err(PluginErrorKind::SettingRange {
                key: self.name.clone(),
                found: value.to_string(),
                allowed: self.allowed(),
            })
        }
    }
}

impl fmt::Display for SettingValue {
    /// As it is written in an experiment file.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(formatter, "{value}"),
            Self::Integer(value) => write!(formatter, "{value}"),
            Self::Number(value) => write!(formatter, "{value:?}"),
            Self::Text(value) => write!(formatter, "{value:?}"),
            Self::Integers(values) => write!(formatter, "{values:?}"),
            Self::Numbers(values) => write!(formatter, "{values:?}"),
            Self::Texts(values) => write!(formatter, "{values:?}"),
        }
    }
}

impl TryFrom<toml::Value> for SettingValue {
    type Error = UnsupportedValue;

    fn try_from(value: toml::Value) -> Result<Self, UnsupportedValue> {
        let unsupported = |found: &str| UnsupportedValue {
            found: found.to_owned(),
        };
        match value {
            toml::Value::Boolean(value) => Ok(Self::Boolean(value)),
            toml::Value::Integer(value) => Ok(Self::Integer(value)),
            toml::Value::Float(value) => Ok(Self::Number(value)),
            toml::Value::String(value) => Ok(Self::Text(value)),
            toml::Value::Datetime(_) => Err(unsupported("a date")),
            toml::Value::Table(_) => Err(unsupported("a table")),
            toml::Value::Array(values) => list(&values).ok_or_else(|| unsupported("a mixed list")),
        }
    }
}

/// A list of whole numbers, of numbers, or of texts.
fn list(values: &[toml::Value]) -> Option<SettingValue> {
    fn all<T>(values: &[toml::Value], one: impl Fn(&toml::Value) -> Option<T>) -> Option<Vec<T>> {
        values.iter().map(one).collect()
    }
    let number = |value: &toml::Value| {
        value
            .as_float()
            .or_else(|| value.as_integer().map(|value| value as f64))
    };
    all(values, toml::Value::as_integer)
        .map(SettingValue::Integers)
        .or_else(|| all(values, number).map(SettingValue::Numbers))
        .or_else(|| all(values, |value| value.as_str().map(str::to_owned)).map(SettingValue::Texts))
}

impl From<SettingValue> for toml::Value {
    fn from(value: SettingValue) -> Self {
        match value {
            SettingValue::Boolean(value) => Self::Boolean(value),
            SettingValue::Integer(value) => Self::Integer(value),
            SettingValue::Number(value) => Self::Float(value),
            SettingValue::Text(value) => Self::String(value),
            SettingValue::Integers(values) => Self::from(values),
            SettingValue::Numbers(values) => Self::from(values),
            SettingValue::Texts(values) => Self::from(values),
        }
    }
}

impl From<types::SettingValue> for SettingValue {
    fn from(value: types::SettingValue) -> Self {
        match value {
            types::SettingValue::Boolean(value) => Self::Boolean(value),
            types::SettingValue::Integer(value) => Self::Integer(value),
            types::SettingValue::Number(value) => Self::Number(value),
            types::SettingValue::Text(value) => Self::Text(value),
            types::SettingValue::Integers(values) => Self::Integers(values),
            types::SettingValue::Numbers(values) => Self::Numbers(values),
            types::SettingValue::Texts(values) => Self::Texts(values),
        }
    }
}

impl From<SettingValue> for types::SettingValue {
    fn from(value: SettingValue) -> Self {
        match value {
            SettingValue::Boolean(value) => Self::Boolean(value),
            SettingValue::Integer(value) => Self::Integer(value),
            SettingValue::Number(value) => Self::Number(value),
            SettingValue::Text(value) => Self::Text(value),
            SettingValue::Integers(values) => Self::Integers(values),
            SettingValue::Numbers(values) => Self::Numbers(values),
            SettingValue::Texts(values) => Self::Texts(values),
        }
    }
}
