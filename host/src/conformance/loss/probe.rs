//! A loss hook as a function of its batch: values and gradients, from one instance or from many.

use super::super::subject::{SEED, Subject, Watched};
use super::batch::{Batch, Part};
use crate::phase::Phase;
use crate::plugin::{Hook, LossHook, Needs, PluginError, StepInfo};
use crate::random::Seed;
use crate::tensor::AnyTensor;

/// Updates of the phase.
const UPDATES: u64 = 100;

/// A hook that is asked for losses.
#[derive(Debug)]
pub(super) struct Probe<'s> {
    subject: &'s Subject,
    pub(super) phase: Phase,
    seed: Seed,
    /// Whether every batch gets a new instance, because the hook remembers what it saw.
    fresh: bool,
    live: Option<Watched<'s, LossHook>>,
}

/// A loss with its gradients.
#[derive(Clone, Debug)]
pub(super) struct Differentiated {
    pub(super) value: f32,
    /// Whether anything is differentiated at all.
    pub(super) tracked: bool,
    /// The gradient of every input that was given; `None` where none arrives.
    pub(super) gradients: Vec<(Part, Option<Vec<f32>>)>,
}

impl<'s> Probe<'s> {
    pub(super) const fn new(subject: &'s Subject, phase: Phase, fresh: bool) -> Self {
        Self {
            subject,
            phase,
            seed: SEED,
            fresh,
            live: None,
        }
    }

    /// Goes on with a running instance.
    pub(super) fn of(subject: &'s Subject, phase: Phase, live: Watched<'s, LossHook>) -> Self {
        Self {
            live: Some(live),
            ..Self::new(subject, phase, false)
        }
    }

    /// With another random stream.
    pub(super) const fn with_seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// The instance that is asked next.
    pub(super) fn live(&mut self) -> Result<&mut Watched<'s, LossHook>, PluginError> {
        if self.fresh {
            self.live = None;
        }
        match self.live.take() {
            Some(live) => Ok(self.live.insert(live)),
            None => {
                let live = self.subject.loss(self.phase, self.seed)?;
                Ok(self.live.insert(live))
            }
        }
    }

    /// The loss at the usual update.
    pub(super) fn value(&mut self, batch: &Batch) -> Result<f32, PluginError> {
        Ok(self.differentiate_at(3, batch, false)?.value)
    }

    /// The loss at this update.
    pub(super) fn value_at(&mut self, update: u64, batch: &Batch) -> Result<f32, PluginError> {
        Ok(self.differentiate_at(update, batch, false)?.value)
    }

    /// The loss and its gradients.
    pub(super) fn differentiate(&mut self, batch: &Batch) -> Result<Differentiated, PluginError> {
        self.differentiate_at(3, batch, true)
    }

    fn differentiate_at(
        &mut self,
        update: u64,
        batch: &Batch,
        backward: bool,
    ) -> Result<Differentiated, PluginError> {
        let phase = self.phase;
        let live = self.live()?;
        let needs: Needs = live.inner.needs();
        let teacher = live.inner.asks_teacher();
        let (inputs, leaves) = batch.tensors(needs, teacher, phase);
        let step = StepInfo {
            update,
            updates: UPDATES,
            epoch: update as f64 / 10.0,
            classes: batch.classes as u32,
            pictures: batch.pictures as u32,
        };
        let answer = live.call(Hook::Compute, |hook| hook.compute(&step, inputs));
        let loss = match answer {
            Ok(loss) => loss,
            Err(error) => {
                // After a crash nothing is called in this instance any more.
                self.live = None;
                return Err(error);
            }
        };
        let value = number(&loss);
        let scalar = loss
            .into_scalar_tensor()
            .expect("the host has checked that it is one float");
        let tracked = scalar.is_tracked();
        let gradients = if backward && tracked {
            let found = scalar.backward();
            Part::given(needs, phase)
                .into_iter()
                .map(|part| (part, leaves.gradient(part, &found)))
                .collect()
        } else {
            let parts = Part::given(needs, phase).into_iter();
            parts.map(|part| (part, None)).collect()
        };
        Ok(Differentiated {
            value,
            tracked,
            gradients,
        })
    }
}

fn number(loss: &AnyTensor) -> f32 {
    loss.read().expect("the CPU gives its numbers")[0]
}
