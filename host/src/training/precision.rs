//! Which precisions a device has: one that it lacks is refused before anything is trained.

use super::TrainError;
use crate::device::Chosen;
use crate::experiment::Experiment;
use crate::model::Precision;
use crate::phase::Phase;

/// Refuses the first precision of the experiment that the device does not have.
///
/// # Errors
/// The phase that asks for it, and the device.
pub(super) fn check(experiment: &Experiment, device: &Chosen) -> Result<(), TrainError> {
    check_against(experiment, &device.name, |precision| {
        precision.supported_by(&device.device)
    })
}

/// Refuses a precision that the device does not have; `supported` asks the device.
fn check_against(
    experiment: &Experiment,
    device: &str,
    supported: impl Fn(Precision) -> bool,
) -> Result<(), TrainError> {
    for phase in [
        Phase::Meta,
        Phase::Module(0),
        Phase::FineTune,
        Phase::Baseline,
    ] {
        let precision = experiment.phase(phase).precision;
        if !supported(precision) {
            return Err(TrainError::Precision {
                unit: phase.kind(),
                precision,
                device: device.to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment;

    #[test]
    fn a_precision_that_the_device_lacks_is_refused() {
        let load = |precision: &str| {
            let assignment = format!("fine-tune.precision={precision}");
            experiment::load(Some("digits"), &[assignment])
                .unwrap()
                .experiment
        };
        let only_float32 = |precision| precision == Precision::Float32;
        check_against(&load("float32"), "a card", only_float32).unwrap();
        check_against(&load("bfloat16"), "a card", |_| true).unwrap();
        let error = check_against(&load("bfloat16"), "a card", only_float32).unwrap_err();
        let message = error.to_string();
        for phrase in [
            "`fine-tune.precision` is bfloat16",
            "a card",
            "float32",
            "--device",
        ] {
            assert!(message.contains(phrase), "{message}");
        }
    }
}
