//! Where plugins come from on the command line: options, the lock file, and what is said about it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::arguments::ExperimentOptions;
use super::sandbox::{cache_folder, plugin_host};
use crate::experiment::{Experiment, Resolved};
use crate::lock::{LOCK, Pin, Project, Usage};
use crate::phase::Phase;
use crate::plugin::{Inspection, Origin, PluginHost, Reference};
use crate::registry::Access;
use crate::run::RunRecord;
use crate::training::{Prepared, prepare};

/// How servers are reached.
#[derive(Debug, Default, Args)]
pub(super) struct AccessOptions {
    /// Allow plain http to registries and servers other than this machine: passwords can be read on
    /// the way. Certificates are checked all the same.
    #[arg(long)]
    insecure: bool,
    /// Certificates (PEM) of authorities to trust besides the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Which lock file.
#[derive(Debug, Args)]
pub(super) struct LockOptions {
    /// The lock file.
    #[arg(long, value_name = "FILE", default_value = LOCK)]
    lock: PathBuf,
}

/// Where the plugins of an experiment come from.
#[derive(Debug, Args)]
pub(super) struct SourceOptions {
    /// Refuse plugins that are not in the lock file instead of adding them.
    #[arg(long)]
    locked: bool,
    /// The lock file. Default: incubate.lock beside the experiment, or here for a built-in one.
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    #[command(flatten)]
    access: AccessOptions,
}

impl AccessOptions {
    /// The options as the client takes them.
    pub(super) fn access(&self) -> Access {
        Access {
            insecure: self.insecure,
            ca_file: self.ca_file.clone(),
            ..Access::default()
        }
    }
}

impl LockOptions {
    /// The project of the lock file.
    pub(super) fn project(&self, access: &AccessOptions) -> Result<Project> {
        let cache = cache_folder();
        Ok(Project::open(
            &self.lock,
            cache.as_deref(),
            access.access(),
        )?)
    }
}

/// The experiment, known on the command line as `name`, with its plugins: fetched, verified, loaded.
pub(super) fn prepared(
    resolved: Resolved,
    name: Option<&str>,
    options: &SourceOptions,
) -> Result<Prepared> {
    let mut host = plugin_host()?;
    supply(&mut host, &resolved.experiment, name, options)?;
    Ok(prepare(resolved, &host)?)
}

/// Fetches and verifies the plugins of an experiment for the sandbox, and says what was pinned.
fn supply(
    host: &mut PluginHost,
    experiment: &Experiment,
    name: Option<&str>,
    options: &SourceOptions,
) -> Result<()> {
    let beside = name
        .map(Path::new)
        .filter(|file| file.is_file())
        .and_then(Path::parent)
        .map_or_else(|| PathBuf::from(LOCK), |folder| folder.join(LOCK));
    let path = options.lock.as_ref().unwrap_or(&beside);
    let references = references(experiment);
    let remote = references
        .keys()
        .any(|reference| Reference::is_remote(reference));
    if !remote && !path.exists() {
        return Ok(());
    }
    let cache = cache_folder();
    let mut project = Project::open(path, cache.as_deref(), options.access.access())?;
    for reference in references.keys() {
        if let Usage::Pinned(pin) = project.supply(host, reference, options.locked)? {
            notice(&format!("pinned {} in {}", title(&pin), path.display()));
        }
    }
    Ok(())
}

/// The experiment that is meant: the one that is named, or else the one that the run folder records.
pub(super) fn experiment_of(options: &ExperimentOptions, out: Option<&Path>) -> Option<String> {
    let recorded = || {
        let file = out?.join("experiment.toml");
        file.is_file().then(|| file.display().to_string())
    };
    options.experiment.clone().or_else(recorded)
}

/// The experiment of a run that is there, with the plugins that its record names.
pub(super) fn recorded(experiment: Experiment, record: &RunRecord) -> Result<Prepared> {
    let mut host = plugin_host()?;
    supply_recorded(&mut host, &experiment, record)?;
    Ok(prepare(Resolved::recorded(experiment)?, &host)?)
}

/// Makes the sandbox know the plugins of a run by the digests in its record.
fn supply_recorded(
    host: &mut PluginHost,
    experiment: &Experiment,
    record: &RunRecord,
) -> Result<()> {
    let references = references(experiment);
    if !references.keys().any(|one| Reference::is_remote(one)) {
        return Ok(());
    }
    let cache = cache_folder();
    let project = Project::open(Path::new(LOCK), cache.as_deref(), Access::default())?;
    for (reference, role) in references {
        if let Some(plugin) = record.basis.plugins.get(&role) {
            project.supply_recorded(host, reference, &plugin.sha256)?;
        }
    }
    Ok(())
}

/// Looks at any plugin, wherever it is.
pub(super) fn look(
    reference: &str,
    lock: &LockOptions,
    access: &AccessOptions,
) -> Result<Inspection> {
    let mut host = plugin_host()?;
    if !Reference::is_remote(reference) {
        return Ok(host.inspect(reference)?);
    }
    Ok(lock.project(access)?.look(&mut host, reference)?.0)
}

/// A plugin that is not on this machine, with where it came from: the pinned one, or else the newest.
/// None for one that the sandbox finds itself.
pub(super) fn fetched(
    reference: &str,
    lock: &LockOptions,
    access: &AccessOptions,
) -> Result<Option<(Origin, Vec<u8>)>> {
    if !Reference::is_remote(reference) {
        return Ok(None);
    }
    let (inspection, bytes, _) = lock.project(access)?.look(&mut plugin_host()?, reference)?;
    Ok(Some((inspection.origin, bytes)))
}

/// A pin in a line: reference, version, and digest.
pub(super) fn title(pin: &Pin) -> String {
    format!(
        "{}: {} {} ({}), sha256 {}",
        pin.reference, pin.name, pin.version, pin.kind, pin.sha256
    )
}

/// A line for a person.
pub(super) fn notice(line: &str) {
    // A closed standard error has nobody left to tell.
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// The references of an experiment, each with one of the roles that it has in the record of a run.
fn references(experiment: &Experiment) -> BTreeMap<&str, String> {
    let mut references =
        BTreeMap::from([(experiment.partition.plugin.as_str(), "partition".to_owned())]);
    for phase in [
        Phase::Meta,
        Phase::Module(0),
        Phase::FineTune,
        Phase::Baseline,
    ] {
        let config = experiment.phase(phase);
        let role = |name: &str| format!("{}.{name}", phase.kind());
        references.insert(&config.schedule.plugin, role("schedule"));
        for (name, plugin) in config.loss.plugins() {
            references.insert(plugin, role(&name));
        }
    }
    references
}
