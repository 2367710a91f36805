//! Everything that can be refused is refused here, before anything is trained.

use std::collections::BTreeMap;

use super::{TeacherFile, TrainError, fallback};
use crate::experiment::{
    Defect, Experiment, LossTerm, PhaseConfig, PluginConfig, Resolved, Teacher,
};
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

impl Configured {
    /// The plugin with version, digest, and parameters, for a message.
    pub(super) fn words(&self) -> String {
        let description = self.plugin.description();
        format!(
            "`{}` {} (sha256 {}) with {}",
            description.name,
            description.version,
            self.plugin.sha256(),
            self.settings.to_json()
        )
    }
}

/// One hook of a loss.
#[derive(Debug)]
pub struct LossPart {
    /// Its place within the phase: `loss`, or `loss.0` and so on in a sum.
    pub name: String,
    /// The plugin.
    pub configured: Configured,
    /// What the experiment says about it.
    pub(super) term: LossTerm,
}

impl LossPart {
    /// The factor of the hook in the loss at one of `updates` updates, from 0.
    pub fn weight_at(&self, update: u64, updates: u64) -> f64 {
        self.term.weight_at(update, updates)
    }
}

/// The plugins of one phase.
#[derive(Debug)]
pub struct PhasePlugins {
    /// The learning-rate schedule.
    pub schedule: Configured,
    /// The hooks of the training loss; at least one.
    pub loss: Vec<LossPart>,
    /// The teacher, if it lies in a file.
    pub teacher: Option<TeacherFile>,
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
            let parts = plugins.loss.iter();
            std::iter::once((format!("{phase}.schedule"), &plugins.schedule))
                .chain(parts.map(move |part| (format!("{phase}.{}", part.name), &part.configured)))
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
    /// reference implementation that are reproduced, grants without use, and teachers.
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
        let teachers = self
            .phases
            .iter()
            .filter(|(phase, _)| self.phase_config(phase).teacher.is_some())
            .map(|(phase, plugins)| {
                let mut parts = plugins.loss.iter();
                if parts.any(|part| part.configured.plugin.asks_teacher()) {
                    format!("the forward passes of the teacher of `{phase}` are in no cost that is planned: how often it is asked is known afterwards, and counted then")
                } else {
                    format!("`{phase}.teacher` names a teacher and no loss of the phase asks it (take the line out)")
                }
            });
        self.reproduced()
            .into_iter()
            .chain(unused.into_iter().map(note))
            .chain(teachers)
            .collect()
    }

    /// The settings of the phase with this table.
    fn phase_config(&self, table: &str) -> &PhaseConfig {
        let experiment = self.experiment();
        match table {
            "meta" => &experiment.meta,
            "module" => &experiment.module,
            "fine-tune" => &experiment.fine_tune,
            _ => &experiment.baseline,
        }
    }

    /// The digest of every teacher that lies in a file, by phase.
    pub fn teachers(&self) -> BTreeMap<String, String> {
        let files = self.phases.iter().filter_map(|(phase, plugins)| {
            let teacher = plugins.teacher.as_ref()?;
            Some(((*phase).to_owned(), teacher.sha256().to_owned()))
        });
        files.collect()
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
        let mut loss = Vec::new();
        for (name, term) in config.loss.terms() {
            let configured = configure(host, &role(&name), &term.config(), Kind::LossHook)?;
            if configured.plugin.asks_teacher() && config.teacher.is_none() {
                return Err(TrainError::PluginRefused {
                    role: role(&name),
                    source: configured.plugin.without_teacher(phase.kind()),
                });
            }
            loss.push(LossPart {
                name,
                configured,
                term,
            });
        }
        let plugins = PhasePlugins {
            schedule: configure(host, &role("schedule"), &config.schedule, Kind::LrSchedule)?,
            loss,
            teacher: match &config.teacher {
                Some(Teacher::Checkpoint(given)) => {
                    Some(TeacherFile::look(experiment, phase, given)?)
                }
                Some(Teacher::Meta) | None => None,
            },
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
