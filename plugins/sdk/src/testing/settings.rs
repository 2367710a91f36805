//! Settings as the host makes them of an experiment and a description.

use crate::{Description, Fault, Parameter, Setting, SettingKind, SettingValue, Settings};

/// The settings of an experiment that says `values`, checked against the description of a plugin and
/// with its defaults filled in.
///
/// ```
/// use incubate_plugin::{Description, Parameter, testing};
///
/// let description = Description::new("A loss")
///     .parameter(Parameter::number("gamma", "An exponent").default(2.0).at_least(0.0));
/// let settings = testing::settings(&description, &[("gamma", 3.into())]).unwrap();
/// assert_eq!(settings.get("gamma"), Ok(3.0));
/// assert!(testing::settings(&description, &[("gamma", (-1.0).into())]).is_err());
/// assert!(testing::settings(&description, &[("gama", 3.0.into())]).is_err());
/// ```
///
/// # Errors
///
/// An unknown name, a missing value, or one that the description does not allow.
pub fn settings(
    description: &Description,
    values: &[(&str, SettingValue)],
) -> Result<Settings, Fault> {
    let known = |name: &str| {
        let mut parameters = description.parameters.iter();
        parameters.any(|parameter| parameter.name == name)
    };
    if let Some((name, _)) = values.iter().find(|(name, _)| !known(name)) {
        return Err(Fault::invalid(format!("there is no parameter `{name}`")));
    }
    let mut settings = Vec::new();
    for parameter in &description.parameters {
        let given = values.iter().find(|(name, _)| *name == parameter.name);
        let value = match (given, &parameter.default) {
            (Some((_, value)), _) => accept(parameter, value)?,
            (None, Some(default)) => accept(parameter, default)?,
            (None, None) if parameter.optional => continue,
            (None, None) => {
                return Err(Fault::invalid(format!(
                    "the parameter `{}` needs a value ({})",
                    parameter.name, parameter.summary
                )));
            }
        };
        settings.push(Setting {
            name: parameter.name.clone(),
            value,
        });
    }
    Ok(Settings::new(settings))
}

/// The value as the parameter takes it: whole numbers are numbers, and finite numbers are texts.
fn accept(parameter: &Parameter, value: &SettingValue) -> Result<SettingValue, Fault> {
    let name = &parameter.name;
    let value = match (value, parameter.kind) {
        (SettingValue::Integer(value), SettingKind::Number) => SettingValue::Number(*value as f64),
        (SettingValue::Integers(values), SettingKind::Numbers) => {
            SettingValue::Numbers(values.iter().map(|&value| value as f64).collect())
        }
        (SettingValue::Integer(value), SettingKind::Text) => SettingValue::Text(value.to_string()),
        (SettingValue::Number(value), SettingKind::Text) if value.is_finite() => {
            SettingValue::Text(format!("{value:?}"))
        }
        (SettingValue::Integers(values), SettingKind::Texts) => {
            SettingValue::Texts(values.iter().map(i64::to_string).collect())
        }
        (SettingValue::Numbers(values), SettingKind::Texts)
            if values.iter().all(|value| value.is_finite()) =>
        {
            SettingValue::Texts(values.iter().map(|value| format!("{value:?}")).collect())
        }
        (value, _) => value.clone(),
    };
    if kind(&value) != parameter.kind {
        return Err(Fault::invalid(format!(
            "`{name}` is {value:?}, and {:?} is needed",
            parameter.kind
        )));
    }
    let numbers: Vec<f64> = match &value {
        SettingValue::Integer(value) => vec![*value as f64],
        SettingValue::Number(value) => vec![*value],
        SettingValue::Integers(values) => values.iter().map(|&value| value as f64).collect(),
        SettingValue::Numbers(values) => values.clone(),
        _ => Vec::new(),
    };
    let texts: &[String] = match &value {
        SettingValue::Text(value) => std::slice::from_ref(value),
        SettingValue::Texts(values) => values,
        _ => &[],
    };
    let within = |number: &f64| {
        !number.is_nan()
            && parameter.minimum.is_none_or(|minimum| *number >= minimum)
            && parameter.maximum.is_none_or(|maximum| *number <= maximum)
    };
    let chosen = |text: &String| parameter.choices.is_empty() || parameter.choices.contains(text);
    if numbers.iter().all(within) && texts.iter().all(chosen) {
        return Ok(value);
    }
    Err(Fault::invalid(format!(
        "`{name}` is {value:?}, which its bounds or choices exclude"
    )))
}

const fn kind(value: &SettingValue) -> SettingKind {
    match value {
        SettingValue::Boolean(_) => SettingKind::Boolean,
        SettingValue::Integer(_) => SettingKind::Integer,
        SettingValue::Number(_) => SettingKind::Number,
        SettingValue::Text(_) => SettingKind::Text,
        SettingValue::Integers(_) => SettingKind::Integers,
        SettingValue::Numbers(_) => SettingKind::Numbers,
        SettingValue::Texts(_) => SettingKind::Texts,
    }
}
