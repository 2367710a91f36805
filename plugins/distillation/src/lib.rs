//! Loss hook `distillation`: the targets of the pictures, and what a teacher says to them.
//!
//! The loss is `(1 - a) CE(z, y) + a D(z, t)` with logits `z`, targets `y`, and teacher's logits `t`.
//!
//! - `soft`: `D = T^2 KL(softmax(t / T) || softmax(z / T))`, the mean over the pictures (Hinton et al.
//!   2015). DeiT's code also divides by the number of classes: `normalisation = "elements"`.
//! - `hard`: `D = CE(z, argmax t)` (Touvron et al. 2021, "DeiT").
//!
//! The teacher is the network that the experiment names for the phase; no gradient passes to it. Label
//! smoothing changes `y` alone.

use incubate_plugin::{
    Description, Fault, Inputs, Loss, Parameter, Settings, Smoothing, Step, Tensor, export_loss,
    teacher,
};

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Soft { temperature: f32, by_elements: bool },
    Hard,
}

struct Distillation {
    form: Form,
    alpha: f32,
    smoothing: Smoothing,
}

impl Loss for Distillation {
    fn describe() -> Description {
        Description::new("Cross-entropy with the targets, and the distance to a teacher's answers")
            .parameter(
                Parameter::text(
                    "form",
                    "Whether the teacher's probabilities are learned, or only its first choice",
                )
                .default("soft")
                .one_of(&["soft", "hard"]),
            )
            .parameter(
                Parameter::number(
                    "alpha",
                    "Share of the teacher in the loss; the targets have the rest",
                )
                .default(0.5)
                .at_least(0.0)
                .at_most(1.0),
            )
            .parameter(
                Parameter::number(
                    "temperature",
                    "What both logits are divided by in the soft form; above 0",
                )
                .default(1.0)
                .at_least(0.0),
            )
            .parameter(
                Parameter::text(
                    "normalisation",
                    "What the divergence of the soft form is averaged over; `elements` is DeiT's",
                )
                .default("pictures")
                .one_of(&["pictures", "elements"]),
            )
            .parameter(Smoothing::parameter())
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        let temperature = settings.get("temperature")?;
        if temperature == 0.0 {
            return Err(Fault::invalid("`temperature` is 0")
                .with_hint("give a number above 0; 1 takes the logits as they are"));
        }
        let form = match settings.get("form")? {
            "hard" => Form::Hard,
            _ => Form::Soft {
                temperature,
                by_elements: settings.get::<&str>("normalisation")? == "elements",
            },
        };
        Ok(Self {
            form,
            alpha: settings.get("alpha")?,
            smoothing: Smoothing::from_settings(settings)?,
        })
    }

    fn compute(&mut self, step: &Step, inputs: &Inputs) -> Result<Tensor, Fault> {
        let taught = teacher::logits();
        let distance = match self.form {
            Form::Soft {
                temperature,
                by_elements,
            } => {
                let log_p = (&inputs.logits / temperature).log_softmax(-1);
                let log_q = (taught / temperature).log_softmax(-1);
                let divergence = (log_q.exp() * (log_q - log_p)).sum(&[-1]).mean(&[]);
                let classes = if by_elements {
                    step.classes as f32
                } else {
                    1.0
                };
                divergence * (temperature * temperature / classes)
            }
            Form::Hard => {
                let chosen = taught.argmax(-1).reshape(&[step.pictures]);
                inputs.logits.cross_entropy(&chosen.one_hot(step.classes))
            }
        };
        if self.alpha == 1.0 {
            return Ok(distance);
        }
        let targets = self.smoothing.targets(inputs);
        let task = inputs.logits.cross_entropy(&targets);
        Ok((1.0 - self.alpha) * task + self.alpha * distance)
    }
}

export_loss!(Distillation);

#[cfg(test)]
mod tests {
    use incubate_plugin::testing::{self, Batch};

    use super::*;

    const LOGITS: [[f32; 3]; 2] = [[0.5, -1.0, 0.0], [2.0, 0.25, -0.5]];
    const TAUGHT: [[f32; 3]; 2] = [[1.0, 0.0, -2.0], [-1.0, 0.0, 3.0]];

    fn soft(temperature: f32, by_elements: bool, alpha: f32) -> Distillation {
        Distillation {
            form: Form::Soft {
                temperature,
                by_elements,
            },
            alpha,
            smoothing: Smoothing::default(),
        }
    }

    fn log_softmax(row: [f32; 3], temperature: f64) -> [f64; 3] {
        let row = row.map(|value| f64::from(value) / temperature);
        let sum: f64 = row.iter().map(|value| value.exp()).sum();
        row.map(|value| value - sum.ln())
    }

    #[test]
    fn the_soft_form_is_a_divergence() {
        let batch = Batch::new(LOGITS, [0, 2]).with_teacher(TAUGHT);
        let mut expected = 0.0;
        for (own, taught) in LOGITS.into_iter().zip(TAUGHT) {
            let (own, taught) = (log_softmax(own, 2.0), log_softmax(taught, 2.0));
            for (own, taught) in own.into_iter().zip(taught) {
                expected += taught.exp() * (taught - own);
            }
        }
        expected *= 4.0 / 2.0;
        let pure = batch.loss(&mut soft(2.0, false, 1.0)).unwrap();
        assert!((pure - expected).abs() < 1e-6, "{pure} {expected}");
        let elements = batch.loss(&mut soft(2.0, true, 1.0)).unwrap();
        assert!((elements - expected / 3.0).abs() < 1e-6);
        let none = batch.loss(&mut soft(2.0, false, 0.0)).unwrap();
        let half = batch.loss(&mut soft(2.0, false, 0.5)).unwrap();
        assert!((half - (none + pure) / 2.0).abs() < 1e-6);
    }

    #[test]
    fn who_says_what_the_teacher_says_has_no_gradient() {
        let batch = Batch::new(LOGITS, [0, 2]).with_teacher(LOGITS);
        let mut hook = soft(3.0, false, 1.0);
        assert!(batch.loss(&mut hook).unwrap().abs() < 1e-9);
        let gradient = batch.gradient(&mut hook).unwrap();
        assert!(gradient.iter().all(|value| value.abs() < 1e-6));
    }

    #[test]
    fn the_hard_form_learns_the_first_choice() {
        let mut hook = Distillation {
            form: Form::Hard,
            alpha: 1.0,
            smoothing: Smoothing::default(),
        };
        let taught = Batch::new(LOGITS, [1, 1]).with_teacher(TAUGHT);
        let mut task = soft(1.0, false, 0.0);
        let chosen = Batch::new(LOGITS, [0, 2]).with_teacher(TAUGHT);
        assert_eq!(taught.loss(&mut hook), chosen.loss(&mut task));
    }

    #[test]
    fn a_temperature_of_zero_and_a_missing_teacher_are_refused() {
        let given = [("temperature", 0.0.into())];
        let settings = testing::settings(&Distillation::describe(), &given).unwrap();
        let fault = Distillation::configure(&settings).err().unwrap();
        assert_eq!(fault.message, "`temperature` is 0");
        let fault = Batch::new(LOGITS, [0, 2]).loss(&mut soft(1.0, false, 0.5));
        assert_eq!(fault.unwrap_err().message, "the batch has no teacher");
    }
}
