//! Batches of one part of a data set: the order of the pictures, and the numbers of each.

use std::fmt;
use std::sync::Arc;

use rand::seq::SliceRandom;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::augmentation::View;
use super::prefetch::EpochBatches;
use super::{Augmentation, Batch, DataError, Dataset, Picture, Pictures, resize};
use crate::phase::Phase;
use crate::random::{Key, Seed};

/// The parts of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Trained on: shuffled in every epoch, only full batches.
    Train,
    /// Measured on: all pictures in their order, the last batch may be short.
    Validation,
}

/// Makes the batches of a part of a data set.
#[derive(Clone, Debug)]
pub struct Loader(Arc<Recipe>);

impl Loader {
    /// Batches of `batch` pictures, scaled to `picture_size` pixels in each direction.
    ///
    /// # Errors
    ///
    /// If the pictures have another size and are not to be resized, if a training batch cannot be
    /// filled, if the augmentation is impossible, or if threads cannot be started.
    pub fn new(
        dataset: &Dataset,
        part: Part,
        picture_size: usize,
        batch: usize,
        augmentation: Option<Augmentation>,
        seed: Seed,
        phase: Phase,
    ) -> Result<Self, DataError> {
        for (key, value) in [("image_size", picture_size), ("batch", batch)] {
            if value == 0 {
                return Err(DataError::Setting {
                    key,
                    value: "0".to_owned(),
                    reason: "it has to be positive".to_owned(),
                });
            }
        }
        let pictures = match part {
            Part::Train => &dataset.train,
            Part::Validation => &dataset.validation,
        };
        if part == Part::Train && batch > pictures.len() {
            return Err(DataError::BatchTooLarge {
                batch,
                pictures: pictures.len(),
            });
        }
        let other_size = dataset
            .picture_size
            .filter(|size| *size != (picture_size, picture_size));
        if let Some((width, height)) = other_size
            && !dataset.resize
        {
            return Err(DataError::PictureSize {
                name: format!("data set {}", dataset.name),
                width,
                height,
                expected: picture_size,
            });
        }
        if let Some(augmentation) = &augmentation {
            augmentation.validate(picture_size)?;
        }
        // Handing a small picture of a small set to another thread costs more than its numbers do.
        let pool = if pictures.costly() || other_size.is_some() {
            Some(decoding_threads(dataset.threads)?)
        } else {
            None
        };
        Ok(Self(Arc::new(Recipe {
            pictures: Arc::clone(pictures),
            part,
            classes: dataset.classes.len(),
            channels: dataset.channels,
            picture_size,
            resize: dataset.resize,
            batch,
            tables: tables(dataset),
            augmentation,
            seed,
            phase,
            pool,
        })))
    }

    /// Batches in an epoch: the full ones when training, otherwise all.
    pub fn batches_per_epoch(&self) -> usize {
        self.0.batches()
    }

    /// The batches of an epoch. A background thread makes them ahead of time until the iterator is
    /// dropped.
    pub fn epoch(&self, epoch: u64) -> EpochBatches {
        self.epoch_from(epoch, 0)
    }

    /// The batches of an epoch from `first_batch` on; the ones before it are not made.
    pub fn epoch_from(&self, epoch: u64, first_batch: usize) -> EpochBatches {
        EpochBatches::start(Arc::clone(&self.0), epoch, first_batch)
    }
}

/// Threads of their own, since work of the training step that waits in the shared pool would
/// otherwise be delayed by whole pictures.
fn decoding_threads(threads: Option<usize>) -> Result<ThreadPool, DataError> {
    ThreadPoolBuilder::new()
        // For rayon, 0 is the number of cores.
        .num_threads(threads.unwrap_or(0))
        .thread_name(|index| format!("decode-{index}"))
        .build()
        .map_err(|source| DataError::Threads {
            source: Box::new(source),
        })
}

/// The normalised number of every byte, for each channel.
fn tables(dataset: &Dataset) -> Vec<[f32; 256]> {
    let normalisation = &dataset.normalisation;
    let channels = normalisation.mean.iter().zip(&normalisation.std);
    channels
        .map(|(mean, std)| std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std))
        .collect()
}

/// Everything that batches depend on.
pub(super) struct Recipe {
    pictures: Arc<dyn Pictures>,
    part: Part,
    classes: usize,
    channels: usize,
    picture_size: usize,
    resize: bool,
    batch: usize,
    tables: Vec<[f32; 256]>,
    augmentation: Option<Augmentation>,
    seed: Seed,
    phase: Phase,
    pool: Option<ThreadPool>,
}

impl fmt::Debug for Recipe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Recipe")
            .field("pictures", &self.pictures)
            .field("part", &self.part)
            .field("picture_size", &self.picture_size)
            .field("batch", &self.batch)
            .field("augmentation", &self.augmentation)
            .field("seed", &self.seed)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

impl Recipe {
    /// Batches in an epoch.
    pub(super) fn batches(&self) -> usize {
        match self.part {
            Part::Train => self.pictures.len() / self.batch,
            Part::Validation => self.pictures.len().div_ceil(self.batch),
        }
    }

    /// All pictures in the order of an epoch.
    pub(super) fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.pictures.len()).collect();
        if self.part == Part::Train {
            let mut stream = self.seed.stream(&Key {
                phase: self.phase,
                epoch,
                sample: 0,
                purpose: "order",
            });
            order.shuffle(&mut stream);
        }
        order
    }

    /// Batch `number` of an epoch with this order.
    pub(super) fn batch(
        &self,
        epoch: u64,
        order: &[usize],
        number: usize,
    ) -> Result<Batch, DataError> {
        let first = number * self.batch;
        let indices = order[first..order.len().min(first + self.batch)].to_vec();
        let size = self.picture_size;
        let shape = [indices.len(), self.channels, size, size];
        let mut images = vec![0.0; shape.iter().product()];
        let picture_values = self.channels * size * size;
        match &self.pool {
            None => {
                for (values, index) in images.chunks_exact_mut(picture_values).zip(&indices) {
                    self.write(epoch, *index, values)?;
                }
            }
            Some(pool) => {
                let results: Vec<Result<(), DataError>> = pool.install(|| {
                    images
                        .par_chunks_exact_mut(picture_values)
                        .zip(&indices)
                        .map(|(values, index)| self.write(epoch, *index, values))
                        .collect()
                });
                // The first error in the order of the batch, whichever came first in time.
                results.into_iter().collect::<Result<(), DataError>>()?;
            }
        }
        let mut batch = Batch {
            images,
            labels: indices
                .iter()
                .map(|index| self.pictures.label(*index) as i64)
                .collect(),
            soft_targets: None,
            indices,
            shape,
        };
        let weight = self.augmentation.as_ref().and_then(|augmentation| {
            augmentation.mixing_weight(self.seed, self.phase, epoch, number as u64)
        });
        if let Some(weight) = weight {
            batch.mix(weight, self.classes);
        }
        Ok(batch)
    }

    /// Writes the numbers of a picture: channels, rows, columns.
    fn write(&self, epoch: u64, index: usize, values: &mut [f32]) -> Result<(), DataError> {
        let size = self.picture_size;
        let mut picture = self.pictures.picture(index)?;
        if (picture.width, picture.height) != (size, size) {
            if !self.resize {
                return Err(DataError::PictureSize {
                    name: format!("picture {}", self.pictures.name(index)),
                    width: picture.width,
                    height: picture.height,
                    expected: size,
                });
            }
            picture = resize::to_square(picture, size);
        }
        let view = self
            .augmentation
            .as_ref()
            .map_or(View::PLAIN, |augmentation| {
                augmentation.view(self.seed, self.phase, epoch, index as u64)
            });
        for (channel, (values, table)) in values
            .chunks_exact_mut(size * size)
            .zip(&self.tables)
            .enumerate()
        {
            normalise(&picture, channel, view, table, values);
        }
        Ok(())
    }
}

/// Writes one channel of a view of a square picture; outside of the picture it is black.
fn normalise(
    picture: &Picture,
    channel: usize,
    view: View,
    table: &[f32; 256],
    values: &mut [f32],
) {
    let size = picture.width;
    for (y, row) in values.chunks_exact_mut(size).enumerate() {
        let source = y.checked_add_signed(view.down).filter(|y| *y < size);
        let Some(y) = source else {
            row.fill(table[0]);
            continue;
        };
        for (x, value) in row.iter_mut().enumerate() {
            let x = if view.mirrored { size - 1 - x } else { x };
            let byte = match x.checked_add_signed(view.right).filter(|x| *x < size) {
                Some(x) => picture.pixels[(y * size + x) * picture.channels + channel],
                None => 0,
            };
            *value = table[usize::from(byte)];
        }
    }
}

#[cfg(test)]
mod tests;
