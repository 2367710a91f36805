//! The settings of the data in an experiment, and the way from them to a data set.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::picture::{Dataset, Normalisation};
use super::{DataError, Expected, digits, expected, folder, idx};

/// The kinds of data sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataSet {
    /// The handwritten digits in the binary: 10 classes, grey, 8 x 8 pixels.
    #[default]
    Digits,
    /// A folder with the four files of MNIST and its relatives, in the IDX format.
    Idx,
    /// A folder with folders `train` and `val`, in which every class has a folder of pictures.
    Folder,
}

/// Which pictures to use, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The kind of the data set.
    pub set: DataSet,
    /// The folder of the data set; for `idx` and `folder` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// At most so many training pictures, as many of each class as possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_limit: Option<usize>,
    /// At most so many validation pictures, as many of each class as possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_limit: Option<usize>,
    /// Whether to resize pictures of another size than the model's: the shorter side to the model's
    /// size, then the centre. Default: `true` for `folder`, otherwise `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<bool>,
    /// Mean of each channel, where black is 0 and white 1. Default: measured over the training
    /// pictures before limits; for `folder` the values customary for ImageNet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f32>>,
    /// Standard deviation of each channel, with a default like the mean's; both or none are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f32>>,
    /// Threads that decode and resize pictures. Default: as many as there are cores. They do not
    /// change the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// What the whole data set should hold: checked when it is opened, and enough for `incubate plan`
    /// where its folder is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
}

/// The largest numbers of pictures, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) train: Option<usize>,
    pub(super) validation: Option<usize>,
}

impl DataConfig {
    /// The normalisation that is configured, if one is.
    pub(super) fn normalisation(
        &self,
        channels: usize,
    ) -> Result<Option<Normalisation>, DataError> {
        let setting = |key, value: &[f32], reason: String| DataError::Setting {
            key,
            value: format!("{value:?}"),
            reason,
        };
        let (mean, std) = match (&self.mean, &self.std) {
            (None, None) => return Ok(None),
            (Some(mean), Some(std)) => (mean, std),
            (Some(mean), None) => {
                return Err(setting(
                    "mean",
                    mean,
                    "`std` is missing; set both".to_owned(),
                ));
            }
            (None, Some(std)) => {
                return Err(setting(
                    "std",
                    std,
                    "`mean` is missing; set both".to_owned(),
                ));
            }
        };
        for (key, values) in [("mean", mean), ("std", std)] {
            if values.len() != channels {
                let reason =
                    format!("these pictures have {channels} channels; set {channels} values");
                return Err(setting(key, values, reason));
            }
            if !values.iter().all(|value| value.is_finite()) {
                return Err(setting(key, values, "it has to be finite".to_owned()));
            }
        }
        if std.iter().any(|value| *value <= 0.0) {
            return Err(setting("std", std, "it has to be positive".to_owned()));
        }
        Ok(Some(Normalisation {
            mean: mean.clone(),
            std: std.clone(),
        }))
    }

    fn limits(&self) -> Result<Limits, DataError> {
        for (key, value, reason) in [
            (
                "train_limit",
                self.train_limit,
                "nothing would be trained on; omit it to use all pictures",
            ),
            (
                "validation_limit",
                self.validation_limit,
                "nothing would be measured; omit it to use all pictures",
            ),
            (
                "threads",
                self.threads,
                "somebody has to decode the pictures; omit it to use all cores",
            ),
        ] {
            if value == Some(0) {
                return Err(DataError::Setting {
                    key,
                    value: "0".to_owned(),
                    reason: reason.to_owned(),
                });
            }
        }
        Ok(Limits {
            train: self.train_limit,
            validation: self.validation_limit,
        })
    }

    fn folder(&self, expected: &str) -> Result<&Path, DataError> {
        let Some(path) = &self.path else {
            return Err(DataError::Setting {
                key: "path",
                value: "missing".to_owned(),
                reason: format!("it has to name {expected}"),
            });
        };
        if !path.is_dir() {
            return Err(DataError::FolderMissing {
                path: path.clone(),
                expected: expected.to_owned(),
            });
        }
        Ok(path)
    }
}

/// Opens a data set. Digits and IDX files are read whole; of an image folder only the names are.
///
/// # Errors
///
/// If the configuration contradicts itself, or if data is missing or corrupt.
pub fn open(config: &DataConfig) -> Result<Dataset, DataError> {
    let limits = config.limits()?;
    let dataset = match config.set {
        DataSet::Digits => match &config.path {
            None => digits::open(config, limits),
            Some(path) => Err(DataError::Setting {
                key: "path",
                value: format!("`{}`", path.display()),
                reason: "the set `digits` is part of the program; remove it, or use the set `idx` or `folder`".to_owned(),
            }),
        },
        DataSet::Idx => idx::open(config, config.folder(idx::EXPECTED)?, limits),
        DataSet::Folder => folder::open(config, config.folder(folder::EXPECTED)?, limits),
    }?;
    expected::check(config, &dataset)?;
    Ok(dataset)
}

/// The name of the data set in a folder.
pub(super) fn folder_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
