//! Everything that can be refused is refused here, before anything is trained.

use std::collections::BTreeMap;

use super::{TrainError, fallback};
use crate::experiment::{Defect, Experiment, PluginConfig, Resolved};
use crate::phase::Phase;
use crate::plugin::{Kind, LimitsConfig, Plugin, PluginHost, Settings};
use crate::run::PluginRecord;

/// A plugin with its checked parameters.
#[derive(Debug)]
pub struct Configured {
    /// The plugin.
    pub plugin: Plugin,
    /// Its parameters in force.
    pub settings: Settings,
    /// How much it may use, with the reason for more than usual.
    pub limits: LimitsConfig,
    /// The built-in plugin that goes on in its place when it fails, if the experiment names one.
    pub fallback: Option<Box<Self>>,
}

/// The plugins of one phase.
#[derive(Debug)]
pub struct PhasePlugins {
    /// The learning-rate schedule.
    pub schedule: Configured,
    /// The training loss.
    pub loss: Configured,
}

/// An experiment whose plugins are loaded and whose parameters are checked.
#[derive(Debug)]
pub struct Prepared {
    /// The experiment with its pictures.
    pub resolved: Resolved,
    /// The partition scheme.
    pub partition: Configured,
    /// Bytes of recorded calls of plugins that each unit keeps, when they are to be recorded.
    pub record_calls: Option<u64>,
    /// The plugins of each phase, by [`Phase::kind`].
    phases: BTreeMap<&'static str, PhasePlugins>,
}

impl Prepared {
    /// The experiment.
    pub fn experiment(&self) -> &Experiment {
        &self.resolved.experiment
    }

    /// The plugins of a phase.
    pub fn phase(&self, phase: Phase) -> &PhasePlugins {
        &self.phases[phase.kind()]
    }

    /// Every plugin with the name of its role: `partition`, `meta.schedule`, `meta.loss`, …
    fn roles(&self) -> impl Iterator<Item = (String, &Configured)> {
        let phases = self.phases.iter().flat_map(|(phase, plugins)| {
            [
                (format!("{phase}.schedule"), &plugins.schedule),
                (format!("{phase}.loss"), &plugins.loss),
            ]
        });
        std::iter::once(("partition".to_owned(), &self.partition)).chain(phases)
    }

    /// The defects of the reference implementation that are reproduced, one sentence each.
    pub fn reproduced(&self) -> Vec<String> {
        let sentence = |defect: Defect| {
            format!(
                "reference compatibility `{}`: {}, as in the reference implementation",
                defect.name(),
                defect.effect()
            )
        };
        let defects = self.experiment().reference.defects();
        defects.map(sentence).collect()
    }

    /// What a person should know and nothing is refused for, one sentence each: defects of the
    /// reference implementation that are reproduced, and grants without use.
    pub fn notes(&self) -> Vec<String> {
        let mut unused: BTreeMap<(String, &str), Vec<String>> = BTreeMap::new();
        for (role, configured) in self.roles() {
            let plugin = &configured.plugin;
            for grant in plugin.unused_grants() {
                unused
                    .entry((plugin.identity().to_string(), grant.name()))
                    .or_default()
                    .push(format!("`{role}`"));
            }
        }
        let note = |((plugin, grant), roles): ((String, &str), Vec<String>)| {
            format!(
                "{plugin} has the grant `{grant}` in {} and does not import what it opens (take the line out)",
                roles.join(", ")
            )
        };
        self.reproduced()
            .into_iter()
            .chain(unused.into_iter().map(note))
            .collect()
    }

    /// Every plugin for the record of the run, by role.
    pub fn records(&self) -> BTreeMap<String, PluginRecord> {
        let mut records = BTreeMap::new();
        for (role, configured) in self.roles() {
            if let Some(fallback) = &configured.fallback {
                records.insert(format!("{role}.fallback"), record(fallback));
            }
            records.insert(role, record(configured));
        }
        records
    }
}

/// What the record of the run says about a plugin.
fn record(configured: &Configured) -> PluginRecord {
    let plugin = &configured.plugin;
    PluginRecord {
        name: plugin.description().name.clone(),
        version: plugin.description().version.to_string(),
        origin: plugin.origin().to_string(),
        sha256: plugin.sha256().to_owned(),
        imports: plugin.imports().to_vec(),
        grants: plugin.grants().clone(),
        limits: configured.limits.clone(),
    }
}

/// Loads every plugin that the experiment names and checks its parameters.
///
/// # Errors
/// When a plugin is missing, refused, of another kind, or does not take its parameters.
pub fn prepare(resolved: Resolved, host: &PluginHost) -> Result<Prepared, TrainError> {
    let experiment = &resolved.experiment;
    let partition = PluginConfig {
        plugin: experiment.partition.plugin.clone(),
        grants: experiment.partition.grants.clone(),
        parameters: experiment.partition.parameters.clone(),
        limits: experiment.partition.limits.clone(),
        on_failure: experiment.partition.on_failure.clone(),
    };
    let partition = configure(host, "partition", &partition, Kind::PartitionScheme)?;
    let mut phases = BTreeMap::new();
    for phase in [
        Phase::Meta,
        Phase::Module(0),
        Phase::FineTune,
        Phase::Baseline,
    ] {
        let config = experiment.phase(phase);
        let role = |name: &str| format!("{}.{name}", phase.kind());
        let plugins = PhasePlugins {
            schedule: configure(host, &role("schedule"), &config.schedule, Kind::LrSchedule)?,
            loss: configure(host, &role("loss"), &config.loss, Kind::LossHook)?,
        };
        phases.insert(phase.kind(), plugins);
    }
    Ok(Prepared {
        resolved,
        partition,
        record_calls: None,
        phases,
    })
}

/// Loads one plugin and checks its parameters.
fn configure(
    host: &PluginHost,
    role: &str,
    config: &PluginConfig,
    kind: Kind,
) -> Result<Configured, TrainError> {
    let refused = |source| TrainError::PluginRefused {
        role: role.to_owned(),
        source,
    };
    let plugin = host
        .load(&config.plugin, kind, &config.grants, &config.limits.limits)
        .map_err(refused)?;
    let settings = plugin.settings(&config.parameters).map_err(refused)?;
    let fallback = fallback::load(host, role, &config.on_failure, kind)?;
    Ok(Configured {
        plugin,
        settings,
        limits: config.limits.clone(),
        fallback,
    })
}
