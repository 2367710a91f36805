//! The parameters: every value that the description allows is accepted or refused with a reason.

use super::report::{Check, Finding, Law, Verdict};
use super::subject::{Failure, Subject, said};
use super::{loss, partition, schedule};
use crate::plugin::{Kind, Parameter, PluginError, SettingKind, SettingValue};

const SETTINGS: Law = Law {
    id: "settings",
    says: "it starts with the settings that it was given and the defaults of the others",
};

const PARAMETERS: Law = Law {
    id: "parameters",
    says: "every value that a parameter allows is accepted or refused by a fault, and no other value reaches it",
};

/// Texts of this length are still within what a plugin has to survive.
const LONG_TEXT: usize = 4096;

/// Elements of a long list.
const LONG_LIST: usize = 1000;

/// What happened to a plugin with one set of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Fine,
    Refused,
    Broken,
}

/// Whether the plugin accepts the settings of this examination.
pub(super) fn starts(subject: &Subject) -> Check {
    let mut verdict = Verdict::new(SETTINGS);
    let started = match subject.plugin.kind() {
        Kind::PartitionScheme => subject.partition().map(drop),
        Kind::LrSchedule => subject.schedule(schedule::PHASE).map(drop),
        Kind::LossHook => subject.loss(loss::PHASE, super::subject::SEED).map(drop),
    };
    if let Err(error) = started {
        verdict.fail(Finding::new(
            "starting",
            "a plugin that can be called (`--set` gives other settings)",
            said(&error),
        ));
        return verdict.finish("it does not start, so nothing else was checked".to_owned());
    }
    verdict.finish("it starts".to_owned())
}

/// Tries every parameter at its bounds and choices.
pub(super) fn parameters(subject: &Subject) -> Check {
    let described = &subject.plugin.description().parameters;
    if described.is_empty() {
        return Verdict::not_applicable(PARAMETERS, "there are none");
    }
    let mut verdict = Verdict::new(PARAMETERS);
    // What is broken without any change is the business of the other laws.
    let (usual, _) = ending(subject);
    let (mut tried, mut refused, mut kept_out) = (0_u64, 0_u64, 0_u64);
    for parameter in described {
        for value in allowed(parameter) {
            let Some(changed) = subject.with(&parameter.name, value.clone()) else {
                continue;
            };
            tried += 1;
            let (found, words) = ending(&changed);
            refused += u64::from(found == Ending::Refused);
            if found == Ending::Broken && usual != Ending::Broken {
                verdict.fail(Finding::new(
                    format!("--set {}={}", parameter.name, shortened(&value)),
                    "an accepted value or a fault",
                    words,
                ));
            }
        }
        for value in forbidden(parameter) {
            kept_out += 1;
            if subject.with(&parameter.name, value.clone()).is_some() {
                verdict.fail(Finding::new(
                    format!("--set {}={}", parameter.name, shortened(&value)),
                    format!(
                        "refused before it is loaded (allowed: {})",
                        parameter.allowed()
                    ),
                    "an accepted value",
                ));
            }
        }
    }
    verdict.finish(format!(
        "values tried: {tried}, refused by a fault: {refused}, kept out by the description: {kept_out}"
    ))
}

/// Starts the plugin and asks it something usual.
fn ending(subject: &Subject) -> (Ending, String) {
    let asked = match subject.plugin.kind() {
        Kind::PartitionScheme => partition::usual(subject),
        Kind::LrSchedule => schedule::usual(subject),
        Kind::LossHook => loss::usual(subject),
    };
    match asked {
        Ok(()) => (Ending::Fine, String::new()),
        Err(error) => (kind(&error), said(&error)),
    }
}

/// A wrong answer is an error that the host reports well; only a crash is nobody's intention.
fn kind(error: &PluginError) -> Ending {
    match Failure::of(error) {
        Failure::Crash | Failure::Silent => Ending::Broken,
        Failure::Fault | Failure::WrongAnswer => Ending::Refused,
    }
}

/// Values at the edges of what a parameter allows.
fn allowed(parameter: &Parameter) -> Vec<SettingValue> {
    let whole = |bound: Option<f64>, otherwise: i64| bound.map_or(otherwise, |bound| bound as i64);
    let integers = [
        whole(parameter.minimum, i64::MIN),
        whole(parameter.maximum, i64::MAX),
        0,
        1,
    ];
    let numbers = [
        parameter.minimum.unwrap_or(f64::MIN),
        parameter.maximum.unwrap_or(f64::MAX),
        0.0,
        1.0,
        f64::MIN_POSITIVE,
    ];
    let texts: Vec<String> = if parameter.choices.is_empty() {
        vec![String::new(), "naïve ☃".to_owned(), "x".repeat(LONG_TEXT)]
    } else {
        parameter.choices.clone()
    };
    match parameter.kind {
        SettingKind::Boolean => [false, true].map(SettingValue::Boolean).to_vec(),
        SettingKind::Integer => integers.map(SettingValue::Integer).to_vec(),
        SettingKind::Number => numbers.map(SettingValue::Number).to_vec(),
        SettingKind::Text => texts.into_iter().map(SettingValue::Text).collect(),
        SettingKind::Integers => lists(&integers).map(SettingValue::Integers).collect(),
        SettingKind::Numbers => lists(&numbers).map(SettingValue::Numbers).collect(),
        SettingKind::Texts => lists(&texts).map(SettingValue::Texts).collect(),
    }
}

/// No element, one of each, and many.
fn lists<T: Clone>(values: &[T]) -> impl Iterator<Item = Vec<T>> {
    [
        Vec::new(),
        vec![values[0].clone(); LONG_LIST],
        values.to_vec(),
    ]
    .into_iter()
    .chain(values.iter().map(|value| vec![value.clone()]))
}

/// Values just outside of what a parameter allows.
fn forbidden(parameter: &Parameter) -> Vec<SettingValue> {
    let below = parameter.minimum.map(f64::next_down);
    let above = parameter.maximum.map(f64::next_up);
    let numbers = || below.into_iter().chain(above).chain([f64::NAN]);
    let integers = || {
        let below = parameter.minimum.map(|minimum| minimum as i64 - 1);
        let above = parameter.maximum.map(|maximum| maximum as i64 + 1);
        below.into_iter().chain(above)
    };
    let stranger = || {
        let known = !parameter.choices.is_empty();
        known.then(|| format!("{}?", parameter.choices.concat()))
    };
    match parameter.kind {
        SettingKind::Boolean => vec![SettingValue::Text("perhaps".to_owned())],
        SettingKind::Integer => integers().map(SettingValue::Integer).collect(),
        SettingKind::Number => numbers().map(SettingValue::Number).collect(),
        SettingKind::Text => stranger().map(SettingValue::Text).into_iter().collect(),
        SettingKind::Integers => integers()
            .map(|value| SettingValue::Integers(vec![value]))
            .collect(),
        SettingKind::Numbers => numbers()
            .map(|value| SettingValue::Numbers(vec![value]))
            .collect(),
        SettingKind::Texts => stranger()
            .map(|text| SettingValue::Texts(vec![text]))
            .into_iter()
            .collect(),
    }
}

/// A value as a report shows it.
fn shortened(value: &SettingValue) -> String {
    const SHOWN: usize = 60;
    let whole = value.to_string();
    if whole.chars().count() <= SHOWN {
        return whole;
    }
    let first: String = whole.chars().take(SHOWN).collect();
    format!("{first}… ({} characters)", whole.chars().count())
}
