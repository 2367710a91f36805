//! Loss hook `poly-1`: cross-entropy with its leading polynomial term changed (Leng et al. 2022,
//! "PolyLoss"): the mean over the pictures of `-sum_c y_c log p_c + e (1 - sum_c y_c p_c)` with
//! `p = softmax(logits)`.
//!
//! The targets `y` are the one-hot class ids, or the soft targets when labels were mixed. Label
//! smoothing changes `y` in both terms, as in the authors' code.

use incubate_plugin::{
    Description, Fault, Inputs, Loss, Parameter, Settings, Smoothing, Step, Tensor, export_loss,
};

struct Poly {
    epsilon: f32,
    smoothing: Smoothing,
}

impl Loss for Poly {
    fn describe() -> Description {
        Description::new("Cross-entropy plus a multiple of the probability that is missed")
            .parameter(
                Parameter::number(
                    "epsilon",
                    "Factor of the probability that is missed; 0 is cross-entropy",
                )
                .default(1.0)
                .at_least(-1.0),
            )
            .parameter(Smoothing::parameter())
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            epsilon: settings.get("epsilon")?,
            smoothing: Smoothing::from_settings(settings)?,
        })
    }

    fn compute(&mut self, _: &Step, inputs: &Inputs) -> Result<Tensor, Fault> {
        let targets = self.smoothing.targets(inputs);
        let hit = (inputs.logits.softmax(-1) * &targets).sum(&[-1]).mean(&[]);
        Ok(inputs.logits.cross_entropy(&targets) + self.epsilon * (1.0 - hit))
    }
}

export_loss!(Poly);

#[cfg(test)]
mod tests {
    use incubate_plugin::testing::Batch;

    use super::*;

    #[test]
    fn the_loss_is_its_formula() {
        let batch = Batch::new([[0.0, 0.0], [2.0, -1.0]], [0, 1]);
        let poly = |epsilon, share| {
            let smoothing = Smoothing(share);
            batch.loss(&mut Poly { epsilon, smoothing }).unwrap()
        };
        let hard = 1.0 / (1.0 + f64::exp(3.0)); // p of the second picture
        let cross_entropy = (f64::ln(2.0) - hard.ln()) / 2.0;
        let missed = 1.0 - (0.5 + hard) / 2.0;
        assert!((poly(0.0, 0.0) - cross_entropy).abs() < 1e-6);
        assert!((poly(2.0, 0.0) - cross_entropy - 2.0 * missed).abs() < 1e-6);
        // Smoothing by 0.5 makes the targets 0.75 and 0.25.
        let smoothed = 1.0 - (0.5 + 0.75 * hard + 0.25 * (1.0 - hard)) / 2.0;
        assert!((poly(1.0, 0.5) - poly(0.0, 0.5) - smoothed).abs() < 1e-6);
    }

    #[test]
    fn soft_targets_replace_the_class_ids() {
        let hard = Batch::new([[0.3, -0.2], [1.0, 2.0]], [1, 0]);
        let soft = Batch::new([[0.3, -0.2], [1.0, 2.0]], [0, 0])
            .with_soft_targets([[0.0, 1.0], [1.0, 0.0]]);
        let mut poly = Poly {
            epsilon: 1.0,
            smoothing: Smoothing(0.1),
        };
        assert_eq!(soft.loss(&mut poly), hard.loss(&mut poly));
    }
}
