//! Ranges of settings that their types cannot express, and settings that must fit each other.

use super::schema::{Epochs, Experiment};
use super::{ExperimentError, Start};
use crate::data::Dataset;

/// Refuses the first setting that cannot be used.
pub(super) fn check(experiment: &Experiment, dataset: &Dataset) -> Result<(), ExperimentError> {
    let range = |key: String, value: String, reason: &str| {
        Err(ExperimentError::Range {
            key,
            value,
            reason: reason.to_owned(),
        })
    };
    let depth = experiment.model.depth();
    let modules = experiment.partition.modules;
    if modules == 0 || modules > depth {
        return range(
            "partition.modules".into(),
            modules.to_string(),
            &format!(
                "but the model has {depth} blocks and every module needs one (lower `partition.modules` or raise `model.depth`)"
            ),
        );
    }
    let devices = experiment.partition.devices.len();
    if devices != 0 && devices != modules {
        return range(
            "partition.devices".into(),
            format!("a list of {devices}"),
            &format!("but there are {modules} modules (give none, or one for every module)"),
        );
    }
    if experiment.model.classes() != dataset.classes.len() {
        return range(
            "model.classes".into(),
            experiment.model.classes().to_string(),
            &format!(
                "but {} has {} classes (leave `model.classes` out)",
                dataset.name,
                dataset.classes.len()
            ),
        );
    }
    for (name, phase) in [
        ("meta", &experiment.meta),
        ("module", &experiment.module),
        ("fine-tune", &experiment.fine_tune),
        ("baseline", &experiment.baseline),
    ] {
        let key = |key: &str| format!("{name}.{key}");
        let possible = starts(name);
        if !possible.contains(&phase.start) {
            let known: Vec<String> = possible.iter().map(|start| format!("`{start}`")).collect();
            return range(
                key("start"),
                format!("`{}`", phase.start),
                &format!(
                    "which this phase cannot begin with (give {})",
                    known.join(" or ")
                ),
            );
        }
        if phase.epochs == Epochs::EqualCompute && name != "baseline" {
            return range(
                key("epochs"),
                "equal-compute".into(),
                "which only the baseline can be (give a number)",
            );
        }
        if phase.epochs == Epochs::Count(0) {
            return range(
                key("epochs"),
                "0".into(),
                "but a phase needs at least one epoch",
            );
        }
        if phase.batch == 0 {
            return range(
                key("batch"),
                "0".into(),
                "but an update needs at least one picture",
            );
        }
        if phase.accumulation == 0 || !phase.batch.is_multiple_of(phase.accumulation) {
            return range(
                key("accumulation"),
                phase.accumulation.to_string(),
                &format!("which does not divide the batch of {}", phase.batch),
            );
        }
        if phase.batch > dataset.train.len() {
            return range(
                key("batch"),
                phase.batch.to_string(),
                &format!(
                    "but there are only {} training pictures",
                    dataset.train.len()
                ),
            );
        }
        if phase.evaluate_every == 0 {
            return range(
                key("evaluate_every"),
                "0".into(),
                "but it counts epochs from 1",
            );
        }
        for (field, value, most) in [
            ("rate", phase.rate, f64::MAX),
            ("weight_decay", phase.weight_decay, f64::MAX),
            ("clip", phase.clip, f64::MAX),
            ("drop_path", phase.drop_path, 0.999),
            ("epsilon", phase.epsilon, f64::MAX),
            ("betas", phase.betas[0].max(phase.betas[1]), 0.999_999_999),
            ("betas", phase.betas[0].min(phase.betas[1]), 0.999_999_999),
        ] {
            if !(0.0..=most).contains(&value) {
                return range(
                    key(field),
                    value.to_string(),
                    if most < 1.0 {
                        "but it must be at least 0 and less than 1"
                    } else {
                        "but it must be a finite number that is not negative"
                    },
                );
            }
        }
    }
    Ok(())
}

/// What a phase can begin with.
fn starts(phase: &str) -> &'static [Start] {
    match phase {
        "module" => &[Start::Random, Start::Copies, Start::Grown],
        "fine-tune" => &[Start::Assembled],
        _ => &[Start::Random],
    }
}
