//! The settings of the data in an experiment, and the way from them to a data set.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::normalisation::KnownNormalisation;
use super::picture::Dataset;
use super::{Corrupt, DataError, Expected, digits, expected, folder, idx};

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
    /// This share of the training pictures, as many of each class as possible: 0.25 is a quarter of
    /// them. A larger share has all pictures of a smaller one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_fraction: Option<f64>,
    /// At most so many validation pictures, as many of each class as possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_limit: Option<usize>,
    /// Whether to resize pictures of another size than the model's: the shorter side to the model's
    /// size, then the centre. Default: `true` for `folder`, otherwise `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<bool>,
    /// The share of the shorter side that evaluation sees: it is resized to the model's size divided
    /// by this, rounded down, and the centre is cut out. The paper's recipe has 0.875 for pictures
    /// above 32 pixels. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation_crop: Option<f64>,
    /// `measured` over the training pictures before limits, or `imagenet`, the values customary for
    /// it. Default: `measured`; for `folder` `imagenet`. Not beside `mean` and `std`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<KnownNormalisation>,
    /// Mean of each channel, where black is 0 and white 1. Default: as `normalisation` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<Vec<f32>>,
    /// Standard deviation of each channel, with a default like the mean's; both or none are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<Vec<f32>>,
    /// What happens when a picture of a `folder` cannot be decoded: `abort` names it and ends, `skip`
    /// leaves all such pictures out. Default: `abort`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<Corrupt>,
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
    train: Option<usize>,
    train_fraction: Option<f64>,
    pub(super) validation: Option<usize>,
}

impl Limits {
    /// The largest number of training pictures, of as many as there are.
    pub(super) fn train(&self, pictures: usize) -> Option<usize> {
        let share = |fraction: f64| ((pictures as f64 * fraction).round() as usize).max(1);
        self.train.or(self.train_fraction.map(share))
    }
}

impl DataConfig {
    pub(super) fn limits(&self) -> Result<Limits, DataError> {
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
        if let Some(fraction) = self.train_fraction {
            let reason = if self.train_limit.is_some() {
                "`train_limit` is set, too; take one of them out"
            } else if !(fraction > 0.0 && fraction <= 1.0) {
                "it has to be a share above 0 and up to 1; omit it to use all pictures"
            } else {
                ""
            };
            if !reason.is_empty() {
                return Err(DataError::Setting {
                    key: "train_fraction",
                    value: fraction.to_string(),
                    reason: reason.to_owned(),
                });
            }
        }
        Ok(Limits {
            train: self.train_limit,
            train_fraction: self.train_fraction,
            validation: self.validation_limit,
        })
    }

    /// The share of the shorter side that evaluation sees; `resize` is whether pictures are resized.
    pub(super) fn evaluation_crop(&self, resize: bool) -> Result<f64, DataError> {
        let kept = self.evaluation_crop.unwrap_or(1.0);
        let reason = if !(0.1..=1.0).contains(&kept) {
            "it has to be a share of the shorter side from 0.1 to 1; the paper's recipe has 0.875"
        } else if kept < 1.0 && !resize {
            "pictures of this set are not resized; set `resize = true`, or take it out"
        } else {
            return Ok(kept);
        };
        Err(DataError::Setting {
            key: "evaluation_crop",
            value: kept.to_string(),
            reason: reason.to_owned(),
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
    if config.corrupt == Some(Corrupt::Skip) && config.set != DataSet::Folder {
        return Err(DataError::Setting {
            key: "corrupt",
            value: "\"skip\"".to_owned(),
            reason: "only pictures of the set `folder` are files of their own; take it out"
                .to_owned(),
        });
    }
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
