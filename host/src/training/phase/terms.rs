//! The loss of an update: one hook, or the weighted sum of several, each with what it needs and no more.

use burn::tensor::{Int, Tensor};

use super::super::guides::{Guidance, Wanted};
use super::super::{
    LossPart,
    fallback::{NotResumed, Standby, plugin_state},
};
use crate::event::{Replacement, TermLoss};
use crate::model::{Forward, Network, trained_weights};
use crate::plugin::{
    Context, LossHook, LossInputs, Message, PluginError, Recording, Spent, Statistics, StepInfo,
};
use crate::run::PluginState;
use crate::tensor::{AnyTensor, TensorError};

/// The hooks of a phase.
#[derive(Debug)]
pub(super) struct Terms<'a>(Vec<Term<'a>>);

#[derive(Debug)]
struct Term<'a> {
    part: &'a LossPart,
    hook: Standby<'a, LossHook>,
}

/// What hooks can be given in a part of a batch.
#[derive(Debug)]
pub(super) struct Given {
    inputs: LossInputs,
}

/// The loss of a part of a batch.
#[derive(Debug)]
pub(super) struct Sum {
    /// One element, connected to what it was computed from; none when no hook has a weight.
    pub(super) loss: Option<Tensor<1>>,
    /// The last module that the gradient enters from behind; none when the loss depends on no output of a
    /// module.
    pub(super) reached: Option<usize>,
    /// What each hook gave, when the loss is a sum of several; the numbers are still on the device.
    pub(super) terms: Vec<(TermLoss, Tensor<1>)>,
}

/// Why there is no loss.
#[derive(Debug)]
pub(super) enum NoLoss {
    /// A hook failed.
    Plugin(PluginError),
    /// What a hook answered is no loss, with the hook's identity.
    Unusable(String, TensorError),
}

impl<'a> Terms<'a> {
    /// Starts every hook.
    pub(super) fn start(parts: &'a [LossPart], context: Context) -> Result<Self, PluginError> {
        let terms = parts.iter().map(|part| {
            let hook = Standby::start(&part.configured, context, &part.name)?;
            Ok(Term { part, hook })
        });
        Ok(Self(terms.collect::<Result<_, _>>()?))
    }

    /// Every hook goes on where its part of `saved` says, or begins anew when it is another one and
    /// `accept` has nothing against that.
    ///
    /// # Errors
    /// As [`Standby::resume`]; a hook has no part in `saved`.
    pub(super) fn resume(
        parts: &'a [LossPart],
        context: Context,
        saved: &[PluginState],
        mut accept: impl FnMut(NotResumed) -> Result<(), NotResumed>,
    ) -> Result<Self, NotResumed> {
        let terms = parts.iter().map(|part| {
            let (configured, role) = (&part.configured, &part.name);
            let hook = plugin_state(saved, role, configured)
                .and_then(|state| Standby::resume(configured, context, role, state))
                .or_else(|reason| {
                    accept(reason)?;
                    Standby::start(configured, context, role).map_err(NotResumed::Failed)
                })?;
            Ok(Term { part, hook })
        });
        Ok(Self(terms.collect::<Result<_, _>>()?))
    }

    /// Every hook with what it remembers.
    ///
    /// # Errors
    /// As [`Standby::snapshot`].
    pub(super) fn snapshot(&mut self, place: (u32, u64)) -> Result<Vec<PluginState>, PluginError> {
        let terms = self.0.iter_mut();
        terms.map(|term| term.hook.snapshot(place)).collect()
    }

    /// Why a hook has no snapshots, when that was found out.
    pub(super) fn unsaved(&self) -> Option<String> {
        self.0.iter().find_map(|term| term.hook.unsaved())
    }

    /// The hooks that count at an update, with their weights.
    fn active(&mut self, update: u64, updates: u64) -> impl Iterator<Item = (&mut Term<'a>, f64)> {
        self.0
            .iter_mut()
            .map(move |term| {
                let weight = term.part.weight_at(update, updates);
                (term, weight)
            })
            .filter(|(_, weight)| *weight != 0.0)
    }

    /// What the hooks of an update want to know of frozen networks.
    pub(super) fn wanted(&mut self, update: u64, updates: u64) -> Wanted {
        self.active(update, updates)
            .fold(Wanted::default(), |wanted, (term, _)| Wanted {
                meta_features: wanted.meta_features || term.hook.hook().needs().meta_features,
                teacher: wanted.teacher || term.hook.hook().asks_teacher(),
            })
    }

    /// What the hooks can be given.
    pub(super) fn given(
        &self,
        network: &Network,
        forward: Forward,
        guidance: Guidance,
        labels: &Tensor<1, Int>,
        soft_targets: Option<Tensor<2>>,
    ) -> Result<Given, TensorError> {
        let features = |boundaries: Vec<Tensor<3>>, first: usize| {
            (first..)
                .zip(boundaries)
                .map(|(module, tensor)| Ok((module as u32, AnyTensor::from_tensor(tensor)?)))
                .collect::<Result<Vec<_>, TensorError>>()
        };
        let constant = |tensor: Tensor<2>| AnyTensor::from_tensor(tensor.autodiff());
        let granted = |name: &str| {
            let mut hooks = self.0.iter().filter_map(|term| term.hook.hook().weights());
            hooks.any(|names| names.allow(name))
        };
        let meta = guidance.meta_features.into_iter().map(Tensor::autodiff);
        Ok(Given {
            inputs: LossInputs {
                logits: AnyTensor::from_tensor(forward.logits)?,
                class_ids: AnyTensor::from_ids(labels.clone().autodiff())?,
                soft_targets: soft_targets.map(constant).transpose()?,
                network_features: features(forward.boundaries, forward.first)?,
                meta_features: features(meta.collect(), 0)?,
                weights: if self
                    .0
                    .iter()
                    .any(|term| term.hook.hook().weights().is_some())
                {
                    trained_weights(network, granted)?
                } else {
                    Vec::new()
                },
                teacher: guidance.teacher.map(constant).transpose()?,
            },
        })
    }

    /// Asks every hook that counts at the update of `step`, at a place in the unit, epoch and update; the
    /// network has `modules` modules.
    pub(super) fn ask(
        &mut self,
        place: (u32, u64),
        step: &StepInfo,
        given: &Given,
        modules: usize,
    ) -> Result<Sum, NoLoss> {
        let several = self.0.len() > 1;
        let mut sum = Sum {
            loss: None,
            reached: None,
            terms: Vec::new(),
        };
        for (term, weight) in self.active(step.update, step.updates) {
            let loss = term
                .hook
                .ask(place, |hook| hook.compute(step, given.to(hook)));
            let loss = loss.map_err(NoLoss::Plugin)?;
            sum.reached = sum.reached.max(term.hook.hook().reached(modules));
            let loss = loss.into_scalar_tensor().map_err(|source| {
                NoLoss::Unusable(term.hook.plugin().identity().to_string(), source)
            })?;
            if several {
                let told = TermLoss {
                    role: term.part.name.clone(),
                    plugin: term.hook.plugin().description().name.clone(),
                    weight,
                    loss: 0.0,
                };
                sum.terms.push((told, loss.clone().inner()));
            }
            // A weight of 1 leaves the bits of the loss as they are.
            let weighed = if weight == 1.0 {
                loss
            } else {
                loss.mul_scalar(weight)
            };
            sum.loss = Some(match sum.loss.take() {
                None => weighed,
                Some(before) => before + weighed,
            });
        }
        Ok(sum)
    }

    /// The hooks that answer now, with version and file, for an error about the loss.
    pub(super) fn identities(&self) -> String {
        let each: Vec<String> = self
            .0
            .iter()
            .map(|term| term.hook.plugin().identity().to_string())
            .collect();
        each.join(" + ")
    }

    /// Records every call from now on.
    pub(super) fn record_calls(&mut self) {
        self.0.iter_mut().for_each(|term| term.hook.record_calls());
    }

    /// Records no further call.
    pub(super) fn stop_recording(&mut self) {
        self.0
            .iter_mut()
            .for_each(|term| term.hook.stop_recording());
    }

    /// The calls since the last call of this function, when they are recorded.
    pub(super) fn drain_recordings(&mut self) -> Vec<Recording> {
        let terms = self.0.iter_mut();
        terms
            .flat_map(|term| term.hook.drain_recordings())
            .collect()
    }

    /// What the hooks said since the last call of this function, each with its name.
    pub(super) fn drain_messages(&mut self) -> Vec<(&'a str, Message)> {
        let terms = self.0.iter_mut();
        terms.flat_map(|term| term.hook.drain_messages()).collect()
    }

    /// The replacements that nobody has been told of.
    pub(super) fn take_news(&mut self) -> Vec<(Replacement, PluginError)> {
        let terms = self.0.iter_mut();
        terms.filter_map(|term| term.hook.take_news()).collect()
    }

    /// What every plugin that served has used, with its place in the loss and its name.
    pub(super) fn used(&self) -> Vec<(&'a str, (&'a str, Statistics, Spent))> {
        let terms = self.0.iter();
        terms
            .flat_map(|term| {
                let name = term.part.name.as_str();
                term.hook.used().map(move |used| (name, used))
            })
            .collect()
    }
}

impl Given {
    /// What one hook is given of it.
    fn to(&self, hook: &LossHook) -> LossInputs {
        let mut inputs = self.inputs.clone();
        let needs = hook.needs();
        if !needs.network_features {
            inputs.network_features.clear();
        }
        if !needs.meta_features {
            inputs.meta_features.clear();
        }
        match hook.weights() {
            Some(granted) => inputs.weights.retain(|(name, _)| granted.allow(name)),
            None => inputs.weights.clear(),
        }
        if !hook.asks_teacher() {
            inputs.teacher = None;
        }
        inputs
    }
}
