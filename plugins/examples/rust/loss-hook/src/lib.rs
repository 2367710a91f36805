//! Loss hook `focal`: the multi-class focal loss (Lin et al. 2017), the mean over the pictures of
//! `-sum_c y_c (1 - p_c)^gamma log p_c` with `p = softmax(logits)`.

use incubate_plugin::{
    Description, Fault, Inputs, Loss, Parameter, Settings, Step, Tensor, export_loss,
};

struct Focal {
    gamma: f32,
}

impl Loss for Focal {
    fn describe() -> Description {
        Description::new("Cross-entropy that dwells on hard pictures").parameter(
            Parameter::number(
                "gamma",
                "How much easy pictures are held back; 0 is cross-entropy",
            )
            .default(2.0)
            .at_least(0.0),
        )
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            gamma: settings.get("gamma")?,
        })
    }

    fn compute(&mut self, _: &Step, inputs: &Inputs) -> Result<Tensor, Fault> {
        let log_p = inputs.logits.log_softmax(-1);
        // Not quite 0 for a certain prediction, where the power may have no gradient.
        let doubt = (1.0 - log_p.exp()).clamp(1e-7, 1.0);
        let losses = -(inputs.targets() * doubt.powf(self.gamma) * log_p).sum(&[-1]);
        Ok(losses.mean(&[]))
    }
}

export_loss!(Focal);

#[cfg(test)]
mod tests {
    use incubate_plugin::testing::Batch;

    use super::*;

    #[test]
    fn the_loss_is_its_formula() {
        let batch = Batch::new([[0.0, 0.0], [2.0, -1.0]], [0, 1]);
        let focal = |gamma| batch.loss(&mut Focal { gamma }).unwrap();
        let hard = 1.0 + f64::exp(3.0); // 1 / p of the second picture
        let expected = (0.25 * f64::ln(2.0) + (1.0 - 1.0 / hard).powi(2) * hard.ln()) / 2.0;
        assert!((focal(2.0) - expected).abs() < 1e-6);
        assert!((focal(0.0) - (f64::ln(2.0) + hard.ln()) / 2.0).abs() < 1e-6);
    }

    #[test]
    fn soft_targets_replace_the_class_ids() {
        let hard = Batch::new([[0.3, -0.2], [1.0, 2.0]], [1, 0]);
        let soft = Batch::new([[0.3, -0.2], [1.0, 2.0]], [0, 0])
            .with_soft_targets([[0.0, 1.0], [1.0, 0.0]]);
        let mut focal = Focal { gamma: 2.0 };
        assert_eq!(soft.loss(&mut focal), hard.loss(&mut focal));
    }

    #[test]
    fn a_certain_prediction_has_a_finite_gradient() {
        let batch = Batch::new([[0.0, 200.0]], [1]);
        for gamma in [0.0, 0.5, 2.0] {
            let gradient = batch.gradient(&mut Focal { gamma }).unwrap();
            assert!(gradient.iter().all(|value| value.abs() < 1e-6));
        }
    }
}
