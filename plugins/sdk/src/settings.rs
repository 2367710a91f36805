//! The values of the parameters, looked up by name and converted to the type that is asked for.
//!
//! The host checks settings against the description before it configures a plugin; a missing name or
//! another kind is therefore a defect of the host or of the description.

use crate::{Fault, Setting, SettingValue};

/// The settings that `configure` is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings(Vec<Setting>);

impl Settings {
    /// Wraps the settings of the host. In tests [`testing::settings`](crate::testing::settings)
    /// checks them against a description, and fills in the defaults.
    pub const fn new(settings: Vec<Setting>) -> Self {
        Self(settings)
    }

    /// The value of a parameter, as the type of what it is assigned to.
    ///
    /// ```
    /// use incubate_plugin::{Fault, Settings};
    ///
    /// struct Focal {
    ///     gamma: f32,
    ///     ignored: Option<u32>,
    /// }
    ///
    /// fn configure(settings: &Settings) -> Result<Focal, Fault> {
    ///     Ok(Focal {
    ///         gamma: settings.get("gamma")?,
    ///         ignored: settings.get("ignored")?,
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// The parameter was not given and `T` is no `Option`, it is of another kind, or its value does
    /// not fit into `T`: a number must be finite.
    pub fn get<'a, T: FromSetting<'a>>(&'a self, name: &str) -> Result<T, Fault> {
        let found = self.0.iter().find(|setting| setting.name == name);
        T::from_setting(name, found.map(|setting| &setting.value))
    }
}

/// A type that a setting can be read as: `bool`, `i64`, `u32`, `u64`, `f32`, `f64`, `String`, `&str`,
/// a `Vec` of these (of truth values excepted), or an `Option`, which is `None` for an optional
/// parameter that was not given.
pub trait FromSetting<'a>: Sized {
    /// The setting as this type; `value` is `None` when it was not given.
    ///
    /// # Errors
    ///
    /// As [`Settings::get`].
    fn from_setting(name: &str, value: Option<&'a SettingValue>) -> Result<Self, Fault>;
}

impl<'a, T: FromSetting<'a>> FromSetting<'a> for Option<T> {
    fn from_setting(name: &str, value: Option<&'a SettingValue>) -> Result<Self, Fault> {
        value
            .map(|value| T::from_setting(name, Some(value)))
            .transpose()
    }
}

fn given<'a>(name: &str, value: Option<&'a SettingValue>) -> Result<&'a SettingValue, Fault> {
    value.ok_or_else(|| Fault::invalid(format!("`{name}` was not given")))
}

fn wrong_kind(name: &str, expected: &str) -> Fault {
    Fault::invalid(format!("`{name}` is not a value of kind {expected}"))
        .with_hint("this is a defect of the plugin: its description says another kind")
}

fn whole<T: TryFrom<i64>>(name: &str, value: i64) -> Result<T, Fault> {
    T::try_from(value).map_err(|_| Fault::invalid(format!("`{name}` is {value}: out of range")))
}

/// The messages leave the number out, since its formatting would double the size of many a plugin.
fn finite(name: &str, value: f64) -> Result<f64, Fault> {
    if value.is_finite() {
        Ok(value)
    } else {
        let found = if value.is_nan() { "NaN" } else { "infinite" };
        Err(Fault::invalid(format!(
            "`{name}` is {found}, not a finite number"
        )))
    }
}

fn narrow(name: &str, value: f64) -> Result<f32, Fault> {
    let narrow = finite(name, value)? as f32;
    if narrow.is_finite() {
        Ok(narrow)
    } else {
        Err(Fault::invalid(format!(
            "`{name}` is too large for a 32-bit float"
        )))
    }
}

/// Reads one case of a value as each of some types.
macro_rules! from_setting {
    ($($type:ty: $case:ident, $kind:literal, $convert:expr;)*) => {$(
        impl<'a> FromSetting<'a> for $type {
            fn from_setting(name: &str, value: Option<&'a SettingValue>) -> Result<Self, Fault> {
                match given(name, value)? {
                    SettingValue::$case(value) => $convert(name, value),
                    _ => Err(wrong_kind(name, $kind)),
                }
            }
        }
    )*};
}

from_setting! {
    bool: Boolean, "boolean", |_, value: &bool| Ok(*value);
    i64: Integer, "integer", |_, value: &i64| Ok(*value);
    u32: Integer, "integer", |name, value: &i64| whole(name, *value);
    u64: Integer, "integer", |name, value: &i64| whole(name, *value);
    f64: Number, "number", |name, value: &f64| finite(name, *value);
    f32: Number, "number", |name, value: &f64| narrow(name, *value);
    &'a str: Text, "text", |_, value: &'a String| Ok(value.as_str());
    String: Text, "text", |_, value: &String| Ok(value.clone());
    Vec<i64>: Integers, "list of integers", |_, values: &Vec<i64>| Ok(values.clone());
    Vec<u32>: Integers, "list of integers",
        |name, values: &Vec<i64>| values.iter().map(|&value| whole(name, value)).collect();
    Vec<u64>: Integers, "list of integers",
        |name, values: &Vec<i64>| values.iter().map(|&value| whole(name, value)).collect();
    Vec<f64>: Numbers, "list of numbers",
        |name, values: &Vec<f64>| values.iter().map(|&value| finite(name, value)).collect();
    Vec<f32>: Numbers, "list of numbers",
        |name, values: &Vec<f64>| values.iter().map(|&value| narrow(name, value)).collect();
    Vec<&'a str>: Texts, "list of texts",
        |_, values: &'a Vec<String>| Ok(values.iter().map(String::as_str).collect());
    Vec<String>: Texts, "list of texts", |_, values: &Vec<String>| Ok(values.clone());
}

/// Makes values of one case from each of some types.
macro_rules! into_value {
    ($($type:ty: $case:ident;)*) => {$(
        impl From<$type> for SettingValue {
            fn from(value: $type) -> Self {
                Self::$case(value.into())
            }
        }
    )*};
}

into_value! {
    bool: Boolean;
    i64: Integer;
    f64: Number;
    &str: Text;
    Vec<i64>: Integers;
    Vec<f64>: Numbers;
    Vec<String>: Texts;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let setting = |name: &str, value: SettingValue| Setting {
            name: name.to_owned(),
            value,
        };
        Settings::new(vec![
            setting("rate", 0.5.into()),
            setting("wild", f64::NAN.into()),
            setting("vast", 1e300.into()),
            setting("depths", vec![3, 1].into()),
            setting("below", (-1).into()),
            setting("by", "macs".into()),
        ])
    }

    #[test]
    fn a_value_is_found_by_name_and_type() {
        let settings = settings();
        assert_eq!(settings.get::<f32>("rate"), Ok(0.5));
        assert_eq!(settings.get::<f64>("vast"), Ok(1e300));
        assert_eq!(settings.get::<Vec<u32>>("depths"), Ok(vec![3, 1]));
        assert_eq!(settings.get::<i64>("below"), Ok(-1));
        assert_eq!(settings.get::<&str>("by"), Ok("macs"));
        assert_eq!(settings.get::<Option<Vec<u32>>>("meta_depths"), Ok(None));
        assert_eq!(settings.get::<Option<f64>>("rate"), Ok(Some(0.5)));
    }

    #[test]
    fn a_missing_name_another_kind_and_a_bad_value_are_named() {
        let settings = settings();
        let messages = [
            settings.get::<f64>("wild").unwrap_err().message,
            settings.get::<f32>("vast").unwrap_err().message,
            settings.get::<u32>("below").unwrap_err().message,
            settings.get::<String>("rate").unwrap_err().message,
            settings.get::<bool>("quick").unwrap_err().message,
            settings.get::<Option<u64>>("by").unwrap_err().message,
        ];
        assert_eq!(
            messages,
            [
                "`wild` is NaN, not a finite number",
                "`vast` is too large for a 32-bit float",
                "`below` is -1: out of range",
                "`rate` is not a value of kind text",
                "`quick` was not given",
                "`by` is not a value of kind integer",
            ]
        );
    }
}
