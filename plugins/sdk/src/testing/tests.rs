//! The harness: gradients, state, features, weights, messages, and the checks of answers.

use super::*;
use crate::{
    Description, Fault, FaultCode, Inputs, Loss, ModuleDepth, Moment, Needs, Partition, Phase,
    Request, Schedule, Settings, Step, Tensor, log, random, weights,
};

/// A loss hook that is a function, and counts its calls.
struct Hook<F> {
    calls: u8,
    compute: F,
}

fn hook<F: Fn(&Step, &Inputs) -> Tensor + 'static>(compute: F) -> Hook<F> {
    Hook { calls: 0, compute }
}

impl<F: Fn(&Step, &Inputs) -> Tensor + 'static> Loss for Hook<F> {
    fn describe() -> Description {
        Description::new("A function")
    }

    fn configure(_: &Settings) -> Result<Self, Fault> {
        Err(Fault::unsupported("a function has no settings"))
    }

    fn needs(&self) -> Needs {
        Needs {
            network_features: true,
            meta_features: true,
        }
    }

    fn compute(&mut self, step: &Step, inputs: &Inputs) -> Result<Tensor, Fault> {
        self.calls += 1;
        log::info("computed");
        (self.compute)(step, inputs).check()
    }

    fn save(&self) -> Vec<u8> {
        vec![self.calls]
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), Fault> {
        self.calls = state[0];
        Ok(())
    }
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (left, right) in found.iter().zip(expected) {
        assert!((left - right).abs() < 1e-6, "{found:?} is not {expected:?}");
    }
}

#[test]
fn a_gradient_leaves_state_and_messages_as_they_were() {
    let batch = Batch::new([[1.0, -2.0]], [0]);
    let mut square = hook(|_, inputs| inputs.logits.square().sum(&[]));
    let (gradient, record) = capture(|| batch.gradient(&mut square).unwrap());
    assert_close(&gradient, &[2.0, -4.0]);
    assert_eq!(square.calls, 0);
    assert_eq!(record, Record::default());
    let (loss, record) = capture(|| batch.loss(&mut square));
    assert_eq!(loss, Ok(5.0));
    assert_eq!(square.calls, 1);
    assert_eq!(record.messages[0].text, "computed");
}

#[test]
fn no_gradient_passes_what_is_cut_off() {
    let batch = Batch::new([[0.5, -2.0]], [0]);
    let gradient = |compute: fn(&Tensor) -> Tensor| {
        let mut hook = hook(move |_, inputs: &Inputs| compute(&inputs.logits).sum(&[]));
        batch.gradient(&mut hook).unwrap()
    };
    assert_close(&gradient(|x| x * x.detach()), &[0.5, -2.0]);
    assert_close(&gradient(|x| x * x.greater(0.0)), &[1.0, 0.0]);
    assert_close(
        &gradient(|x| {
            let read = x.read_with_sync().unwrap();
            x * Tensor::from_f32(&read, &[1, 2])
        }),
        &[0.5, -2.0],
    );
    assert_close(&gradient(|x| x.logsumexp(-1)), &[0.9241418, 0.0758582]);
    assert_close(&gradient(|x| x.argmax(-1).one_hot(2)), &[0.0, 0.0]);
    // What was constant is none any more afterwards.
    assert_close(&gradient(Tensor::square), &[1.0, -4.0]);
}

#[test]
fn features_come_when_they_are_needed_in_the_phase_that_has_them() {
    let seen = |batch: &Batch| {
        let mut counts = hook(|_, inputs| {
            let counts = [inputs.network_features.len(), inputs.meta_features.len()];
            Tensor::from_f32(&[counts[0] as f32 * 10.0 + counts[1] as f32], &[])
        });
        batch.loss(&mut counts).unwrap()
    };
    let activation = Tensor::from_f32(&[0.0; 4], &[1, 2, 2]);
    let batch = Batch::random(1, 2, 0)
        .with_network_feature(0, &activation)
        .with_meta_feature(0, &activation);
    assert_eq!(seen(&batch), 10.0);
    assert_eq!(seen(&batch.at(|step| step.phase = Phase::Module)), 11.0);
}

#[test]
fn a_penalty_on_a_weight_has_a_gradient() {
    let batch = Batch::random(2, 2, 0).with_weight("head.weight", &Tensor::from_f32(&[3.0], &[1]));
    let mut penalty = hook(|_, inputs| {
        assert_eq!(weights::names(), ["head.weight"]);
        weights::get("head.weight").square().sum(&[]) + inputs.logits.mean(&[])
    });
    let gradient = batch.weight_gradient(&mut penalty, "head.weight").unwrap();
    assert_close(&gradient, &[6.0]);
    let mut unknown = hook(|_, _| weights::get("stages.0.head.weight"));
    assert_eq!(
        batch.loss(&mut unknown).unwrap_err().code,
        FaultCode::InvalidInput
    );
    assert!(
        weights::get("head.weight").check().is_err(),
        "only in `compute`"
    );
}

#[test]
fn a_loss_that_the_host_would_not_take_is_refused() {
    let batch = Batch::random(2, 3, 0);
    let refused = |compute: fn(&Inputs) -> Tensor| {
        batch
            .loss(&mut hook(move |_, inputs| compute(inputs)))
            .unwrap_err()
    };
    assert_eq!(
        refused(|inputs| inputs.logits.clone()).message,
        "the loss has the shape [2, 3]"
    );
    let ids = refused(|inputs| inputs.logits.argmax(-1).slice(0, 0..1));
    assert_eq!(ids.code, FaultCode::ElementType);
    assert!(
        batch
            .loss(&mut hook(|_, inputs| inputs
                .logits
                .slice(0, 0..1)
                .mean(&[1])))
            .is_ok()
    );
}

#[test]
fn the_stream_is_a_function_of_seed_and_update() {
    let batch = Batch::random(2, 3, 0);
    let draw = |number, update| {
        seed(number);
        let mut draw = hook(|_, _| Tensor::from_f32(&[random::uniform() as f32], &[]));
        let batch = batch.clone().at(|step| step.update = update);
        batch.loss(&mut draw).unwrap()
    };
    assert_eq!(draw(1, 1), draw(1, 1));
    assert_ne!(draw(1, 1), draw(2, 1));
    assert_ne!(draw(1, 1), draw(1, 2));
    let normal: Vec<f64> = (0..10_000).map(|_| random::normal()).collect();
    let mean = normal.iter().sum::<f64>() / 1e4;
    let square = normal.iter().map(|value| value * value).sum::<f64>() / 1e4;
    assert!(
        mean.abs() < 0.05 && (square - 1.0).abs() < 0.06,
        "{mean} {square}"
    );
}

/// A schedule that is a function.
struct Curve(fn(&Moment) -> f64);

impl Schedule for Curve {
    fn describe() -> Description {
        Description::new("A function")
    }

    fn configure(_: &Settings) -> Result<Self, Fault> {
        Err(Fault::unsupported("a function has no settings"))
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        Ok((self.0)(moment))
    }
}

#[test]
fn rates_that_the_host_would_not_take_are_refused() {
    let rates = |curve| rates(&mut Curve(curve), 5, 2, 1.0);
    assert_eq!(rates(|moment| moment.epoch), Ok(vec![0.0, 1.0]));
    let fault = rates(|moment| 0.5 - moment.epoch).unwrap_err();
    assert_eq!(fault.message, "the learning rate is -0.5 at update 5");
    assert!(rates(|_| f64::NAN).is_err());
}

/// A partition scheme that answers what it is told.
struct Fixed(Vec<ModuleDepth>);

impl Partition for Fixed {
    fn describe() -> Description {
        Description::new("An answer")
    }

    fn configure(_: &Settings) -> Result<Self, Fault> {
        Err(Fault::unsupported("an answer has no settings"))
    }

    fn divide(&self, _: &Request) -> Result<Vec<ModuleDepth>, Fault> {
        Ok(self.0.clone())
    }
}

#[test]
fn partitions_that_the_host_would_not_take_are_refused() {
    let divide = |modules: &[(u32, u32)]| {
        let modules = modules.iter();
        let modules = modules.map(|&(target, meta)| ModuleDepth { target, meta });
        divide(&Fixed(modules.collect()), &request(4, 2))
    };
    assert_eq!(divide(&[(1, 1), (3, 2)]), Ok((vec![1, 3], vec![1, 2])));
    for modules in [
        &[(4, 1)][..],
        &[(1, 1), (2, 1)],
        &[(1, 2), (3, 1)],
        &[(1, 0), (3, 1)],
    ] {
        assert_eq!(
            divide(modules).unwrap_err().code,
            FaultCode::Internal,
            "{modules:?}"
        );
    }
}
