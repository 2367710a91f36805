//! What a data set should hold, as its experiment says: checked when it is opened, and enough to plan a
//! run on a machine that does not have the pictures.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::config::{DataConfig, folder_name, open};
use super::normalisation::Normalisation;
use super::picture::{Dataset, Picture, Pictures};
use super::{DataError, DataSet, Part};

/// Numbers of a whole data set, before limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Classes.
    pub classes: usize,
    /// Training pictures.
    pub train: usize,
    /// Validation pictures.
    pub validation: usize,
    /// Width and height of every picture, for `idx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture_size: Option<usize>,
}

/// Opens a data set, or makes one of numbers alone where its folder is missing and the configuration
/// says what to expect. The second value is that folder.
///
/// # Errors
/// As [`open`], and where a number that is expected is 0.
pub fn open_or_expect(config: &DataConfig) -> Result<(Dataset, Option<PathBuf>), DataError> {
    match (&config.expected, &config.path) {
        (Some(expected), Some(path)) if config.set != DataSet::Digits && !path.is_dir() => {
            Ok((absent(config, expected, path)?, Some(path.clone())))
        }
        _ => Ok((open(config)?, None)),
    }
}

/// Compares a data set with what is expected of it, limits applied.
pub(super) fn check(config: &DataConfig, dataset: &Dataset) -> Result<(), DataError> {
    let Some(expected) = &config.expected else {
        return Ok(());
    };
    let limits = config.limits()?;
    // What is expected counts the files, whatever is in them.
    let whole = |expected: usize, part: Part| {
        let left_out = dataset.left_out.iter().filter(|one| one.part == part);
        expected.saturating_sub(left_out.count())
    };
    let train = whole(expected.train, Part::Train);
    let numbers = [
        (
            "expected.classes",
            expected.classes,
            expected.classes,
            dataset.classes.len(),
        ),
        (
            "expected.train",
            expected.train,
            limited(train, limits.train(train)),
            dataset.train.len(),
        ),
        (
            "expected.validation",
            expected.validation,
            limited(
                whole(expected.validation, Part::Validation),
                limits.validation,
            ),
            dataset.validation.len(),
        ),
    ];
    match numbers
        .into_iter()
        .find(|(_, _, wanted, found)| wanted != found)
    {
        None => Ok(()),
        Some((key, given, _, found)) => Err(DataError::Setting {
            key,
            value: given.to_string(),
            reason: format!(
                "{} has {found}{} (complete the data set, or correct `data.expected`, or take it out)",
                dataset.name,
                match dataset.left_out.len() {
                    0 => String::new(),
                    count => format!(", and {count} files that cannot be decoded in both parts"),
                }
            ),
        }),
    }
}

/// How many of so many pictures a limit leaves.
fn limited(pictures: usize, limit: Option<usize>) -> usize {
    limit.unwrap_or(pictures).min(pictures)
}

/// A data set of numbers alone.
fn absent(config: &DataConfig, expected: &Expected, path: &Path) -> Result<Dataset, DataError> {
    for (key, value) in [
        ("expected.classes", expected.classes),
        ("expected.train", expected.train),
        ("expected.validation", expected.validation),
    ] {
        if value == 0 {
            return Err(DataError::Setting {
                key,
                value: "0".to_owned(),
                reason: "a data set has at least one".to_owned(),
            });
        }
    }
    let limits = config.limits()?;
    let part = |pictures: usize, limit: Option<usize>| {
        Arc::new(Absent {
            path: path.to_path_buf(),
            pictures: limited(pictures, limit),
            classes: expected.classes,
        })
    };
    let grey = config.set == DataSet::Idx;
    let channels = if grey { 1 } else { 3 };
    let resize = config.resize.unwrap_or(!grey);
    Ok(Dataset {
        name: folder_name(path),
        classes: (0..expected.classes)
            .map(|class| class.to_string())
            .collect(),
        channels,
        picture_size: expected.picture_size.map(|size| (size, size)),
        resize,
        evaluation_crop: config.evaluation_crop(resize)?,
        threads: config.threads,
        normalisation: Normalisation {
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
        },
        train: part(expected.train, limits.train(expected.train)),
        validation: part(expected.validation, limits.validation),
        ignored_files: 0,
        left_out: Vec::new(),
        digest: String::new(),
    })
}

/// Pictures that are not there.
#[derive(Debug)]
struct Absent {
    path: PathBuf,
    pictures: usize,
    classes: usize,
}

impl Pictures for Absent {
    fn len(&self) -> usize {
        self.pictures
    }

    fn label(&self, index: usize) -> usize {
        index % self.classes
    }

    fn name(&self, index: usize) -> String {
        format!("{} #{index}", self.path.display())
    }

    fn picture(&self, _index: usize) -> Result<Picture, DataError> {
        Err(DataError::FolderMissing {
            path: self.path.clone(),
            expected: "the pictures of the data set".to_owned(),
        })
    }

    fn costly(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(train: usize) -> DataConfig {
        DataConfig {
            set: DataSet::Folder,
            path: Some("/nowhere/flowers".into()),
            train_limit: Some(50),
            expected: Some(Expected {
                classes: 7,
                train,
                validation: 20,
                picture_size: None,
            }),
            ..DataConfig::default()
        }
    }

    #[test]
    fn a_missing_folder_has_the_numbers_that_are_expected() {
        let (dataset, missing) = open_or_expect(&config(100)).unwrap();
        assert_eq!(missing, Some("/nowhere/flowers".into()));
        let numbers = (dataset.train.len(), dataset.validation.len());
        assert_eq!(numbers, (50, 20));
        assert_eq!((dataset.classes.len(), dataset.channels), (7, 3));
        let error = dataset.train.picture(0).unwrap_err();
        assert!(error.to_string().contains("/nowhere/flowers"), "{error}");
        assert!(open_or_expect(&config(0)).is_err());
        let unknown = DataConfig {
            expected: None,
            ..config(100)
        };
        assert!(open_or_expect(&unknown).is_err());
        assert!(open(&config(100)).is_err());
    }

    #[test]
    fn a_data_set_holds_what_is_expected() {
        let digits = |train: usize, train_limit: Option<usize>| {
            open(&DataConfig {
                train_limit,
                expected: Some(Expected {
                    classes: 10,
                    train,
                    validation: 359,
                    picture_size: None,
                }),
                ..DataConfig::default()
            })
        };
        let all = open(&DataConfig::default()).unwrap();
        let (train, validation) = (all.train.len(), all.validation.len());
        assert_eq!(validation, 359);
        assert!(digits(train, None).is_ok());
        assert!(digits(train, Some(100)).is_ok());
        let error = digits(train + 1, None).unwrap_err().to_string();
        assert!(error.contains(&format!("digits has {train}")), "{error}");
    }
}
