//! Whether a plugin keeps the laws of its kind: it is loaded as an experiment would load it, and
//! then everything is tried to break it.
//!
//! Every input is a function of a fixed seed, so two examinations of one file give one report. A
//! law that is broken is a failure; what only may become a problem is a warning.

mod contract;
mod description;
mod limits;
mod loss;
mod numbers;
mod parameters;
mod partition;
mod report;
mod schedule;
mod state;
mod subject;

use std::collections::BTreeMap;

use self::contract::Component;
pub use self::contract::{Direction, Interface, Relation};
use self::report::Verdict;
pub use self::report::{Check, Finding, Outcome, Report};
use self::subject::Subject;
pub use self::subject::Usage;
use crate::plugin::{Grants, Kind, Limits, PluginError, PluginErrorKind, PluginHost, SettingValue};

/// How a plugin is to be examined: what an experiment would say about it.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// The kind to examine; `None` takes the one that the plugin exports.
    pub kind: Option<Kind>,
    /// Parameters that differ from their defaults.
    pub settings: BTreeMap<String, SettingValue>,
    /// What it is allowed.
    pub grants: Grants,
    /// How much it may use.
    pub limits: Limits,
    /// Laws that it breaks on purpose: their failures are warnings.
    pub accepted: Vec<String>,
}

/// Examines the plugin `reference`, a built-in name, the path of a file, or what was provided to
/// the sandbox under it.
///
/// # Errors
///
/// There is no such plugin, the file is no component, or the circumstances do not fit its
/// parameters. A plugin that is refused for anything else has a report that says so.
pub fn examine(
    host: &PluginHost,
    reference: &str,
    circumstances: &Circumstances,
) -> Result<Report, PluginError> {
    let component = Component::read(host, reference);
    let kind = circumstances
        .kind
        .or_else(|| component.kind())
        .unwrap_or(Kind::LossHook);
    let loaded = host.load(
        reference,
        kind,
        &circumstances.grants,
        &circumstances.limits,
    );
    let mut report = Report::new(reference, kind, circumstances, &component);
    let plugin = match loaded {
        Ok(plugin) => plugin,
        Err(error) => {
            report.checks = vec![refused(error)?];
            return Ok(report);
        }
    };
    report.describe(&plugin);
    report.checks = vec![
        contract::imports_and_exports(&component),
        contract::grants(&component, &circumstances.grants),
        description::description(plugin.description()),
        description::metadata(&component, plugin.description()),
    ];
    let settings = plugin.settings(&circumstances.settings)?;
    let subject = Subject::new(plugin, circumstances.settings.clone(), settings);
    let started = parameters::starts(&subject);
    let runs = started.outcome != Outcome::Fail;
    report.checks.push(started);
    if runs {
        report.checks.push(parameters::parameters(&subject));
        report.checks.extend(match kind {
            Kind::PartitionScheme => partition::laws(&subject),
            Kind::LrSchedule => schedule::laws(&subject),
            Kind::LossHook => loss::laws(&subject),
        });
        report.checks.push(limits::limits(&subject));
        report.checks.push(limits::messages(&subject));
    }
    report.usage = Some(subject.usage());
    for check in &mut report.checks {
        let accepted = circumstances.accepted.iter().any(|id| id == check.id);
        if accepted && check.outcome == Outcome::Fail {
            check.outcome = Outcome::Warning;
        }
    }
    Ok(report)
}

/// What a refusal to load says, as the check that it belongs to.
///
/// # Errors
///
/// There is nothing to check.
fn refused(error: PluginError) -> Result<Check, PluginError> {
    let (law, expected) = match &*error.kind {
        PluginErrorKind::Unknown { .. }
        | PluginErrorKind::Read(_)
        | PluginErrorKind::Format { .. } => return Err(error),
        PluginErrorKind::Grant { .. } => {
            (contract::GRANTS, "`--grant`, and a grant in the experiment")
        }
        PluginErrorKind::Description { .. } => (description::DESCRIPTION, "a usable answer"),
        _ if error.hook.is_some() => (description::DESCRIPTION, "an answer"),
        _ => (
            contract::CONTRACT_LAW,
            "a component that an experiment can load",
        ),
    };
    let mut verdict = Verdict::new(law);
    verdict.fail(Finding::new("loading", expected, error.kind.to_string()));
    Ok(verdict.finish("it cannot be loaded, so nothing else was checked".to_owned()))
}
