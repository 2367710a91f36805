//! What a plugin says about itself: to a person who chooses it, and inside its file.

use std::collections::HashSet;

use wasm_metadata::Payload;

use super::contract::Component;
use super::report::{Check, Finding, Law, Verdict};
use crate::plugin::{Description, Parameter, SettingKind};

pub(super) const DESCRIPTION: Law = Law {
    id: "description",
    says: "`describe` gives one answer, with a summary of everything and limits that mean something",
};

const METADATA: Law = Law {
    id: "metadata",
    says: "name and version inside the file are those of `describe`",
};

/// Whether a person can read what the plugin is and what can be set. The loader has checked names,
/// versions, bounds, and defaults, and has asked twice.
pub(super) fn description(description: &Description) -> Check {
    let mut verdict = Verdict::new(DESCRIPTION);
    check_summary(&mut verdict, "the plugin", &description.summary);
    for parameter in &description.parameters {
        check_parameter(&mut verdict, parameter);
    }
    verdict.finish(format!("parameters: {}", description.parameters.len()))
}

fn check_summary(verdict: &mut Verdict, of: &str, summary: &str) {
    if summary.trim().is_empty() || summary.contains('\n') {
        verdict.fail(Finding::new(
            format!("the summary of {of}"),
            "one sentence",
            format!("{summary:?}"),
        ));
    }
}

fn check_parameter(verdict: &mut Verdict, parameter: &Parameter) {
    let of = format!("parameter `{}`", parameter.name);
    check_summary(verdict, &of, &parameter.summary);
    let numeric = matches!(
        parameter.kind,
        SettingKind::Integer | SettingKind::Number | SettingKind::Integers | SettingKind::Numbers
    );
    let whole = matches!(parameter.kind, SettingKind::Integer | SettingKind::Integers);
    for bound in [parameter.minimum, parameter.maximum].into_iter().flatten() {
        if !numeric {
            verdict.fail(Finding::new(
                &of,
                "bounds only for numbers",
                format!("the bound {bound} for {}", parameter.kind),
            ));
        } else if whole && bound.fract() != 0.0 {
            verdict.fail(Finding::new(
                &of,
                "whole bounds for whole numbers",
                format!("the bound {bound}"),
            ));
        }
    }
    let textual = matches!(parameter.kind, SettingKind::Text | SettingKind::Texts);
    if !textual && !parameter.choices.is_empty() {
        verdict.fail(Finding::new(
            &of,
            "choices only for texts",
            format!("{:?} for {}", parameter.choices, parameter.kind),
        ));
    }
    let mut seen = HashSet::new();
    for choice in &parameter.choices {
        if !seen.insert(choice) {
            verdict.fail(Finding::new(
                &of,
                "every choice once",
                format!("`{choice}` twice"),
            ));
        }
    }
}

/// Whether the file says the same as the plugin.
pub(super) fn metadata(component: &Component, description: &Description) -> Check {
    let payload = match Payload::from_binary(component.bytes()) {
        Ok(payload) => payload,
        Err(error) => {
            let mut verdict = Verdict::new(METADATA);
            verdict.fail(Finding::new(
                "the file",
                "readable metadata",
                format!("{error:#}"),
            ));
            return verdict.finish("it cannot be read".to_owned());
        }
    };
    let metadata = payload.metadata();
    let version = metadata.version.as_ref().map(ToString::to_string);
    if metadata.name.is_none() && version.is_none() {
        return Verdict::not_applicable(METADATA, "the file has neither name nor version inside");
    }
    let mut verdict = Verdict::new(METADATA);
    let described = description.version.to_string();
    for (what, inside, described) in [
        ("name", &metadata.name, &description.name),
        ("version", &version, &described),
    ] {
        if let Some(inside) = inside
            && inside != described
        {
            verdict.fail(Finding::new(
                format!("the {what} inside the file"),
                format!("`{described}`, as `describe` says"),
                format!("`{inside}`"),
            ));
        }
    }
    verdict.finish(format!(
        "the file says {} {}",
        metadata.name.as_deref().unwrap_or("no name,"),
        version.as_deref().unwrap_or("without version")
    ))
}

#[cfg(test)]
mod tests {
    use semver::Version;

    use super::*;
    use crate::conformance::Outcome;

    /// The outcome for a plugin with one parameter, changed.
    fn outcome(kind: SettingKind, change: impl FnOnce(&mut Parameter)) -> Outcome {
        let mut parameter = Parameter {
            name: "size".to_owned(),
            summary: "How large, in blocks".to_owned(),
            kind,
            default: None,
            optional: false,
            minimum: None,
            maximum: None,
            choices: Vec::new(),
        };
        change(&mut parameter);
        let described = Description {
            name: "made-up".to_owned(),
            version: Version::new(1, 0, 0),
            summary: "Does nothing".to_owned(),
            parameters: vec![parameter],
        };
        description(&described).outcome
    }

    #[test]
    fn what_a_person_cannot_use_is_a_failure() {
        let twice = || vec!["a".to_owned(), "a".to_owned()];
        assert_eq!(outcome(SettingKind::Integer, |_| {}), Outcome::Pass);
        for (kind, change) in [
            (
                SettingKind::Number,
                (|one| one.summary = " ".to_owned()) as fn(&mut Parameter),
            ),
            (SettingKind::Number, |one| one.summary.push('\n')),
            (SettingKind::Integer, |one| one.minimum = Some(0.5)),
            (SettingKind::Text, |one| one.maximum = Some(1.0)),
            (SettingKind::Number, |one| one.choices.push("a".to_owned())),
        ] {
            assert_eq!(outcome(kind, change), Outcome::Fail, "{kind}");
        }
        let repeated = outcome(SettingKind::Text, |one| one.choices = twice());
        assert_eq!(repeated, Outcome::Fail);
    }
}
