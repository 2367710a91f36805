//! What an examination found: one check for every law, with what an author needs to see it again.

use std::collections::BTreeMap;

use semver::Version;
use serde::Serialize;

use super::Circumstances;
use super::contract::{Component, Interface};
use super::subject::Usage;
use crate::plugin::{CONTRACT, Kind, Limits, Plugin, SettingValue};

/// Findings that a check keeps; the others are counted.
const KEPT: usize = 3;

/// Everything that was found out about one plugin.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The name or path by which it was asked for.
    pub reference: String,
    /// What it decides.
    pub kind: Kind,
    /// Its own name, once it has described itself.
    pub name: Option<String>,
    /// Its own version, once it has described itself.
    pub version: Option<Version>,
    /// The contract that this program offers.
    pub host_contract: Version,
    /// The digest of its bytes, once it was loaded.
    pub sha256: Option<String>,
    /// The parameters that were given.
    pub settings: BTreeMap<String, SettingValue>,
    /// The limits under which it ran.
    pub limits: Limits,
    /// What it imports and exports.
    pub interfaces: Vec<Interface>,
    /// One entry for every law, in the order in which they were checked.
    pub checks: Vec<Check>,
    /// What it used, once it ran.
    pub usage: Option<Usage>,
}

/// One law and whether it holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// The name of the law.
    pub id: &'static str,
    /// The law, as one sentence.
    pub law: &'static str,
    /// Whether it holds.
    pub outcome: Outcome,
    /// What was tried, or why nothing was.
    pub summary: String,
    /// The first cases that break the law, the smallest first.
    pub findings: Vec<Finding>,
    /// How many cases break it in all.
    pub broken: u64,
}

/// Whether a law holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It held in every case.
    Pass,
    /// It may become a problem.
    Warning,
    /// It was broken.
    Fail,
    /// It says nothing about this plugin.
    NotApplicable,
}

/// One case that breaks a law.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The inputs.
    pub at: String,
    /// What the law asks for.
    pub expected: String,
    /// What the plugin did.
    pub got: String,
}

/// A law by its name and as a sentence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Law {
    pub(super) id: &'static str,
    pub(super) says: &'static str,
}

/// A law while its cases are tried.
#[derive(Debug)]
pub(super) struct Verdict {
    law: Law,
    outcome: Outcome,
    findings: Vec<Finding>,
    broken: u64,
}

impl Report {
    pub(super) fn new(
        reference: &str,
        kind: Kind,
        circumstances: &Circumstances,
        component: &Component,
    ) -> Self {
        Self {
            reference: reference.to_owned(),
            kind,
            name: None,
            version: None,
            host_contract: CONTRACT,
            sha256: None,
            settings: circumstances.settings.clone(),
            limits: circumstances.limits,
            interfaces: component.interfaces().to_vec(),
            checks: Vec::new(),
            usage: None,
        }
    }

    pub(super) fn describe(&mut self, plugin: &Plugin) {
        let description = plugin.description();
        self.name = Some(description.name.clone());
        self.version = Some(description.version.clone());
        self.sha256 = Some(plugin.sha256().to_owned());
    }

    /// How many checks have this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.with(outcome).count()
    }

    /// The names of the laws with this outcome.
    pub fn with(&self, outcome: Outcome) -> impl Iterator<Item = &'static str> {
        self.checks
            .iter()
            .filter(move |check| check.outcome == outcome)
            .map(|check| check.id)
    }
}

impl Finding {
    pub(super) fn new(
        at: impl Into<String>,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Self {
        Self {
            at: at.into(),
            expected: expected.into(),
            got: got.into(),
        }
    }
}

impl Verdict {
    pub(super) const fn new(law: Law) -> Self {
        Self {
            law,
            outcome: Outcome::Pass,
            findings: Vec::new(),
            broken: 0,
        }
    }

    /// The check of a law that says nothing about this plugin.
    pub(super) fn not_applicable(law: Law, reason: impl Into<String>) -> Check {
        let mut verdict = Self::new(law);
        verdict.outcome = Outcome::NotApplicable;
        verdict.finish(reason.into())
    }

    /// A case that breaks the law.
    pub(super) fn fail(&mut self, finding: Finding) {
        self.outcome = Outcome::Fail;
        self.keep(finding);
    }

    /// A case that may become a problem.
    pub(super) fn warn(&mut self, finding: Finding) {
        if self.outcome == Outcome::Pass {
            self.outcome = Outcome::Warning;
        }
        self.keep(finding);
    }

    fn keep(&mut self, finding: Finding) {
        self.broken += 1;
        if self.findings.len() < KEPT {
            self.findings.push(finding);
        }
    }

    /// How many cases broke the law so far.
    pub(super) const fn broken(&self) -> u64 {
        self.broken
    }

    /// The check, with what was tried.
    pub(super) fn finish(self, summary: String) -> Check {
        Check {
            id: self.law.id,
            law: self.law.says,
            outcome: self.outcome,
            summary,
            findings: self.findings,
            broken: self.broken,
        }
    }
}
