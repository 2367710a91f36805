//! Where the numbers of the model's input have their zero and their unit: given, known, or measured.

use serde::{Deserialize, Serialize};

use super::{DataConfig, DataError};

/// Mean and standard deviation that are customary for ImageNet.
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// What makes numbers of a channel have mean 0 and standard deviation 1: `(value / 255 - mean) / std`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Normalisation {
    /// Mean of each channel, where black is 0 and white 1.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, on the same scale.
    pub std: Vec<f32>,
}

impl Normalisation {
    /// The mean as bytes, which operations put where pixels come from outside of a picture.
    pub(super) fn mean_bytes(&self) -> [u8; 3] {
        let byte = |mean: &f32| (255.0 * mean).round_ties_even() as u8;
        match &self.mean[..] {
            [grey] => [byte(grey); 3],
            [red, green, blue] => [byte(red), byte(green), byte(blue)],
            other => unreachable!("a picture has 1 or 3 channels, not {}", other.len()),
        }
    }
}

/// A normalisation with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KnownNormalisation {
    /// The values customary for ImageNet, for pictures in colour.
    Imagenet,
    /// Mean and standard deviation of the training pictures.
    Measured,
}

/// What an experiment asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Choice {
    Given(Normalisation),
    Measured,
}

/// The normalisation that is configured, for pictures of so many channels, or else `default`.
pub(super) fn choose(
    config: &DataConfig,
    channels: usize,
    default: KnownNormalisation,
) -> Result<Choice, DataError> {
    let setting = |key, value: String, reason: String| DataError::Setting { key, value, reason };
    let one_missing = |key, value: &[f32], other: &str| {
        let reason = format!("`{other}` is missing; set both");
        Err(setting(key, format!("{value:?}"), reason))
    };
    let (mean, std) = match (&config.mean, &config.std) {
        (None, None) => return known(config.normalisation.unwrap_or(default), channels),
        (Some(mean), None) => return one_missing("mean", mean, "std"),
        (None, Some(std)) => return one_missing("std", std, "mean"),
        (Some(mean), Some(std)) => (mean, std),
    };
    if config.normalisation.is_some() {
        return Err(setting(
            "mean",
            format!("{mean:?}"),
            "`normalisation` is set, too; take one of them out".to_owned(),
        ));
    }
    for (key, values) in [("mean", mean), ("std", std)] {
        let refuse = |reason| Err(setting(key, format!("{values:?}"), reason));
        if values.len() != channels {
            return refuse(format!(
                "these pictures have {channels} channels; set {channels} values"
            ));
        }
        if !values.iter().all(|value| value.is_finite()) {
            return refuse("it has to be finite".to_owned());
        }
    }
    if std.iter().any(|value| *value <= 0.0) {
        let reason = "it has to be positive".to_owned();
        return Err(setting("std", format!("{std:?}"), reason));
    }
    Ok(Choice::Given(Normalisation {
        mean: mean.clone(),
        std: std.clone(),
    }))
}

/// What a name stands for.
fn known(name: KnownNormalisation, channels: usize) -> Result<Choice, DataError> {
    match name {
        KnownNormalisation::Measured => Ok(Choice::Measured),
        KnownNormalisation::Imagenet if channels == IMAGENET_MEAN.len() => {
            Ok(Choice::Given(Normalisation {
                mean: IMAGENET_MEAN.to_vec(),
                std: IMAGENET_STD.to_vec(),
            }))
        }
        KnownNormalisation::Imagenet => Err(DataError::Setting {
            key: "normalisation",
            value: "\"imagenet\"".to_owned(),
            reason: "these pictures are grey; set \"measured\", or `mean` and `std`".to_owned(),
        }),
    }
}
