//! `incubate plugin check`.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use serde_json::json;
use toml::{Table, Value};

use super::arguments::CheckOptions;
use super::sandbox::plugin_host;
use super::{print, print_json, sources};
use crate::conformance::{Check, Circumstances, Finding, Outcome, Report, examine};
use crate::plugin::{Grant, Grants, Kind, Limits, SettingValue};
use crate::spelling::{did_you_mean, nearest};

/// Why a check does not end with success.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    /// Laws are broken.
    #[error("{failed} of {checks} checks failed (the report says how to see each failure again)")]
    Failed {
        /// How many.
        failed: usize,
        /// Of how many.
        checks: usize,
    },
    /// An option that is no assignment.
    #[error("`{option} {given}` is no assignment (write `{option} KEY=VALUE`)")]
    Assignment {
        /// The option.
        option: &'static str,
        /// What was given.
        given: String,
    },
    /// A value that no parameter can have, or no such kind.
    #[error("there is no kind `{given}` (kinds: {})", kinds())]
    Kind {
        /// The kind as it was given.
        given: String,
    },
    /// A check that was accepted and that there is not.
    #[error("there is no check `{given}` for this plugin{} (checks: {known})", did_you_mean(.nearest.as_deref()))]
    Law {
        /// The check as it was given.
        given: String,
        /// The most similar check.
        nearest: Option<String>,
        /// All checks.
        known: String,
    },
    /// A grant that does not exist.
    #[error("there is no grant `{given}`{} (grants: {known})", did_you_mean(.nearest.as_deref()))]
    Grant {
        /// The grant as it was given.
        given: String,
        /// The most similar grant.
        nearest: Option<String>,
        /// All grants.
        known: String,
    },
    /// A limit that does not exist or has no such value.
    #[error("the limits cannot be used: {reason} (give `--limit KEY=WHOLE_NUMBER`)")]
    Limit {
        /// What is wrong.
        reason: String,
    },
}

/// Examines a plugin and prints the report; broken laws are an error.
pub(super) fn check(options: &CheckOptions) -> Result<()> {
    let circumstances = Circumstances {
        kind: options.kind.as_deref().map(kind).transpose()?,
        settings: settings(&options.assignments)?,
        grants: grants(&options.grants)?,
        limits: limits(&options.limits)?,
        accepted: options.accepted.clone(),
    };
    let mut host = plugin_host()?;
    if let Some((origin, bytes)) =
        sources::fetched(&options.plugin, &options.lock, &options.access)?
    {
        host.provide(&options.plugin, origin, bytes);
    }
    let report = examine(&host, &options.plugin, &circumstances)?;
    refuse_unknown_checks(&report, &options.accepted)?;
    if options.json {
        print_json(&as_json(&report)?)?;
    } else {
        show(&report, options)?;
    }
    match report.count(Outcome::Fail) {
        0 => Ok(()),
        failed => Err(CheckError::Failed {
            failed,
            checks: report.checks.len(),
        }
        .into()),
    }
}

/// A misspelt check must not look as if it had been accepted.
fn refuse_unknown_checks(report: &Report, accepted: &[String]) -> Result<(), CheckError> {
    let known = || report.checks.iter().map(|check| check.id);
    // A plugin that does not start has a short report, which says why.
    if !known().any(|id| id == "limits") {
        return Ok(());
    }
    match accepted
        .iter()
        .find(|id| !known().any(|known| known == *id))
    {
        None => Ok(()),
        Some(given) => Err(CheckError::Law {
            given: given.clone(),
            nearest: nearest(given, known()),
            known: known().collect::<Vec<_>>().join(", "),
        }),
    }
}

/// The grants with these names; a check needs no reasons.
fn grants(names: &[String]) -> Result<Grants, CheckError> {
    let known = || Grant::ALL.into_iter().map(Grant::name);
    let grant = |name: &String| {
        let found = Grant::ALL.into_iter().find(|grant| grant.name() == name);
        found.ok_or_else(|| CheckError::Grant {
            given: name.clone(),
            nearest: nearest(name, known()),
            known: known().collect::<Vec<_>>().join(", "),
        })
    };
    let granted: Vec<Grant> = names.iter().map(grant).collect::<Result<_, _>>()?;
    Ok(Grants::of(&granted))
}

fn kind(name: &str) -> Result<Kind, CheckError> {
    let known = Kind::ALL.into_iter().find(|kind| kind.world() == name);
    known.ok_or_else(|| CheckError::Kind {
        given: name.to_owned(),
    })
}

fn kinds() -> String {
    Kind::ALL.map(Kind::world).join(", ")
}

/// `KEY=VALUE` with a value in TOML, or else a text.
fn assignment(option: &'static str, given: &str) -> Result<(String, Value), CheckError> {
    let (key, text) = given
        .split_once('=')
        .filter(|(key, _)| !key.trim().is_empty())
        .ok_or_else(|| CheckError::Assignment {
            option,
            given: given.to_owned(),
        })?;
    let text = text.trim();
    let value = format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    Ok((key.trim().to_owned(), value))
}

fn settings(assignments: &[String]) -> Result<BTreeMap<String, SettingValue>> {
    assignments
        .iter()
        .map(|given| {
            let (key, value) = assignment("--set", given)?;
            let value = SettingValue::try_from(value).map_err(|_| CheckError::Assignment {
                option: "--set",
                given: given.clone(),
            })?;
            Ok((key, value))
        })
        .collect()
}

fn limits(assignments: &[String]) -> Result<Limits, CheckError> {
    let table = assignments
        .iter()
        .map(|given| assignment("--limit", given))
        .collect::<Result<Table, _>>()?;
    table
        .try_into()
        .map_err(|error: toml::de::Error| CheckError::Limit {
            reason: error.message().trim_end().to_owned(),
        })
}

/// The report with its counts.
fn as_json(report: &Report) -> Result<serde_json::Value> {
    let mut object = serde_json::to_value(report)?;
    let counts = json!({
        "passed": report.count(Outcome::Pass),
        "failed": report.count(Outcome::Fail),
        "warnings": report.count(Outcome::Warning),
        "not_applicable": report.count(Outcome::NotApplicable),
    });
    object["counts"] = counts;
    Ok(object)
}

/// Prints the report for a person.
fn show(report: &Report, options: &CheckOptions) -> Result<()> {
    let kind = report.kind;
    match (&report.name, &report.version) {
        (Some(name), Some(version)) => {
            print(&format!("{name} {version} ({kind}), {}", report.reference))?;
        }
        _ => print(&report.reference)?,
    }
    if let Some(sha256) = &report.sha256 {
        print(&format!("  sha256 {sha256}"))?;
    }
    for interface in &report.interfaces {
        print(&format!(
            "  {} {} (this program: {}; {})",
            interface.direction, interface.name, report.host_contract, interface.relation
        ))?;
    }
    print("")?;
    let width = report.checks.iter().map(|check| check.id.len()).max();
    for check in &report.checks {
        show_check(check, width.unwrap_or_default())?;
    }
    print("")?;
    if report.count(Outcome::Fail) + report.count(Outcome::Warning) > 0 {
        print(&format!("again: {}", command(options)))?;
    }
    print(&format!(
        "passed: {}, failed: {}, warnings: {}, not applicable: {}",
        report.count(Outcome::Pass),
        report.count(Outcome::Fail),
        report.count(Outcome::Warning),
        report.count(Outcome::NotApplicable)
    ))
}

/// One line for a law, and what breaks it.
fn show_check(check: &Check, width: usize) -> Result<()> {
    let (mark, style) = match check.outcome {
        Outcome::Pass => ("ok", Style::new()),
        Outcome::Fail => ("FAIL", AnsiColor::Red.on_default().bold()),
        Outcome::Warning => ("warn", AnsiColor::Yellow.on_default().bold()),
        Outcome::NotApplicable => ("-", Style::new()),
    };
    let id = check.id;
    print(&format!(
        "{style}{mark:4}{style:#}  {id:width$}  {}",
        check.summary
    ))?;
    if check.findings.is_empty() {
        return Ok(());
    }
    print(&format!("        law       {}", check.law))?;
    for Finding { at, expected, got } in &check.findings {
        print(&format!("        at        {at}"))?;
        print(&format!("        expected  {expected}"))?;
        print(&format!("        got       {got}"))?;
    }
    let more = check.broken - check.findings.len() as u64;
    if more > 0 {
        print(&format!("        and {more} more like these"))?;
    }
    Ok(())
}

/// The command that gives the same report.
fn command(options: &CheckOptions) -> String {
    let quoted = |text: &str| {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=+:@".contains(letter);
        if text.chars().all(plain) {
            text.to_owned()
        } else {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
    };
    let mut command = format!("incubate plugin check {}", quoted(&options.plugin));
    let single = options.kind.iter().map(|kind| ("--kind", kind));
    let set = options.assignments.iter().map(|value| ("--set", value));
    let grants = options.grants.iter().map(|value| ("--grant", value));
    let limits = options.limits.iter().map(|value| ("--limit", value));
    let accepted = options.accepted.iter().map(|value| ("--accept", value));
    for (option, value) in single
        .chain(set)
        .chain(grants)
        .chain(limits)
        .chain(accepted)
    {
        command.push_str(&format!(" {option} {}", quoted(value)));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_toml_or_a_text() {
        let given = ["depths=[3, 1]", "by = macs", "rate=1e-3"].map(str::to_owned);
        let settings = settings(&given).expect("assignments");
        assert_eq!(settings["depths"], SettingValue::Integers(vec![3, 1]));
        assert_eq!(settings["by"], SettingValue::Text("macs".to_owned()));
        assert_eq!(settings["rate"], SettingValue::Number(1e-3));
        assert!(super::settings(&["depths".to_owned()]).is_err());
        assert!(super::settings(&["=3".to_owned()]).is_err());
    }

    #[test]
    fn limits_are_checked() {
        let raised = limits(&["fuel=7".to_owned()]).expect("a limit");
        assert_eq!(raised.fuel, 7);
        assert_eq!(raised.memory_bytes, Limits::default().memory_bytes);
        for wrong in ["fule=7", "fuel=much"] {
            let error = limits(&[wrong.to_owned()]).expect_err(wrong);
            assert!(matches!(error, CheckError::Limit { .. }), "{error}");
        }
    }
}
