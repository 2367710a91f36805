//! A loss hook that sees features and says so, for the tests of the host: cross-entropy plus the mean squared
//! distance between the features of the network and those of the meta model (paper, section 3,
//! "module imitation"), which passes no gradient to the meta model.
//!
//! It records how many boundaries it saw and one draw of its random stream.

use incubate_plugin::{
    Description, Fault, Inputs, Loss, Needs, Parameter, Settings, Step, Tensor, export_loss,
    metrics, random,
};

struct Witness {
    weight: f32,
}

impl Loss for Witness {
    fn describe() -> Description {
        Description::new("Cross-entropy plus the distance to the meta model's features").parameter(
            Parameter::number("weight", "Factor of the distance")
                .default(1.0)
                .at_least(0.0),
        )
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            weight: settings.get("weight")?,
        })
    }

    fn needs(&self) -> Needs {
        Needs {
            network_features: true,
            meta_features: true,
        }
    }

    fn compute(&mut self, step: &Step, inputs: &Inputs) -> Result<Tensor, Fault> {
        metrics::record("network_features", inputs.network_features.len() as f64);
        metrics::record("meta_features", inputs.meta_features.len() as f64);
        metrics::record("draw", random::uniform());
        let targets = inputs.class_ids.one_hot(step.classes);
        let mut loss = inputs.logits.cross_entropy(&targets);
        for (own, meta) in inputs.network_features.iter().zip(&inputs.meta_features) {
            loss += self.weight * own.activation.mse(&meta.activation.detach());
        }
        Ok(loss)
    }
}

export_loss!(Witness);

#[cfg(test)]
mod tests {
    use incubate_plugin::Phase;
    use incubate_plugin::testing::{Batch, capture, seed};

    use super::*;

    #[test]
    fn the_distance_counts_in_the_module_phase_alone() {
        let batch = Batch::random(2, 3, 7)
            .with_network_feature(0, &Tensor::from_f32(&[1.0, 2.0], &[1, 1, 2]))
            .with_meta_feature(0, &Tensor::from_f32(&[0.0, 4.0], &[1, 1, 2]));
        let mut hook = Witness { weight: 0.5 };
        let plain = batch.loss(&mut hook).unwrap();
        let module = batch.at(|step| step.phase = Phase::Module);
        let with_distance = module.loss(&mut hook).unwrap();
        assert!((with_distance - plain - 0.5 * 2.5).abs() < 1e-12);
    }

    #[test]
    fn boundaries_and_a_draw_are_recorded() {
        let batch = Batch::random(2, 3, 7);
        let draw = |number, update| {
            seed(number);
            let batch = batch.clone().at(|step| step.update = update);
            let (loss, record) = capture(|| batch.loss(&mut Witness { weight: 1.0 }));
            assert!(loss.is_ok());
            assert_eq!(record.metrics[0], ("network_features".to_owned(), 0.0));
            record.metrics[2].1
        };
        let first = draw(1, 3);
        assert_eq!(draw(1, 3), first);
        assert_ne!(draw(1, 4), first);
        assert_ne!(draw(2, 3), first);
    }
}
