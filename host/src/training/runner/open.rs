//! Opening the run in a folder: a new one, or one that goes on with the same experiment, or with
//! another that somebody wants all the same.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Table;

use super::Runner;
use crate::device::Chosen;
use crate::digest;
use crate::run::{Basis, Change, FORMAT, RunError, RunFolder, RunRecord, Unit};
use crate::stop::Stop;
use crate::training::difference::{Difference, differences, lines};
use crate::training::division::{Division, divide};
use crate::training::start::StartFile;
use crate::training::{Prepared, TrainError, precision, rates, weights};

/// The tables that decide which networks a run has; nothing that is finished would fit others.
const FIXED: [&str; 2] = ["model.", "partition."];

/// What becomes of a run whose experiment, plugins, or pictures are not those that it began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is left as it is.
    Refused,
    /// It goes on: what is finished stays as it is, and the rest is trained with what is asked for
    /// now.
    Accepted,
}

/// A run that is there, and what is asked of it now.
struct Found {
    folder: RunFolder,
    recorded: Table,
    record: RunRecord,
}

impl Runner {
    /// Opens the run in `path`, or begins one there.
    ///
    /// # Errors
    /// When the device does not compute in a precision that the experiment asks for; when the folder
    /// holds something else; when the experiment, the plugins, or the pictures changed since the run
    /// began and that is refused, or other networks are asked for; when the partition scheme fails.
    pub fn open(
        prepared: Prepared,
        path: &Path,
        device: Chosen,
        changed: Changed,
    ) -> Result<Self, TrainError> {
        precision::check(prepared.experiment(), &device)?;
        let toml = toml::to_string(prepared.experiment()).map_err(|error| {
            std::io::Error::other(format!("cannot write the experiment as TOML: {error}"))
        })?;
        let basis = Basis {
            experiment_sha256: digest::sha256(toml.as_bytes()),
            data_sha256: prepared.resolved.dataset.digest.clone(),
            plugins: prepared.records(),
            teachers: prepared.teachers(),
            left_out: prepared.resolved.dataset.left_out_names(),
        };
        let (folder, record) = match RunFolder::open(path)? {
            Some((folder, experiment, record)) => {
                let found = Found {
                    folder,
                    recorded: experiment.identity(),
                    record,
                };
                found.go_on(&prepared, &toml, basis, changed)?
            }
            None => begin(&prepared, path, &toml, basis, &device)?,
        };
        Ok(Self {
            prepared,
            division: record.division,
            fallbacks: record.fallbacks,
            changes: record.changes,
            folder,
            device,
            stop: Stop::default(),
        })
    }
}

/// Begins a run.
fn begin(
    prepared: &Prepared,
    path: &Path,
    toml: &str,
    basis: Basis,
    device: &Chosen,
) -> Result<(RunFolder, RunRecord), TrainError> {
    let Division {
        depths: division,
        replaced,
        calls,
    } = divide(prepared, &device.device)?;
    weights::check_grants(prepared, &division)?;
    StartFile::check_all(prepared.experiment(), &division)?;
    rates::check_schedules(prepared, &division)?;
    let record = RunRecord {
        format: FORMAT,
        host_version: env!("CARGO_PKG_VERSION").to_owned(),
        basis,
        division,
        fallbacks: replaced.into_iter().collect(),
        changes: Vec::new(),
    };
    let folder = RunFolder::create(path, toml, &record)?;
    if let Some(bytes) = prepared.record_calls {
        let mut writer = folder.call_writer(None, bytes)?;
        for call in &calls {
            writer.write(call)?;
        }
    }
    Ok((folder, record))
}

impl Found {
    /// Compares the run with what is asked of it now.
    fn go_on(
        mut self,
        prepared: &Prepared,
        toml: &str,
        basis: Basis,
        changed: Changed,
    ) -> Result<(RunFolder, RunRecord), TrainError> {
        let settings = differences(&self.recorded, &prepared.experiment().identity());
        let refused = |differences, fixed| {
            TrainError::from(RunError::OtherExperiment {
                path: self.folder.path().to_path_buf(),
                differences,
                fixed,
            })
        };
        if changed == Changed::Refused && !settings.is_empty() {
            return Err(refused(lines(&settings), false));
        }
        let is_fixed = |one: &&Difference| FIXED.iter().any(|table| one.key.starts_with(table));
        let fixed: Vec<&Difference> = settings.iter().filter(is_fixed).collect();
        if !fixed.is_empty() {
            return Err(refused(lines(fixed), true));
        }
        let files = self.changed_files(&basis);
        if let Some((what, before, now)) = files.first().filter(|_| changed == Changed::Refused) {
            return Err(TrainError::Changed {
                what: what.clone(),
                before: before.clone(),
                now: now.clone(),
            });
        }
        let each = settings.iter().map(Difference::change);
        let of_files = files
            .iter()
            .map(|(what, before, now)| format!("{what}: sha256 {before} → {now}"));
        let differences: Vec<String> = each.chain(of_files).collect();
        if !differences.is_empty() {
            self.change(toml, basis, differences)?;
        }
        Ok((self.folder, self.record))
    }

    /// The files that are not what they were: what they are, and both digests.
    fn changed_files(&self, now: &Basis) -> Vec<(String, String, String)> {
        let before = &self.record.basis;
        let plugins = before.plugins.iter().filter_map(|(role, before)| {
            let now = now.plugins.get(role)?;
            let what = format!("the plugin for `{role}` ({})", before.origin);
            Some((what, before.sha256.clone(), now.sha256.clone()))
        });
        let teachers = before.teachers.iter().filter_map(|(phase, before)| {
            let now = now.teachers.get(phase)?;
            Some((
                format!("the teacher of `{phase}`"),
                before.clone(),
                now.clone(),
            ))
        });
        let pictures = (
            "the pictures".to_owned(),
            before.data_sha256.clone(),
            now.data_sha256.clone(),
        );
        plugins
            .chain(teachers)
            .chain([pictures])
            .filter(|(_, before, now)| before != now)
            .collect()
    }

    /// Writes down that the run goes on with something else.
    fn change(
        &mut self,
        toml: &str,
        now: Basis,
        differences: Vec<String>,
    ) -> Result<(), TrainError> {
        let mut finished = BTreeMap::new();
        for unit in Unit::all(self.record.division.len()) {
            if let Some(result) = self.folder.result(unit)? {
                finished.insert(unit.to_string(), result.weights_sha256);
            }
            // Nobody may be at work with what is changed; who is gone is no hindrance.
            if self.folder.lease_of(unit).is_some() {
                drop(self.folder.hold(unit, &Stop::default(), |_| Ok(()))?);
            }
        }
        let before = std::mem::replace(&mut self.record.basis, now);
        self.record.changes.push(Change {
            before,
            differences,
            finished,
        });
        Ok(self.folder.change(toml, &self.record)?)
    }
}
