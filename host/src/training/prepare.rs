//! Everything that can be refused is refused here, before anything is trained.

use std::collections::BTreeMap;

use super::TrainError;
use crate::experiment::{Experiment, PluginConfig, Resolved};
use crate::phase::Phase;
use crate::plugin::{Grants, Kind, Plugin, PluginHost, Settings};
use crate::run::PluginRecord;

/// A plugin with its checked parameters.
#[derive(Debug)]
pub struct Configured {
    /// The plugin.
    pub plugin: Plugin,
    /// Its parameters in force.
    pub settings: Settings,
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

    /// Every plugin for the record of the run, by role.
    pub fn records(&self) -> BTreeMap<String, PluginRecord> {
        let mut records = BTreeMap::from([("partition".to_owned(), record(&self.partition))]);
        for (phase, plugins) in &self.phases {
            records.insert(format!("{phase}.schedule"), record(&plugins.schedule));
            records.insert(format!("{phase}.loss"), record(&plugins.loss));
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
        limits: experiment.partition.limits,
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
    let grants = Grants::from_names(&config.plugin, &config.grants).map_err(refused)?;
    let plugin = host
        .load(&config.plugin, kind, &grants, &config.limits)
        .map_err(refused)?;
    let settings = plugin.settings(&config.parameters).map_err(refused)?;
    Ok(Configured { plugin, settings })
}
