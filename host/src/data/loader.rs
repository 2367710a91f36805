//! Batches of one part of a data set: the order of the pictures, and the numbers of each.

use std::fmt;
use std::sync::Arc;

use rand::seq::SliceRandom;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::augmentation::{Crop, Occasion, erase};
use super::prefetch::EpochBatches;
use super::resize::{Region, Square};
use super::{Augmentation, Batch, DataError, Dataset, Draws, Mixing, Picture, Pictures};
use crate::phase::Phase;
use crate::random::Seed;
use crate::stop::Stop;

/// The parts of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Trained on: shuffled in every epoch, only full batches.
    Train,
    /// The same pictures, changed in the same way, all of them in their order: those with the first
    /// number of draws, then further copies where pictures are repeated. They are not mixed, and
    /// the last batch may be short.
    TrainInOrder,
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
            Part::Train | Part::TrainInOrder => &dataset.train,
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
        let costly = augmentation.as_ref().is_some_and(Augmentation::is_costly);
        let pool = if pictures.costly() || other_size.is_some() || costly {
            Some(Arc::new(decoding_threads(dataset.threads)?))
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
            kept: match part {
                Part::Train | Part::TrainInOrder => 1.0,
                Part::Validation => dataset.evaluation_crop,
            },
            batch,
            tables: tables(dataset),
            fill: dataset.normalisation.mean_bytes(),
            augmentation,
            seed,
            phase,
            pool,
            pictureless: false,
        })))
    }

    /// The same batches without the numbers of their pictures, which are not read.
    #[must_use]
    pub fn without_pictures(self) -> Self {
        let mut recipe = Arc::unwrap_or_clone(self.0);
        recipe.pictureless = true;
        Self(Arc::new(recipe))
    }

    /// Batches in an epoch: the full ones when training, otherwise all.
    pub fn batches_per_epoch(&self) -> usize {
        self.0.batches()
    }

    /// How a training picture is seen in an epoch, or its first copy; `None` when it is not: it is
    /// left out where it is in no full batch, or where others are repeated.
    ///
    /// # Errors
    ///
    /// If the picture or its partner cannot be read.
    pub fn seen(&self, epoch: u64, index: usize) -> Result<Option<Seen>, DataError> {
        self.0.seen(epoch, index)
    }

    /// The training pictures in the order of an epoch; the first are surely in it.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        self.0.order(epoch)
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
pub(super) fn decoding_threads(threads: Option<usize>) -> Result<ThreadPool, DataError> {
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

/// How a picture is seen in an epoch.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What became of it.
    pub draws: Draws,
    /// How its batch is mixed, if batches are.
    pub mixing: Option<Mixing>,
    /// The picture that it is mixed with.
    pub partner: usize,
    /// Its numbers: channels, rows, columns.
    pub values: Vec<f32>,
}

impl Seen {
    /// Whether anything of another picture is in it.
    pub fn is_mixed(&self) -> bool {
        self.mixing.is_some_and(|mixing| mixing.weight() < 1.0)
    }
}

/// One picture of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    /// Which picture of the part it is.
    index: usize,
    /// The number of its draws.
    number: u64,
}

/// Everything that batches depend on.
#[derive(Clone)]
pub(super) struct Recipe {
    pictures: Arc<dyn Pictures>,
    part: Part,
    classes: usize,
    channels: usize,
    picture_size: usize,
    resize: bool,
    /// The share of the shorter side that is kept of a resized picture.
    kept: f64,
    batch: usize,
    tables: Vec<[f32; 256]>,
    /// What operations put where pixels come from outside of a picture.
    fill: [u8; 3],
    augmentation: Option<Augmentation>,
    seed: Seed,
    phase: Phase,
    pool: Option<Arc<ThreadPool>>,
    /// Whether batches have no numbers of pictures.
    pictureless: bool,
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
            Part::TrainInOrder | Part::Validation => self.samples().div_ceil(self.batch),
        }
    }

    /// Pictures of an epoch, the copies of one counted that are changed differently.
    fn samples(&self) -> usize {
        match (&self.augmentation, self.part) {
            (Some(augmentation), Part::TrainInOrder) if augmentation.draws() => {
                self.pictures.len() * augmentation.repeats
            }
            _ => self.pictures.len(),
        }
    }

    /// All pictures in the order of an epoch.
    pub(super) fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.pictures.len()).collect();
        if self.part == Part::Train {
            order.shuffle(&mut self.occasion(epoch, 0).stream("order"));
        }
        order
    }

    fn occasion(&self, epoch: u64, number: u64) -> Occasion {
        Occasion {
            seed: self.seed,
            phase: self.phase,
            epoch,
            number,
        }
    }

    /// How many copies of a picture follow each other.
    fn repeats(&self) -> usize {
        self.augmentation
            .as_ref()
            .map_or(1, |augmentation| augmentation.repeats)
    }

    /// The picture at a position of an epoch with this order.
    fn sample(&self, order: &[usize], position: usize) -> Sample {
        if self.part == Part::TrainInOrder {
            return Sample {
                index: position % order.len(),
                number: position as u64,
            };
        }
        let index = order[position / self.repeats()];
        let copy = position % self.repeats();
        Sample {
            index,
            number: (copy * order.len() + index) as u64,
        }
    }

    /// How batch `number` of an epoch is mixed, if batches are.
    fn mixing(&self, epoch: u64, number: usize) -> Option<Mixing> {
        let augmentation = self.augmentation.as_ref()?;
        if self.part == Part::TrainInOrder {
            return None;
        }
        augmentation.mixing(&self.occasion(epoch, number as u64), self.picture_size)
    }

    /// Batch `number` of an epoch with this order; nothing when it is found `unwanted` before it is
    /// made.
    pub(super) fn batch(
        &self,
        epoch: u64,
        order: &[usize],
        number: usize,
        unwanted: &Stop,
    ) -> Option<Result<Batch, DataError>> {
        let made = self.made(epoch, order, number, unwanted);
        // Then pictures of it may be missing.
        (!unwanted.is_asked()).then_some(made)
    }

    fn made(
        &self,
        epoch: u64,
        order: &[usize],
        number: usize,
        unwanted: &Stop,
    ) -> Result<Batch, DataError> {
        let write = |sample: Sample, values: &mut [f32]| {
            if unwanted.is_asked() {
                return Ok(());
            }
            self.write(epoch, sample, values).map(drop)
        };
        let first = number * self.batch;
        let samples: Vec<Sample> = (first..self.samples().min(first + self.batch))
            .map(|position| self.sample(order, position))
            .collect();
        let size = self.picture_size;
        let shape = [samples.len(), self.channels, size, size];
        let picture_values = self.channels * size * size;
        let wanted = if self.pictureless { 0 } else { samples.len() };
        let mut images = vec![0.0; wanted * picture_values];
        match &self.pool {
            _ if self.pictureless => {}
            None => {
                for (values, sample) in images.chunks_exact_mut(picture_values).zip(&samples) {
                    write(*sample, values)?;
                }
            }
            Some(pool) => {
                let results: Vec<Result<(), DataError>> = pool.install(|| {
                    images
                        .par_chunks_exact_mut(picture_values)
                        .zip(&samples)
                        .map(|(values, sample)| write(*sample, values))
                        .collect()
                });
                // The first error in the order of the batch, whichever came first in time.
                results.into_iter().collect::<Result<(), DataError>>()?;
            }
        }
        let mut batch = Batch {
            images,
            labels: samples
                .iter()
                .map(|sample| self.pictures.label(sample.index) as i64)
                .collect(),
            soft_targets: None,
            indices: samples.iter().map(|sample| sample.index).collect(),
            samples: samples.iter().map(|sample| sample.number).collect(),
            shape,
        };
        if let Some(mixing) = self.mixing(epoch, number).filter(|_| !self.pictureless) {
            batch.mix(&mixing, self.classes);
        }
        Ok(batch)
    }

    /// How a picture is seen in an epoch.
    fn seen(&self, epoch: u64, index: usize) -> Result<Option<Seen>, DataError> {
        let order = self.order(epoch);
        let place = order.iter().position(|other| *other == index);
        let Some(position) = place.map(|place| place * self.repeats()) else {
            return Ok(None);
        };
        let number = position / self.batch;
        if number >= self.batches() {
            return Ok(None);
        }
        let mirrored = (2 * number + 1) * self.batch - 1 - position;
        let own = self.sample(&order, position);
        let partner = self.sample(&order, mirrored);
        let length = self.channels * self.picture_size * self.picture_size;
        let mut values = vec![0.0; length];
        let draws = self.write(epoch, own, &mut values)?;
        let mixing = self.mixing(epoch, number);
        if let Some(mixing) = &mixing
            && position != mirrored
        {
            let mut other = vec![0.0; length];
            self.write(epoch, partner, &mut other)?;
            mixing.mix(&mut values, &mut other, self.picture_size);
        }
        Ok(Some(Seen {
            draws,
            mixing,
            partner: partner.index,
            values,
        }))
    }

    /// Writes the numbers of a picture: channels, rows, columns. Answers what became of it.
    fn write(&self, epoch: u64, sample: Sample, values: &mut [f32]) -> Result<Draws, DataError> {
        let size = self.picture_size;
        let view = self
            .augmentation
            .as_ref()
            .map_or(epoch, |one| one.view(epoch));
        let occasion = self.occasion(view, sample.number);
        let (mut whole, mut drawn, mut square) = ((0, 0), None, None);
        // Of a photograph, only the region that becomes the picture is decoded.
        let picture = self.pictures.part(sample.index, &mut |width, height| {
            whole = (width, height);
            let resized = self
                .augmentation
                .as_ref()
                .filter(|augmentation| augmentation.random_resized_crop.is_some());
            drawn = resized.map(|augmentation| augmentation.draw(&occasion, whole, size));
            match drawn.as_ref().map(|draws| draws.crop) {
                Some(Crop::Resized(region)) => region,
                _ if self.resize => {
                    let square = square.insert(Square::new(width, height, size, self.kept));
                    square.region
                }
                _ => Region::of_size(width, height),
            }
        })?;
        if whole != (size, size) && !self.resize {
            return Err(DataError::PictureSize {
                name: format!("picture {}", self.pictures.name(sample.index)),
                width: whole.0,
                height: whole.1,
                expected: size,
            });
        }
        let picture = match square {
            Some(square) => square.of(picture),
            None => picture,
        };
        let Some(augmentation) = &self.augmentation else {
            self.normalise(&picture, values);
            return Ok(Draws::PLAIN);
        };
        let (picture, draws) = match drawn {
            Some(draws) => (picture, draws),
            None => {
                let draws = augmentation.draw(&occasion, (size, size), size);
                (picture, draws)
            }
        };
        let picture = augmentation.change(&draws, picture, size, self.fill);
        self.normalise(&picture, values);
        if !draws.erased.is_empty() {
            let mode = augmentation.erasing_mode;
            let mut noise = occasion.stream("erasing-noise");
            erase(values, size, &draws.erased, mode, &mut noise);
        }
        Ok(draws)
    }

    /// Writes the normalised numbers of a square picture.
    fn normalise(&self, picture: &Picture, values: &mut [f32]) {
        let planes = values.chunks_exact_mut(picture.width * picture.height);
        let mut channels: Vec<_> = planes.zip(&self.tables).collect();
        // All channels of a pixel at a time: its bytes are read once.
        if let ([(red, reds), (green, greens), (blue, blues)], 3) =
            (channels.as_mut_slice(), picture.channels)
        {
            let pixels = picture.pixels.as_chunks::<3>().0;
            let numbers = red.iter_mut().zip(green.iter_mut()).zip(blue.iter_mut());
            for (((red, green), blue), [r, g, b]) in numbers.zip(pixels) {
                *red = reds[usize::from(*r)];
                *green = greens[usize::from(*g)];
                *blue = blues[usize::from(*b)];
            }
            return;
        }
        for (channel, (plane, table)) in channels.into_iter().enumerate() {
            let bytes = picture.pixels[channel..].iter().step_by(picture.channels);
            for (value, byte) in plane.iter_mut().zip(bytes) {
                *value = table[usize::from(*byte)];
            }
        }
    }
}

#[cfg(test)]
mod tests;
