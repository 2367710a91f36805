//! Loss hook `cross-entropy`: the mean over the pictures of `-sum_c y_c log softmax(logits)_c`.
//!
//! The targets `y` are the one-hot class ids, or the soft targets when labels were mixed. Label
//! smoothing `e` replaces them by `(1 - e) y + e / C` (Szegedy et al. 2016, section 7). It is linear
//! in `y`, so smoothing mixed labels equals mixing smoothed ones, as timm's `Mixup` does.

use incubate_plugin::{
    Description, Fault, Inputs, Loss, Parameter, Settings, Smoothing, Step, Tensor, export_loss,
};

struct CrossEntropy {
    smoothing: Smoothing,
}

impl Loss for CrossEntropy {
    fn describe() -> Description {
        Description::new("Cross-entropy of class ids or soft targets, with label smoothing")
            .parameter(Smoothing::parameter())
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            smoothing: Smoothing::from_settings(settings)?,
        })
    }

    fn compute(&mut self, _: &Step, inputs: &Inputs) -> Result<Tensor, Fault> {
        let targets = self.smoothing.targets(inputs);
        Ok(inputs.logits.cross_entropy(&targets))
    }
}

export_loss!(CrossEntropy);

#[cfg(test)]
mod tests {
    use incubate_plugin::testing::{self, Batch};

    use super::*;

    fn configured(smoothing: f64) -> Result<CrossEntropy, Fault> {
        let given = [("smoothing", smoothing.into())];
        CrossEntropy::configure(&testing::settings(&CrossEntropy::describe(), &given)?)
    }

    #[test]
    fn the_gradient_is_prediction_less_target_over_the_pictures() {
        let batch = Batch::random(4, 3, 1);
        let mut hook = configured(0.3).unwrap();
        let inputs = batch.inputs();
        let prediction = inputs.logits.softmax(-1).read_with_sync().unwrap();
        let target = inputs.targets().read_with_sync().unwrap();
        let gradient = batch.gradient(&mut hook).unwrap();
        for ((found, prediction), target) in gradient.iter().zip(prediction).zip(target) {
            let expected = (prediction - (0.7 * target + 0.1)) / 4.0;
            assert!((found - f64::from(expected)).abs() < 1e-6);
        }
    }

    #[test]
    fn everything_cannot_be_spread() {
        assert!(configured(0.99).is_ok());
        let fault = configured(1.0).err().unwrap();
        assert_eq!(fault.message, "`smoothing` is 1");
    }
}
