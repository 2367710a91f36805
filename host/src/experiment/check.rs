//! Ranges of settings that their types cannot express, and settings that must fit each other.

use super::schema::{Epochs, Experiment, PhaseConfig};
use super::{DivergenceConfig, ExperimentError, LossConfig, Start, Teacher, wrong_name};
use crate::data::{DataError, Dataset};

/// The longest time between two checkpoints: a year.
const MINUTES_MAX: f64 = 527_040.0;

/// Refuses the first setting that cannot be used.
pub(super) fn check(experiment: &Experiment, dataset: &Dataset) -> Result<(), ExperimentError> {
    let range = |key: String, value: String, reason: &str| {
        Err(ExperimentError::Range {
            key,
            value,
            reason: reason.to_owned(),
        })
    };
    if let Some(reason) = wrong_name(&experiment.name) {
        return range("name".into(), format!("{:?}", experiment.name), reason);
    }
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
    let kept = &experiment.assembly.meta;
    if let Some(module) = kept.iter().find(|module| **module >= modules) {
        return range(
            "assembly.meta".into(),
            format!("{kept:?}"),
            &format!(
                "but there is no module {module} (the modules are 0 to {})",
                modules - 1
            ),
        );
    }
    let checkpoint = &experiment.checkpoint;
    if !(0.0..=MINUTES_MAX).contains(&checkpoint.every_minutes) {
        return range(
            "checkpoint.every_minutes".into(),
            checkpoint.every_minutes.to_string(),
            "but it must be a number of minutes that is not negative, of at most a year",
        );
    }
    if checkpoint.keep_last == 0 {
        return range(
            "checkpoint.keep_last".into(),
            "0".into(),
            "but training goes on from the newest checkpoint (set `every_updates` and `every_minutes` to 0 to write none)",
        );
    }
    if !experiment.features.has_bound() {
        return range(
            "features.cache_gib".into(),
            experiment.features.cache_gib.to_string(),
            "but it must be a number of GiB that is not negative, of at most a million",
        );
    }
    for (name, phase) in [
        ("meta", &experiment.meta),
        ("module", &experiment.module),
        ("fine-tune", &experiment.fine_tune),
        ("baseline", &experiment.baseline),
    ] {
        let key = |key: &str| format!("{name}.{key}");
        let (words, file) = starts(name);
        let known = words.contains(&phase.start) || file && phase.start.file().is_some();
        if !known {
            let words = words.iter().map(|start| format!("`{start}`"));
            let file = file.then(|| "the path of a file of weights".to_owned());
            let known: Vec<String> = words.chain(file).collect();
            return range(
                key("start"),
                format!("`{}`", phase.start),
                &format!(
                    "which this phase cannot begin with (give {})",
                    known.join(" or ")
                ),
            );
        }
        if phase.image_size.is_some() && matches!(name, "meta" | "module") {
            return range(
                key("image_size"),
                phase.image_size.unwrap_or_default().to_string(),
                "but meta model and modules share `model.image_size` (only `fine-tune` and `baseline` can have their own)",
            );
        }
        if phase.epochs == Epochs::EqualCompute && name != "baseline" {
            return range(
                key("epochs"),
                "equal-compute".into(),
                "which only the baseline can be (give a number)",
            );
        }
        if phase.epochs == Epochs::Count(0) && phase.start.file().is_none() {
            return range(
                key("epochs"),
                "0".into(),
                "but a phase needs at least one epoch, unless it starts from a file",
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
        if let Err(error) = phase.augmentation.validate(experiment.model.input()[1]) {
            let DataError::Setting {
                key: field,
                value,
                reason,
            } = error
            else {
                return Err(error.into());
            };
            return range(
                key(&format!("augmentation.{field}")),
                value,
                &format!("but {reason}"),
            );
        }
        check_loss(name, phase)?;
        check_divergence(name, phase.divergence)?;
        for (field, value, most) in [
            ("rate", phase.rate, f64::MAX),
            ("weight_decay", phase.weight_decay, f64::MAX),
            ("clip", phase.clip, f64::MAX),
            ("drop_path", phase.drop_path, 0.999),
            ("dropout", phase.dropout, 0.999),
            ("attention_dropout", phase.attention_dropout, 0.999),
            ("ema", phase.ema, 0.999_999_999),
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
        if !(phase.layer_decay > 0.0 && phase.layer_decay <= 1.0) {
            return range(
                key("layer_decay"),
                phase.layer_decay.to_string(),
                "but it must be more than 0 and at most 1 (1 trains every layer at the same rate)",
            );
        }
        if phase.ema_warm_up && phase.ema == 0.0 {
            return range(
                key("ema_warm_up"),
                "true".into(),
                "but there is no average to warm up (set `ema`, to 0.9999 for instance)",
            );
        }
    }
    Ok(())
}

/// Refuses a roll-back that could not be meant.
fn check_divergence(name: &str, divergence: DivergenceConfig) -> Result<(), ExperimentError> {
    let factor = divergence.rate_factor;
    let (key, value, reason) = if divergence.retries == 0 {
        let reason = "but a unit is rolled back at least once (set `action` to \"stop\" for never)";
        ("retries", "0".to_owned(), reason)
    } else if !(factor > 0.0 && factor <= 1.0) {
        let reason = "but it must be more than 0 and at most 1 (1 leaves the rates as they are)";
        ("rate_factor", factor.to_string(), reason)
    } else {
        return Ok(());
    };
    Err(ExperimentError::Range {
        key: format!("{name}.divergence.{key}"),
        value,
        reason: reason.to_owned(),
    })
}

/// What a phase can begin with, and whether that can be a file.
fn starts(phase: &str) -> (&'static [Start], bool) {
    match phase {
        "module" => (&[Start::Random, Start::Copies, Start::Grown], false),
        "fine-tune" => (&[Start::Assembled], true),
        _ => (&[Start::Random], true),
    }
}

/// Refuses weights of terms that cannot be meant, a time of the phase in which no term counts, and a
/// teacher that cannot be there.
fn check_loss(name: &str, phase: &PhaseConfig) -> Result<(), ExperimentError> {
    /// Updates at which it is looked whether some term counts.
    const LOOKS: u64 = 10_000;
    let range = |key: String, value: String, reason: &str| {
        Err(ExperimentError::Range {
            key,
            value,
            reason: reason.to_owned(),
        })
    };
    if name == "meta" && phase.teacher == Some(Teacher::Meta) {
        return range(
            "meta.teacher".into(),
            "meta".into(),
            "but the meta model cannot teach itself (name the teacher in the tables of other phases)",
        );
    }
    let LossConfig::Sum(terms) = &phase.loss else {
        return Ok(());
    };
    for (index, term) in terms.iter().enumerate() {
        let key = |field: &str| format!("{name}.loss.terms[{index}].{field}");
        let last = term.final_weight.unwrap_or(term.weight);
        for (field, weight) in [("weight", term.weight), ("final_weight", last)] {
            if !(0.0..=f64::MAX).contains(&weight) {
                return range(
                    key(field),
                    weight.to_string(),
                    "but it must be a finite number that is not negative",
                );
            }
        }
        let shares = 0.0..=1.0;
        if !(shares.contains(&term.from) && shares.contains(&term.until) && term.from < term.until)
        {
            return range(
                key("from"),
                format!("{} and `until` {}", term.from, term.until),
                "but they are shares of the phase, `from` less than `until` (0 and 1 are its beginning and end)",
            );
        }
    }
    let idle = (0..LOOKS).find(|&update| {
        let mut weights = terms.iter().map(|term| term.weight_at(update, LOOKS));
        weights.all(|weight| weight == 0.0)
    });
    match idle {
        None => Ok(()),
        Some(update) => range(
            format!("{name}.loss.terms"),
            format!("a list of {}", terms.len()),
            &format!(
                "but no term has a weight after {} % of the updates (let another begin there)",
                update as f64 / LOOKS as f64 * 100.0
            ),
        ),
    }
}
