//! Loss hook `imitation`: how far the features of the trained module are from those of the meta module
//! whose place it takes (Ni et al. 2023, "module imitation"). It knows no targets: with a task loss it
//! stands in `[[loss.terms]]`.
//!
//! The distance of two activations `f` and `g` is the mean of `(f - g)^2` (`l2`), of `|f - g|` (`l1`), of
//! Huber's function of `f - g` with `delta` (`huber`), or of `1 - cos(f, g)` over the tokens (`cosine`).
//! Compared is what leaves the trained module; for the last module these are the logits, with those of
//! the teacher. `boundaries = "all"` takes the mean over this and every later boundary, the logits
//! included. No gradient passes to the meta model.

use incubate_plugin::{
    Description, Fault, Inputs, Loss, Needs, Parameter, Phase, Settings, Step, Tensor, export_loss,
    teacher,
};

/// What the length of a vector is at least, in the cosine.
const LENGTH_MIN: f32 = 1e-8;

#[derive(Clone, Copy)]
enum Distance {
    L1,
    L2,
    Cosine,
    Huber { delta: f32 },
}

impl Distance {
    /// The mean over all elements, or over all vectors of the last dimension.
    fn between(self, own: &Tensor, other: &Tensor) -> Tensor {
        match self {
            Self::L1 => (own - other).abs().mean(&[]),
            Self::L2 => own.mse(other),
            Self::Cosine => (1.0 - (unit(own) * unit(other)).sum(&[-1])).mean(&[]),
            Self::Huber { delta } => {
                let far = (own - other).abs();
                let near = far.clamp(0.0, delta);
                (0.5 * near.square() + delta * (far - &near)).mean(&[])
            }
        }
    }
}

/// The vectors of the last dimension with length 1.
fn unit(vectors: &Tensor) -> Tensor {
    let squares = vectors.square().sum(&[-1]);
    let lengths = squares.clamp(LENGTH_MIN * LENGTH_MIN, f32::INFINITY);
    vectors * lengths.powf(-0.5)
}

struct Imitation {
    distance: Distance,
    all: bool,
}

impl Loss for Imitation {
    fn describe() -> Description {
        Description::new("Distance of the trained module's features to those of its meta module")
            .parameter(
                Parameter::text("distance", "How far two activations are from each other")
                    .default("l2")
                    .one_of(&["l1", "l2", "cosine", "huber"]),
            )
            .parameter(
                Parameter::number(
                    "delta",
                    "Where Huber's distance turns from squares to absolute values; above 0",
                )
                .default(1.0)
                .at_least(0.0),
            )
            .parameter(
                Parameter::text(
                    "boundaries",
                    "Whether what leaves the trained module is compared, or every later boundary too",
                )
                .default("own")
                .one_of(&["own", "all"]),
            )
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        let delta = settings.get("delta")?;
        if delta == 0.0 {
            return Err(Fault::invalid("`delta` is 0").with_hint("give a number above 0"));
        }
        let distance = match settings.get("distance")? {
            "l1" => Distance::L1,
            "cosine" => Distance::Cosine,
            "huber" => Distance::Huber { delta },
            _ => Distance::L2,
        };
        Ok(Self {
            distance,
            all: settings.get::<&str>("boundaries")? == "all",
        })
    }

    fn needs(&self) -> Needs {
        Needs {
            network_features: true,
            meta_features: true,
        }
    }

    fn compute(&mut self, step: &Step, inputs: &Inputs) -> Result<Tensor, Fault> {
        if step.phase != Phase::Module {
            return Err(Fault::unsupported(
                "`imitation` compares a module with its meta module, which only phase `module` has",
            )
            .with_hint("name it in `[module.loss]` or `[[module.loss.terms]]`"));
        }
        let pairs = inputs.network_features.iter().zip(&inputs.meta_features);
        let mut distances: Vec<Tensor> = pairs
            .filter(|(own, _)| own.module == step.module || self.all && own.module > step.module)
            .map(|(own, meta)| {
                self.distance
                    .between(&own.activation, &meta.activation.detach())
            })
            .collect();
        if self.all || distances.is_empty() {
            distances.push(self.distance.between(&inputs.logits, &teacher::logits()));
        }
        let share = 1.0 / distances.len() as f32;
        let sum = distances.into_iter().reduce(|sum, distance| sum + distance);
        let sum = sum.ok_or_else(|| Fault::internal("there is nothing to compare"))?;
        Ok(sum * share)
    }
}

export_loss!(Imitation);

#[cfg(test)]
mod tests {
    use incubate_plugin::testing::{self, Batch};
    use incubate_plugin::{FaultCode, SettingValue};

    use super::*;

    const LOGITS: [[f32; 2]; 2] = [[0.5, -1.0], [2.0, 0.25]];

    fn configured(given: &[(&str, SettingValue)]) -> Result<Imitation, Fault> {
        Imitation::configure(&testing::settings(&Imitation::describe(), given)?)
    }

    /// Two boundaries of one token of width 2 for each of two pictures; module `module` is trained.
    fn batch(module: u32) -> Batch {
        let feature = |values: [f32; 4]| Tensor::from_f32(&values, &[2, 1, 2]);
        Batch::new(LOGITS, [0, 1])
            .with_network_feature(0, &feature([1.0, 2.0, 0.0, -1.0]))
            .with_network_feature(1, &feature([3.0, 0.0, 1.0, 1.0]))
            .with_meta_feature(0, &feature([1.0, 0.0, 0.5, -1.0]))
            .with_meta_feature(1, &feature([0.0, 2.0, 1.0, 1.0]))
            .with_teacher([[0.5, 0.0], [0.0, 0.25]])
            .at(|step| {
                step.phase = Phase::Module;
                step.module = module;
            })
    }

    fn loss(module: u32, given: &[(&str, SettingValue)]) -> f64 {
        batch(module).loss(&mut configured(given).unwrap()).unwrap()
    }

    #[test]
    fn every_distance_is_its_formula() {
        for (name, expected) in [
            ("l2", (4.0 + 0.25) / 4.0),
            ("l1", (2.0 + 0.5) / 4.0),
            ("huber", (1.5 + 0.125) / 4.0),
            (
                "cosine",
                (2.0 - 1.0 / 5.0_f64.sqrt() - 1.0 / 1.25_f64.sqrt()) / 2.0,
            ),
        ] {
            let found = loss(0, &[("distance", name.into())]);
            assert!(
                (found - expected).abs() < 1e-6,
                "{name}: {found} {expected}"
            );
        }
    }

    #[test]
    fn the_last_module_is_compared_by_its_logits() {
        let middle = (9.0 + 4.0) / 4.0;
        let last = (1.0 + 4.0) / 4.0;
        assert!((loss(1, &[]) - middle).abs() < 1e-6);
        assert!((loss(2, &[]) - last).abs() < 1e-6);
        let all = [("boundaries", "all".into())];
        assert!((loss(1, &all) - (middle + last) / 2.0).abs() < 1e-6);
        assert!((loss(2, &all) - last).abs() < 1e-6);
    }

    #[test]
    fn the_gradient_reaches_the_own_boundary_alone() {
        let mut hook = configured(&[]).unwrap();
        let batch = batch(1);
        let gradient = batch.feature_gradient(&mut hook, 1).unwrap();
        for (found, expected) in gradient.iter().zip([1.5, -1.0, 0.0, 0.0]) {
            assert!((found - expected).abs() < 1e-6);
        }
        for other in [
            batch.feature_gradient(&mut hook, 0).unwrap(),
            batch.gradient(&mut hook).unwrap(),
        ] {
            assert!(other.iter().all(|value| *value == 0.0));
        }
    }

    #[test]
    fn equal_and_empty_features_have_finite_gradients() {
        let feature = Tensor::from_f32(&[0.0, 0.0, 1.0, 1.0], &[2, 1, 2]);
        let batch = Batch::new(LOGITS, [0, 1])
            .with_network_feature(0, &feature)
            .with_meta_feature(0, &feature)
            .at(|step| step.phase = Phase::Module);
        for name in ["l1", "l2", "cosine", "huber"] {
            let mut hook = configured(&[("distance", name.into())]).unwrap();
            let gradient = batch.feature_gradient(&mut hook, 0).unwrap();
            assert!(gradient.iter().all(|value| value.is_finite()), "{name}");
        }
    }

    #[test]
    fn other_phases_are_refused() {
        let mut hook = configured(&[]).unwrap();
        let fault = batch(0)
            .at(|step| step.phase = Phase::FineTune)
            .loss(&mut hook);
        let fault = fault.unwrap_err();
        assert_eq!(fault.code, FaultCode::Unsupported);
        assert!(fault.hint.unwrap().contains("[module.loss]"));
        let delta = configured(&[("delta", 0.0.into())]).err().unwrap();
        assert_eq!(delta.message, "`delta` is 0");
    }
}
