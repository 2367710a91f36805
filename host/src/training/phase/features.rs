//! What the frozen stages before a trained module make of the pictures, computed once for all epochs.
//!
//! The features of a picture do not depend on its batch, as long as batches are of the same size; so the
//! pictures go through the stages in their order, in as many as a part of a batch has, and training has the
//! same bits whether the features are there, were made again, or are computed at every update.

use std::ops::Range;
use std::time::Instant;

use burn::tensor::{Tensor, TensorData};

use super::super::features::KeptFeatures;
use super::{PhaseTraining, State};
use crate::data::{Batch, Loader, Part};
use crate::device::{read, upload};
use crate::event::Event;
use crate::random::Seed;
use crate::run::{FeatureKey, FeatureReader, RunError, Unit};
use crate::training::TrainError;

impl PhaseTraining<'_> {
    /// Opens the features that lie in the run folder, or computes them. Where they cannot be written,
    /// training goes on without, and says so.
    pub(super) fn keep_features(&self, state: &mut State<'_>) -> Result<(), TrainError> {
        let Some(kept) = self.kept else {
            return Ok(());
        };
        let unit = Unit::Train(self.phase);
        let path = self.folder.features_path(unit);
        // A process that trained on them before, and was interrupted, has left them there.
        let trained_on = state.seen.spared > 0;
        state.features = match self.folder.features(unit, &self.feature_key(kept)) {
            Some(Ok(reader)) => Some(reader),
            Some(Err(reason)) => {
                let what = format!("`{}` is made again: {reason}", path.display());
                self.tell_note(state, what)?;
                self.make_features(state, kept)?
            }
            None if trained_on => {
                let what = format!("`{}` is made again, since it is missing", path.display());
                self.tell_note(state, what)?;
                self.make_features(state, kept)?
            }
            None => self.make_features(state, kept)?,
        };
        if state.features.is_some() {
            state.seen.kept = kept.pictures;
        }
        Ok(())
    }

    /// The features of some pictures of a batch, [pictures, tokens, width], if they are kept.
    pub(super) fn features_of(
        &self,
        state: &mut State<'_>,
        batch: &Batch,
        part: Range<usize>,
    ) -> Result<Option<Tensor<3>>, TrainError> {
        let (Some(kept), Some(reader)) = (self.kept, &mut state.features) else {
            return Ok(None);
        };
        let (epoch, drawn) = (u64::from(state.epoch), self.config.augmentation.draws());
        let places: Vec<u64> = part
            .map(|index| kept.place(epoch, batch.samples[index], batch.indices[index], drawn))
            .collect();
        let values = match reader.read(&places) {
            Ok(values) => values,
            Err(reason) => self.read_again(state, kept, &places, reason)?,
        };
        state.seen.spared += places.len() as u64;
        let [tokens, width] = kept.tokens;
        let data = TensorData::new(values, [places.len(), tokens, width]);
        let plain = self.device.clone().inner();
        Ok(Some(upload(data, &plain)))
    }

    /// Makes features again that were damaged while training went on, and reads these.
    fn read_again(
        &self,
        state: &mut State<'_>,
        kept: KeptFeatures,
        places: &[u64],
        reason: String,
    ) -> Result<Vec<f32>, TrainError> {
        let path = self.folder.features_path(Unit::Train(self.phase));
        self.tell_note(
            state,
            format!("`{}` is made again: {reason}", path.display()),
        )?;
        state.features = self.make_features(state, kept)?;
        let read = state.features.as_mut().map(|reader| reader.read(places));
        let reason = match read {
            Some(Ok(values)) => return Ok(values),
            Some(Err(again)) => again,
            None => reason,
        };
        Err(TrainError::Features {
            place: self.place(state.epoch, state.update),
            path,
            reason,
        })
    }

    /// Shows every picture to the frozen stages, once for each way in which it is seen, and writes down
    /// what they make of it; nothing when that cannot be written.
    fn make_features(
        &self,
        state: &mut State<'_>,
        kept: KeptFeatures,
    ) -> Result<Option<FeatureReader>, TrainError> {
        let made = self.written_features(state, kept);
        match made {
            Err(TrainError::Run(error @ RunError::File { .. })) => {
                let text = format!(
                    "what the frozen stages make of the pictures is computed at every update: {error}"
                );
                self.tell_note(state, text)?;
                Ok(None)
            }
            made => made.map(Some),
        }
    }

    fn written_features(
        &self,
        state: &mut State<'_>,
        kept: KeptFeatures,
    ) -> Result<FeatureReader, TrainError> {
        let unit = Unit::Train(self.phase);
        let target = self.phase.module().unwrap_or(0);
        let plain = self.device.clone().inner();
        let part = self.config.batch / self.config.accumulation;
        let loader = Loader::new(
            self.dataset,
            Part::TrainInOrder,
            self.picture_size,
            part,
            Some(self.config.augmentation.clone()),
            Seed(self.seed),
            self.phase,
        )?;
        let mut writer = self.folder.feature_writer(unit, self.feature_key(kept))?;
        for view in 0..kept.views {
            for batch in loader.epoch(view) {
                if self.stop.is_asked() {
                    drop(writer);
                    return Err(self.stopped(state, Instant::now()));
                }
                let Batch {
                    mut images, shape, ..
                } = batch?;
                let [pictures, channels, height, width] = shape;
                // Products of another size could round otherwise, so a short batch is filled up.
                images.resize(part * channels * height * width, 0.0);
                let data = TensorData::new(images, [part, channels, height, width]);
                let images = upload(data, &plain);
                let features = state.network.frozen_features(images, target);
                let values: Vec<f32> = read(features).iter().collect();
                writer.write(&values[..pictures * kept.values()])?;
            }
        }
        Ok(writer.finish()?)
    }

    /// What the features are made from.
    fn feature_key(&self, kept: KeptFeatures) -> FeatureKey {
        // On the CPU the bits do not depend on the threads, which the name counts.
        let device = if self.device_name.starts_with("CPU ") {
            "CPU"
        } else {
            self.device_name
        };
        FeatureKey {
            unit: self.phase.to_string(),
            device: device.to_owned(),
            origin: self.origin.clone(),
            records: kept.pictures,
            values: kept.values(),
        }
    }

    /// Says something about the unit.
    fn tell_note(&self, state: &mut State<'_>, note: String) -> Result<(), TrainError> {
        let unit = self.phase.to_string();
        Ok(state.observer.observe(&Event::UnitNote { unit, note })?)
    }
}
