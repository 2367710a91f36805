//! Loss hook `bce`: every class is a yes-or-no question of its own, and the loss is the mean over the
//! pictures and the classes of `-(w y log s(z) + (1 - y) log s(-z))`, with `s` the logistic function
//! (Wightman et al. 2021, "ResNet strikes back"; timm's `BinaryCrossEntropy`).
//!
//! The targets `y` are the one-hot class ids, or the soft targets when labels were mixed; smoothing `e`
//! replaces them by `(1 - e) y + e / C`. With a threshold `t` they are then 1 where they exceed it and 0
//! elsewhere, so that both classes of a mixed picture count in full.

use incubate_plugin::{
    Description, Fault, Inputs, Loss, Parameter, Settings, Smoothing, Step, Tensor, export_loss,
};

struct Bce {
    smoothing: Smoothing,
    threshold: Option<f32>,
    positive_weight: f32,
    sum_classes: bool,
}

impl Loss for Bce {
    fn describe() -> Description {
        Description::new("Binary cross-entropy of every class, of class ids or soft targets")
            .parameter(Smoothing::parameter())
            .parameter(
                Parameter::number(
                    "threshold",
                    "Targets above it count as 1 and all others as 0; without it targets stay soft",
                )
                .optional()
                .at_least(0.0)
                .at_most(1.0),
            )
            .parameter(
                Parameter::number("positive_weight", "Factor of the part for the true classes")
                    .default(1.0)
                    .at_least(0.0),
            )
            .parameter(
                Parameter::boolean(
                    "sum_classes",
                    "Whether the classes are summed, where they are averaged otherwise",
                )
                .default(false),
            )
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            smoothing: Smoothing::from_settings(settings)?,
            threshold: settings.get("threshold")?,
            positive_weight: settings.get("positive_weight")?,
            sum_classes: settings.get("sum_classes")?,
        })
    }

    fn compute(&mut self, _: &Step, inputs: &Inputs) -> Result<Tensor, Fault> {
        let mut targets = self.smoothing.targets(inputs);
        if let Some(threshold) = self.threshold {
            targets = targets.greater(threshold);
        }
        let yes = inputs.logits.log_sigmoid() * &targets * self.positive_weight;
        let no = (-&inputs.logits).log_sigmoid() * (1.0 - targets);
        let losses = -(yes + no);
        Ok(if self.sum_classes {
            losses.sum(&[-1]).mean(&[])
        } else {
            losses.mean(&[])
        })
    }
}

export_loss!(Bce);

#[cfg(test)]
mod tests {
    use incubate_plugin::SettingValue;
    use incubate_plugin::testing::{self, Batch};

    use super::*;

    fn configured(given: &[(&str, SettingValue)]) -> Result<Bce, Fault> {
        Bce::configure(&testing::settings(&Bce::describe(), given)?)
    }

    fn log_sigmoid(value: f64) -> f64 {
        -(1.0 + (-value).exp()).ln()
    }

    #[test]
    fn the_loss_is_its_formula() {
        let batch = Batch::new([[0.5, -1.0], [2.0, 0.25]], [0, 1]);
        let loss =
            |given: &[(&str, SettingValue)]| batch.loss(&mut configured(given).unwrap()).unwrap();
        let terms = [
            log_sigmoid(0.5),
            log_sigmoid(1.0),
            log_sigmoid(-2.0),
            log_sigmoid(0.25),
        ];
        let mean = -terms.iter().sum::<f64>() / 4.0;
        assert!((loss(&[]) - mean).abs() < 1e-6);
        assert!((loss(&[("sum_classes", true.into())]) - 2.0 * mean).abs() < 1e-6);
        let weighed = -(3.0 * terms[0] + terms[1] + terms[2] + 3.0 * terms[3]) / 4.0;
        assert!((loss(&[("positive_weight", 3.0.into())]) - weighed).abs() < 1e-6);
    }

    #[test]
    fn with_a_threshold_both_mixed_classes_count_in_full() {
        let logits = [[0.5, -1.0, 0.2]];
        let mixed = Batch::new(logits, [0]).with_soft_targets([[0.7, 0.3, 0.0]]);
        let full = Batch::new(logits, [0]).with_soft_targets([[1.0, 1.0, 0.0]]);
        let mut with = configured(&[("threshold", 0.1.into())]).unwrap();
        let mut without = configured(&[]).unwrap();
        assert_eq!(mixed.loss(&mut with), full.loss(&mut without));
        assert_ne!(mixed.loss(&mut with), mixed.loss(&mut without));
    }

    #[test]
    fn everything_cannot_be_spread() {
        let fault = configured(&[("smoothing", 1.0.into())]).err().unwrap();
        assert_eq!(fault.message, "`smoothing` is 1");
    }
}
