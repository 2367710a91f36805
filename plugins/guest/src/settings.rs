//! The values of the parameters, looked up by name and kind.
//!
//! The host checks settings against the description before it configures a plugin; a missing
//! name or another kind is therefore a defect of the host or of the description.

use crate::{Fault, Setting, SettingValue};

/// The settings that `configure` was given.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a>(&'a [Setting]);

impl<'a> Settings<'a> {
    /// Wraps the settings of the host.
    pub const fn new(settings: &'a [Setting]) -> Self {
        Self(settings)
    }

    /// A truth value.
    pub fn boolean(self, name: &str) -> Result<bool, Fault> {
        match self.required(name)? {
            SettingValue::Boolean(value) => Ok(*value),
            other => Err(wrong_kind(name, "boolean", other)),
        }
    }

    /// A whole number.
    pub fn integer(self, name: &str) -> Result<i64, Fault> {
        match self.required(name)? {
            SettingValue::Integer(value) => Ok(*value),
            other => Err(wrong_kind(name, "integer", other)),
        }
    }

    /// A whole number from 1 to the largest `u32`.
    pub fn count(self, name: &str) -> Result<u32, Fault> {
        to_count(name, self.integer(name)?)
    }

    /// A finite number.
    pub fn number(self, name: &str) -> Result<f64, Fault> {
        match self.required(name)? {
            SettingValue::Number(value) if value.is_finite() => Ok(*value),
            SettingValue::Number(value) => Err(Fault::invalid(format!(
                "`{name}` is {value}, not a finite number"
            ))),
            other => Err(wrong_kind(name, "number", other)),
        }
    }

    /// A finite number, if it was given.
    pub fn optional_number(self, name: &str) -> Result<Option<f64>, Fault> {
        self.find(name).map(|_| self.number(name)).transpose()
    }

    /// A text.
    pub fn text(self, name: &str) -> Result<&'a str, Fault> {
        match self.required(name)? {
            SettingValue::Text(value) => Ok(value),
            other => Err(wrong_kind(name, "text", other)),
        }
    }

    /// A list of whole numbers from 1 to the largest `u32`.
    pub fn counts(self, name: &str) -> Result<Vec<u32>, Fault> {
        match self.required(name)? {
            SettingValue::Integers(values) => {
                values.iter().map(|&value| to_count(name, value)).collect()
            }
            other => Err(wrong_kind(name, "list of integers", other)),
        }
    }

    /// A list of whole numbers from 1 to the largest `u32`, if it was given.
    pub fn optional_counts(self, name: &str) -> Result<Option<Vec<u32>>, Fault> {
        self.find(name).map(|_| self.counts(name)).transpose()
    }

    fn find(self, name: &str) -> Option<&'a SettingValue> {
        let found = self.0.iter().find(|setting| setting.name == name)?;
        Some(&found.value)
    }

    fn required(self, name: &str) -> Result<&'a SettingValue, Fault> {
        self.find(name)
            .ok_or_else(|| Fault::invalid(format!("`{name}` was not given")))
    }
}

fn to_count(name: &str, value: i64) -> Result<u32, Fault> {
    u32::try_from(value)
        .ok()
        .filter(|&count| count > 0)
        .ok_or_else(|| Fault::invalid(format!("`{name}` holds {value}, not a whole number from 1")))
}

fn wrong_kind(name: &str, expected: &str, found: &SettingValue) -> Fault {
    Fault::invalid(format!(
        "`{name}` is {found:?}, not a value of kind {expected}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str, value: SettingValue) -> Setting {
        Setting {
            name: name.to_owned(),
            value,
        }
    }

    #[test]
    fn a_value_is_found_by_name_and_kind() {
        let settings = [
            setting("rate", SettingValue::Number(0.5)),
            setting("depths", SettingValue::Integers(vec![3, 1])),
        ];
        let settings = Settings::new(&settings);
        assert_eq!(settings.number("rate").unwrap(), 0.5);
        assert_eq!(settings.counts("depths").unwrap(), [3, 1]);
        assert!(settings.optional_counts("meta_depths").unwrap().is_none());
    }

    #[test]
    fn a_missing_name_another_kind_and_a_bad_value_are_named() {
        let settings = [
            setting("rate", SettingValue::Number(f64::NAN)),
            setting("depths", SettingValue::Integers(vec![3, 0])),
        ];
        let settings = Settings::new(&settings);
        let messages = [
            settings.number("rate").unwrap_err().message,
            settings.text("rate").unwrap_err().message,
            settings.counts("depths").unwrap_err().message,
            settings.boolean("quick").unwrap_err().message,
        ];
        assert_eq!(
            messages,
            [
                "`rate` is NaN, not a finite number",
                "`rate` is SettingValue::Number(NaN), not a value of kind text",
                "`depths` holds 0, not a whole number from 1",
                "`quick` was not given",
            ]
        );
    }
}
