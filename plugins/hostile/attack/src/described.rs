//! What a hostile plugin says about itself.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Parameter, SettingKind, SettingValue, escapes, huge, strike};

/// An answer of `describe`, which every plugin turns into the type of its own bindings.
#[derive(Debug)]
pub struct Described {
    /// The name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The summary.
    pub summary: String,
    /// The parameters.
    pub parameters: Vec<Parameter>,
}

/// Describes the plugin `name`, or attacks.
pub fn described(name: &str) -> Described {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let attack = strike("describe").unwrap_or_default();
    let one = |parameter: Parameter| vec![parameter];
    let number = |default: f64| Parameter {
        default: Some(SettingValue::Number(default)),
        kind: SettingKind::Number,
        ..parameter("number")
    };
    let choice = |choice: String| Parameter {
        default: Some(SettingValue::Text(choice.clone())),
        choices: vec![choice],
        ..parameter("choice")
    };
    Described {
        name: match attack {
            "name-escapes" => escapes(),
            "name-huge" => huge(),
            "name-long" => "a".repeat(10_000),
            "name-changes" => format!("{name}-{}", if call == 0 { "a" } else { "b" }),
            _ => name.to_owned(),
        },
        version: match attack {
            "version-escapes" => escapes(),
            "version-long" => format!("1.0.0-{}", "a".repeat(10_000)),
            _ => "0.1.0".to_owned(),
        },
        summary: match attack {
            "summary-escapes" => escapes(),
            "summary-huge" => huge(),
            "summary-long" => "long ".repeat(10_000),
            _ => "Attacks the host".to_owned(),
        },
        parameters: match attack {
            "parameters-many" => (0..10_000)
                .map(|index| parameter(&format!("p{index}")))
                .collect(),
            "parameter-name-escapes" => one(parameter(&escapes())),
            "parameter-name-long" => one(parameter(&"a".repeat(10_000))),
            "parameter-summary-escapes" => one(Parameter {
                summary: escapes(),
                ..parameter("loud")
            }),
            "choice-escapes" => one(choice(escapes())),
            "choice-long" => one(choice("a".repeat(10_000))),
            "choices-many" => one(Parameter {
                choices: (0..10_000).map(|index| index.to_string()).collect(),
                ..parameter("many")
            }),
            "default-nan" => one(number(f64::NAN)),
            "default-infinite" => one(number(f64::INFINITY)),
            "default-long" => one(Parameter {
                kind: SettingKind::Numbers,
                default: Some(SettingValue::Numbers(vec![1.0; 100_000])),
                ..parameter("list")
            }),
            "bound-nan" => one(Parameter {
                minimum: Some(f64::NAN),
                ..number(1.0)
            }),
            "bounds-infinite" => one(Parameter {
                minimum: Some(f64::INFINITY),
                maximum: Some(f64::NEG_INFINITY),
                ..number(1.0)
            }),
            _ => one(parameter("attack")),
        },
    }
}

fn parameter(name: &str) -> Parameter {
    Parameter {
        name: name.to_owned(),
        summary: "Does nothing".to_owned(),
        kind: SettingKind::Text,
        default: None,
        optional: true,
        minimum: None,
        maximum: None,
        choices: Vec::new(),
    }
}
