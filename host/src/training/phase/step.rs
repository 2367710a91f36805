//! Forward and backward of one part of a batch: what the loss hook is given, and what it answers.

use burn::tensor::{Int, Tensor, TensorData};

use super::{PhaseTraining, State};
use crate::data::Batch;
use crate::model::{Forward, Noise, trained_weights};
use crate::optimizer::OptimizerError;
use crate::phase::Phase;
use crate::plugin::{LossInputs, StepInfo};
use crate::tensor::{AnyTensor, TensorError};
use crate::training::TrainError;

impl PhaseTraining<'_> {
    /// Forward and backward of `pictures` pictures of the batch from `first` on.
    pub(super) fn accumulate(
        &self,
        state: &mut State<'_>,
        batch: &Batch,
        first: usize,
        pictures: usize,
        index: u64,
    ) -> Result<(), TrainError> {
        let [_, channels, height, width] = batch.shape;
        let picture = channels * height * width;
        let plain = self.device.clone().inner();
        let slice =
            |values: &[f32], size: usize| values[first * size..(first + pictures) * size].to_vec();
        let images = TensorData::new(
            slice(&batch.images, picture),
            [pictures, channels, height, width],
        );
        let images = Tensor::<4>::from_data(images, &plain);
        let labels = TensorData::new(batch.labels[first..first + pictures].to_vec(), [pictures]);
        let labels = Tensor::<1, Int>::from_data(labels, &plain);
        let soft_targets = batch.soft_targets.as_ref().map(|targets| {
            let classes = targets.len() / batch.shape[0];
            let data = TensorData::new(slice(targets, classes), [pictures, classes]);
            Tensor::<2>::from_data(data, &plain)
        });
        let samples = batch.indices[first..first + pictures]
            .iter()
            .map(|index| *index as u64)
            .collect();
        let noise = self.noise(state.epoch, samples);
        let forward = match self.phase {
            Phase::Module(target) => state.network.forward_hybrid(images.clone(), target, &noise),
            _ => state.network.forward(images.clone().autodiff(), &noise),
        };
        let meta = self
            .meta
            .as_ref()
            .map(|meta| meta.forward(images, &Noise::off()));
        let logits = forward.logits.clone().inner();
        let inputs = Self::loss_inputs(state, forward, meta, &labels, soft_targets)
            .map_err(|source| self.unusable(state, source))?;
        let step = StepInfo {
            update: state.update,
            updates: self.cost.updates(),
            epoch: self.epoch_at(state, index),
            classes: self.dataset.classes.len() as u32,
            pictures: pictures as u32,
        };
        let place = (state.epoch, state.update);
        let loss = state
            .loss
            .ask(place, |hook| hook.compute(&step, inputs.clone()));
        self.pass_on_messages(state)?;
        let loss = loss.map_err(|source| self.failed(state, source))?;
        let loss = loss
            .into_scalar_tensor()
            .map_err(|source| self.unusable(state, source))?;
        let shown = batch.indices[first..first + pictures].to_vec();
        state
            .pending
            .add(loss.clone().inner(), logits, labels, shown);
        // The hook answers a mean over this part; the update's loss is the mean over its parts.
        let share = loss.div_scalar(self.config.accumulation as f64);
        state
            .optimizer
            .accumulate(&state.network, share)
            .map_err(|source| self.not_connected(state, source))
    }

    /// The error for tensors that do not make a loss.
    pub(super) fn unusable(&self, state: &State<'_>, source: TensorError) -> TrainError {
        TrainError::Loss {
            place: self.place(state.epoch, state.update),
            plugin: state.loss.plugin().identity().to_string(),
            source,
        }
    }

    /// The error for a loss that gives the trained weights no gradient.
    pub(super) fn not_connected(&self, state: &State<'_>, source: OptimizerError) -> TrainError {
        TrainError::NotConnected {
            place: self.place(state.epoch, state.update),
            plugin: state.loss.plugin().identity().to_string(),
            source,
        }
    }

    /// What the hook is given.
    pub(super) fn loss_inputs(
        state: &State<'_>,
        forward: Forward,
        meta: Option<Forward>,
        labels: &Tensor<1, Int>,
        soft_targets: Option<Tensor<2>>,
    ) -> Result<LossInputs, TensorError> {
        let features = |boundaries: Vec<Tensor<3>>| {
            boundaries
                .into_iter()
                .enumerate()
                .map(|(module, tensor)| Ok((module as u32, AnyTensor::from_tensor(tensor)?)))
                .collect::<Result<Vec<_>, TensorError>>()
        };
        let network = if state.loss.hook().needs().network_features {
            forward.boundaries
        } else {
            Vec::new()
        };
        let meta = meta.map_or_else(Vec::new, |meta| meta.boundaries);
        let weights = match state.loss.hook().weights() {
            Some(granted) => trained_weights(&state.network, |name| granted.allow(name))?,
            None => Vec::new(),
        };
        Ok(LossInputs {
            logits: AnyTensor::from_tensor(forward.logits)?,
            class_ids: AnyTensor::from_ids(labels.clone().autodiff())?,
            soft_targets: soft_targets
                .map(|targets| AnyTensor::from_tensor(targets.autodiff()))
                .transpose()?,
            network_features: features(network)?,
            meta_features: features(meta.into_iter().map(Tensor::autodiff).collect())?,
            weights,
        })
    }
}
