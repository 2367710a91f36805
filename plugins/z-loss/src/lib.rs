//! Loss hook `z-loss`: `k` times the mean over the pictures of `log(sum_c e^z_c)^2`, which keeps the
//! logits `z` from drifting (Chowdhery et al. 2022, "PaLM", section 5). It knows no targets, so it stands
//! beside another loss in `[[loss.terms]]`.

use incubate_plugin::{
    Description, Fault, Inputs, Loss, Parameter, Settings, Step, Tensor, export_loss,
};

struct ZLoss {
    factor: f32,
}

impl Loss for ZLoss {
    fn describe() -> Description {
        Description::new("Squared logarithm of the sum of the exponentials of the logits")
            .parameter(
                Parameter::number("factor", "What the mean of the squares is multiplied by")
                    .default(1e-4)
                    .at_least(0.0),
            )
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            factor: settings.get("factor")?,
        })
    }

    fn compute(&mut self, _: &Step, inputs: &Inputs) -> Result<Tensor, Fault> {
        Ok(self.factor * inputs.logits.logsumexp(-1).square().mean(&[]))
    }
}

export_loss!(ZLoss);

#[cfg(test)]
mod tests {
    use incubate_plugin::testing::Batch;

    use super::*;

    #[test]
    fn value_and_gradient_are_their_formulas() {
        let batch = Batch::new([[0.0, 0.0], [2.0, -1.0]], [0, 1]);
        let mut hook = ZLoss { factor: 0.5 };
        let [first, second] = [f64::ln(2.0), (f64::exp(2.0) + f64::exp(-1.0)).ln()];
        let expected = 0.5 * (first.powi(2) + second.powi(2)) / 2.0;
        assert!((batch.loss(&mut hook).unwrap() - expected).abs() < 1e-6);
        let gradient = batch.gradient(&mut hook).unwrap();
        let expected = 0.5 * second * (2.0 - second).exp();
        assert!((gradient[2] - expected).abs() < 1e-6);
    }
}
