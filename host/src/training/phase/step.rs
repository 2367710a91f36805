//! Forward and backward of one part of a batch: what the loss hook is given, and what it answers.

use burn::tensor::{Float, Int, Tensor, TensorData};

use super::terms::NoLoss;
use super::{PhaseTraining, State};
use crate::data::Batch;
use crate::device::upload;
use crate::optimizer::OptimizerError;
use crate::phase::Phase;
use crate::plugin::StepInfo;
use crate::tensor::TensorError;
use crate::training::TrainError;

impl PhaseTraining<'_> {
    /// Forward and backward of `pictures` pictures of the batch from `first` on. When these are all, the
    /// device gets the memory that the loader filled, and on the CPU works on it.
    pub(super) fn accumulate(
        &self,
        state: &mut State<'_>,
        batch: &mut Batch,
        first: usize,
        pictures: usize,
        index: u64,
    ) -> Result<(), TrainError> {
        let [_, channels, height, width] = batch.shape;
        let picture = channels * height * width;
        let plain = self.device.clone().inner();
        let all = batch.shape[0];
        let take = |values: &mut Vec<f32>, size: usize| {
            if pictures == all {
                std::mem::take(values)
            } else {
                values[first * size..(first + pictures) * size].to_vec()
            }
        };
        let images = (!batch.images.is_empty()).then(|| -> Tensor<4> {
            let images = take(&mut batch.images, picture);
            let images = TensorData::new(images, [pictures, channels, height, width]);
            upload(images, &plain)
        });
        let labels = TensorData::new(batch.labels[first..first + pictures].to_vec(), [pictures]);
        let labels: Tensor<1, Int> = upload(labels, &plain);
        let soft_targets = batch.soft_targets.as_mut().map(|targets| {
            let classes = targets.len() / all;
            let data = TensorData::new(take(targets, classes), [pictures, classes]);
            upload::<2, Float>(data, &plain)
        });
        let samples = batch.samples[first..first + pictures].to_vec();
        let noise = self.noise(state.epoch, samples);
        let updates = self.cost.updates();
        let wanted = state.loss.wanted(state.update, updates);
        let guidance = self.guides.ask(images.as_ref(), wanted, &mut state.seen);
        let features = self.features_of(state, batch, first..first + pictures)?;
        let forward = match (self.phase, features, images) {
            (Phase::Module(target), Some(features), _) => {
                state.network.forward_hybrid_from(features, target, &noise)
            }
            (Phase::Module(target), None, Some(images)) => {
                state.network.forward_hybrid(images, target, &noise)
            }
            (_, _, Some(images)) => state.network.forward(images.autodiff(), &noise),
            (.., None) => panic!("a batch has neither pictures nor features"),
        };
        let logits = forward.logits.clone().inner();
        let given = state
            .loss
            .given(&state.network, forward, guidance, &labels, soft_targets)
            .map_err(|source| self.unusable(state, state.loss.identities(), source))?;
        let step = StepInfo {
            update: state.update,
            updates,
            epoch: self.epoch_at(state, index),
            classes: self.dataset.classes.len() as u32,
            pictures: pictures as u32,
        };
        let place = (state.epoch, state.update);
        let modules = state.network.stages().len();
        let sum = state.loss.ask(place, &step, &given, modules);
        self.pass_on_messages(state)?;
        let sum = sum.map_err(|reason| match reason {
            NoLoss::Plugin(source) => self.failed(state, source),
            NoLoss::Unusable(plugin, source) => self.unusable(state, plugin, source),
        })?;
        let loss = sum.loss.ok_or_else(|| TrainError::NoTerm {
            place: self.place(state.epoch, state.update),
            updates,
        })?;
        let shown = batch.indices[first..first + pictures].to_vec();
        state
            .pending
            .add(loss.clone().inner(), sum.terms, logits, labels, shown);
        if let Some(last) = sum.reached {
            *state.reached.entry(last).or_default() += pictures as u64;
        }
        // The hook answers a mean over this part; the update's loss is the mean over its parts.
        let share = loss.div_scalar(self.config.accumulation as f64);
        state
            .optimizer
            .accumulate(&state.network, share)
            .map_err(|source| self.not_connected(state, source))
    }

    /// The error for tensors that do not make a loss.
    fn unusable(&self, state: &State<'_>, plugin: String, source: TensorError) -> TrainError {
        TrainError::Loss {
            place: self.place(state.epoch, state.update),
            plugin,
            source,
        }
    }

    /// The error for a loss that gives the trained weights no gradient.
    pub(super) fn not_connected(&self, state: &State<'_>, source: OptimizerError) -> TrainError {
        TrainError::NotConnected {
            place: self.place(state.epoch, state.update),
            plugin: state.loss.identities(),
            source,
        }
    }
}
