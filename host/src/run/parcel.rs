//! A finished unit on its way from one run folder to another: its weights with what made them.
//!
//! A parcel comes from somebody else, so nothing in it is believed: every file is parsed with
//! bounds and compared with the others before a parcel exists. Whether it fits a run is decided
//! where networks are built (`training::receive`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::folder::write_whole;
use super::{Change, FORMAT, RunError, RunFolder, RunRecord, Unit, UnitResult};
use crate::digest::sha256;
use crate::experiment::{Experiment, wrong_name};
use crate::file;
use crate::plugin::plain;

/// The media type of a parcel's description.
pub const PARCEL_TYPE: &str = "application/vnd.incubate.unit.config.v1+json";

/// Bytes of a description, a record, a result, or an experiment that are read at most.
const TEXT_BYTES_MAX: usize = 16 << 20;

/// Characters of a strange text that an error shows.
const SHOWN: usize = 120;

/// The files of a parcel besides its description: name and media type.
const FILES: [(&str, &str); 4] = [
    ("experiment.toml", "application/toml"),
    ("run.json", "application/json"),
    ("result.json", "application/json"),
    (
        "weights.safetensors",
        "application/vnd.incubate.weights.v1.safetensors",
    ),
];

/// What a parcel says about itself without its weights; `unit.json` in a folder, the config of an
/// artefact in a registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitDescription {
    /// The version of this layout.
    pub format: u32,
    /// The version of the program that trained the unit.
    pub host_version: String,
    /// The name of the experiment.
    pub experiment: String,
    /// The unit: `meta`, `module.2`, …
    pub unit: String,
    /// K, the number of modules of the network.
    pub modules: usize,
    /// The digest of the meta model that a module was trained against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta_sha256: Option<String>,
    /// The digest of the pictures.
    pub data_sha256: String,
    /// `name@version sha256:…` of every plugin that took part, by role.
    pub plugins: BTreeMap<String, String>,
    /// The digest of every file of the parcel.
    pub files: BTreeMap<String, String>,
}

/// One file of a parcel.
#[derive(Clone, Debug)]
pub struct ParcelFile {
    /// Its name, without a folder.
    pub name: &'static str,
    /// Its media type.
    pub media_type: &'static str,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// A finished unit with what made it, known to be consistent in itself.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// What it is.
    pub unit: Unit,
    /// The description.
    pub description: UnitDescription,
    /// Every setting that was in force.
    pub experiment: Experiment,
    /// The record of the run that it comes from.
    pub record: RunRecord,
    /// What training reached.
    pub result: UnitResult,
    files: Vec<ParcelFile>,
}

/// A parcel that cannot be used.
#[derive(Debug, Error)]
pub enum ParcelError {
    /// A file cannot be read or written, or the run folder is damaged.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The folder holds no run.
    #[error("`{}` holds no run (give the folder that `incubate run` wrote)", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// A unit that the run does not have, or that is not shared.
    #[error("there is no unit `{name}` to share (there are: {known})")]
    UnknownUnit {
        /// What was given.
        name: String,
        /// The units that can be shared.
        known: String,
    },
    /// A unit that was begun before the experiment of its run changed: its parcel would not say what it
    /// was trained with.
    #[error("`{name}` was begun before the experiment of `{}` changed, so the settings that would go with it are not those that it was trained with; to share it, delete the folder `units/{name}` and run the unit again", path.display())]
    Older {
        /// The unit.
        name: String,
        /// The run folder.
        path: PathBuf,
    },
    /// A file is not there.
    #[error("`{from}` is no unit: it has no `{file}` (a unit is shared with `incubate unit push`)")]
    Missing {
        /// Where the parcel comes from.
        from: String,
        /// The file.
        file: &'static str,
    },
    /// A file does not hold what it should.
    #[error(
        "`{file}` of the unit from `{from}` cannot be used: {reason} (fetch it again, or ask who pushed it)"
    )]
    File {
        /// Where the parcel comes from.
        from: String,
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
}

impl Parcel {
    /// The unit `name` of the run in `folder`.
    ///
    /// # Errors
    /// There is no run, no such unit, or it is not finished; a file is damaged.
    pub fn of(folder: &Path, name: &str) -> Result<Self, ParcelError> {
        let (run, experiment, record) =
            RunFolder::open(folder)?.ok_or_else(|| ParcelError::NoRun {
                path: folder.to_path_buf(),
            })?;
        let modules = record.division.len();
        let unit = Unit::parse(name, modules).ok_or_else(|| ParcelError::UnknownUnit {
            name: name.to_owned(),
            known: Unit::all(modules)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        })?;
        let (weights, result) = run.weights(unit, "push")?;
        let before = |change: &Change| change.finished.get(name) == Some(&result.weights_sha256);
        if result.changed || record.changes.iter().any(before) {
            return Err(ParcelError::Older {
                name: name.to_owned(),
                path: folder.to_path_buf(),
            });
        }
        let files: Vec<ParcelFile> = FILES
            .into_iter()
            .zip([
                run.experiment_bytes()?,
                run.record_bytes()?,
                run.result_bytes(unit)?,
                weights,
            ])
            .map(|((name, media_type), bytes)| ParcelFile {
                name,
                media_type,
                bytes,
            })
            .collect();
        let description = UnitDescription {
            format: FORMAT,
            host_version: record.host_version.clone(),
            experiment: experiment.name.clone(),
            unit: unit.to_string(),
            modules,
            meta_sha256: result.built_from.get("meta").cloned(),
            data_sha256: record.basis.data_sha256.clone(),
            plugins: plugins(&record),
            files: digests(&files),
        };
        Ok(Self {
            unit,
            description,
            experiment,
            record,
            result,
            files,
        })
    }

    /// The parcel in these bytes; `from` names its origin in errors.
    ///
    /// # Errors
    /// A file is missing, too large, of another digest than described, or no such file at all; or
    /// the files contradict each other.
    pub fn from_bytes(
        from: &str,
        description: &[u8],
        mut contents: BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, ParcelError> {
        let bad = |file: &str, reason: String| ParcelError::File {
            from: from.to_owned(),
            file: file.to_owned(),
            reason,
        };
        let description: UnitDescription =
            json(description).map_err(|why| bad("unit.json", why))?;
        if description.format > FORMAT {
            return Err(bad(
                "unit.json",
                format!(
                    "it has format {}, and this program reads up to {FORMAT}; use a newer one",
                    description.format
                ),
            ));
        }
        let mut files = Vec::new();
        for (name, media_type) in FILES {
            let bytes = contents.remove(name).ok_or_else(|| ParcelError::Missing {
                from: from.to_owned(),
                file: name,
            })?;
            files.push(ParcelFile {
                name,
                media_type,
                bytes,
            });
        }
        let found = digests(&files);
        for file in &files {
            if description.files.get(file.name) != found.get(file.name) {
                return Err(bad(
                    file.name,
                    format!(
                        "its sha256 is {}, and the description says {}",
                        found[file.name],
                        description
                            .files
                            .get(file.name)
                            .map_or("nothing", String::as_str)
                    ),
                ));
            }
        }
        let bytes = |position: usize| files[position].bytes.as_slice();
        let experiment: Experiment = text(bytes(0))
            .and_then(|text| toml::from_str(text).map_err(|error| error.message().to_owned()))
            .map_err(|why| bad("experiment.toml", why))?;
        let record: RunRecord = json(bytes(1)).map_err(|why| bad("run.json", why))?;
        let result: UnitResult = json(bytes(2)).map_err(|why| bad("result.json", why))?;
        if record.basis.experiment_sha256 != found["experiment.toml"] {
            return Err(bad(
                "run.json",
                "it was written for another `experiment.toml`".to_owned(),
            ));
        }
        if result.weights_sha256 != found["weights.safetensors"] {
            return Err(bad(
                "result.json",
                format!(
                    "it says that the weights have the sha256 {}, and they have {}",
                    result.weights_sha256, found["weights.safetensors"]
                ),
            ));
        }
        let sum: u64 = record
            .division
            .iter()
            .map(|depth| u64::from(depth.target))
            .sum();
        if record.division.len() != experiment.partition.modules
            || sum != experiment.model.depth() as u64
        {
            return Err(bad(
                "run.json",
                "its division does not fit the experiment's model".to_owned(),
            ));
        }
        if let Some(reason) = wrong_name(&experiment.name) {
            let name = plain(&experiment.name, SHOWN);
            return Err(bad(
                "experiment.toml",
                format!("its `name` is `{name}`, {reason}"),
            ));
        }
        let values = [
            ("experiment.toml", serde_json::to_value(&experiment)),
            ("run.json", serde_json::to_value(&record)),
            ("result.json", serde_json::to_value(&result)),
        ];
        for (file, value) in values {
            // Plain data always has a JSON form.
            if let Some(text) = value.ok().as_ref().and_then(active_text) {
                let shown = plain(&text, SHOWN);
                return Err(bad(
                    file,
                    format!(
                        "a terminal would carry out a text of it instead of showing it: {shown}"
                    ),
                ));
            }
        }
        let unit = Unit::parse(&result.unit, record.division.len()).ok_or_else(|| {
            bad(
                "result.json",
                format!("the run has no unit `{}`", result.unit),
            )
        })?;
        let truth = UnitDescription {
            format: description.format,
            host_version: record.host_version.clone(),
            experiment: experiment.name.clone(),
            unit: unit.to_string(),
            modules: record.division.len(),
            meta_sha256: result.built_from.get("meta").cloned(),
            data_sha256: record.basis.data_sha256.clone(),
            plugins: plugins(&record),
            files: found,
        };
        if truth != description {
            return Err(bad(
                "unit.json",
                "it says something else than the files it describes".to_owned(),
            ));
        }
        Ok(Self {
            unit,
            description,
            experiment,
            record,
            result,
            files,
        })
    }

    /// The parcel in the folder `path`, as [`Self::write`] left it.
    ///
    /// # Errors
    /// As [`Self::from_bytes`]; a file cannot be read.
    pub fn read(path: &Path) -> Result<Self, ParcelError> {
        let from = path.display().to_string();
        let mut contents = BTreeMap::new();
        let mut description = None;
        for name in FILES
            .into_iter()
            .map(|(name, _)| name)
            .chain([DESCRIPTION_FILE])
        {
            let file = path.join(name);
            let most = if name == "weights.safetensors" {
                file::WEIGHTS
            } else {
                TEXT_BYTES_MAX as u64
            };
            let bytes = file::read(&file, most).map_err(|source| {
                if source.kind() == std::io::ErrorKind::NotFound {
                    ParcelError::Missing {
                        from: from.clone(),
                        file: name,
                    }
                } else {
                    RunError::File {
                        action: "read",
                        path: file,
                        source,
                    }
                    .into()
                }
            })?;
            if name == DESCRIPTION_FILE {
                description = Some(bytes);
            } else {
                contents.insert(name.to_owned(), bytes);
            }
        }
        Self::from_bytes(&from, &description.unwrap_or_default(), contents)
    }

    /// Writes the parcel into the folder `path`, which must be empty or new; the description comes
    /// last, so that a folder with one is whole.
    ///
    /// # Errors
    /// There is something in the folder, or a file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), ParcelError> {
        let occupied =
            path.is_file() || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
        if occupied {
            return Err(RunError::File {
                action: "write",
                path: path.to_path_buf(),
                source: std::io::Error::other("it is not empty; choose another folder"),
            }
            .into());
        }
        for file in &self.files {
            write_whole(&path.join(file.name), &file.bytes)?;
        }
        write_whole(&path.join(DESCRIPTION_FILE), &self.description_bytes())?;
        Ok(())
    }

    /// The description as JSON.
    pub fn description_bytes(&self) -> Vec<u8> {
        // Plain data always has a JSON form.
        serde_json::to_vec_pretty(&self.description).unwrap_or_default()
    }

    /// The files besides the description.
    pub fn files(&self) -> &[ParcelFile] {
        &self.files
    }

    /// The weights, as a safetensors file.
    pub fn weights(&self) -> &[u8] {
        self.bytes_of("weights.safetensors")
    }

    /// The experiment as it was recorded.
    pub(super) fn bytes_of(&self, name: &str) -> &[u8] {
        self.files
            .iter()
            .find(|file| file.name == name)
            .map_or(&[], |file| &file.bytes)
    }
}

/// The description in a folder.
const DESCRIPTION_FILE: &str = "unit.json";

/// The plugins of a run in one line each.
fn plugins(record: &RunRecord) -> BTreeMap<String, String> {
    record
        .basis
        .plugins
        .iter()
        .map(|(role, plugin)| {
            (
                role.clone(),
                format!(
                    "{}@{} sha256:{}",
                    plugin.name, plugin.version, plugin.sha256
                ),
            )
        })
        .collect()
}

fn digests(files: &[ParcelFile]) -> BTreeMap<String, String> {
    files
        .iter()
        .map(|file| (file.name.to_owned(), sha256(&file.bytes)))
        .collect()
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(format!(
            "it has {} bytes, more than the {TEXT_BYTES_MAX} that are read",
            bytes.len()
        ));
    }
    std::str::from_utf8(bytes).map_err(|error| error.to_string())
}

fn json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    text(bytes).and_then(|text| serde_json::from_str(text).map_err(|error| error.to_string()))
}

/// The first text in a value that a terminal does not show as it is. Lines may end.
fn active_text(value: &Value) -> Option<String> {
    let active = |text: &str| {
        let text = text.replace(['\n', '\t'], " ");
        (plain(&text, usize::MAX) != text).then_some(text)
    };
    match value {
        Value::String(text) => active(text),
        Value::Array(values) => values.iter().find_map(active_text),
        Value::Object(fields) => fields
            .iter()
            .find_map(|(key, value)| active(key).or_else(|| active_text(value))),
        _ => None,
    }
}
