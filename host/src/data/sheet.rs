//! A sheet of training pictures as the model sees them: a row for each picture, in it the picture
//! itself and then what it becomes in one epoch after the other.
//!
//! What is shown is what training computes, by the same code with the same draws.

use std::io::Cursor;

use image::{ImageError, ImageFormat, Rgb, RgbImage};

use super::loader::{Loader, Part, Seen};
use super::{Augmentation, DataError, Dataset, Normalisation, resize};
use crate::phase::Phase;
use crate::random::Seed;

/// Pixels between pictures.
const GAP: u32 = 4;
/// Small pictures are enlarged to about so many pixels.
const LEAST_SIDE: u32 = 64;
/// Between pictures, and where a picture is not seen.
const BACKGROUND: Rgb<u8> = Rgb([40, 40, 46]);
/// The longest side of a sheet, in pixels, so that a mistyped number does not fill the memory.
const LONGEST: u32 = 30_000;

/// What to show.
#[derive(Clone, Copy, Debug)]
pub struct SheetOptions {
    /// Whose draws.
    pub phase: Phase,
    /// The seed of the run.
    pub seed: Seed,
    /// Pixels of the model's input in each direction.
    pub picture_size: usize,
    /// Pictures in a batch, of which one is mixed with another.
    pub batch: usize,
    /// Rows.
    pub pictures: usize,
    /// Columns after the first, from epoch 0 on.
    pub epochs: u64,
}

/// A row of a sheet.
#[derive(Clone, Debug)]
pub struct SheetRow {
    /// Which training picture.
    pub index: usize,
    /// What a person can find it by.
    pub name: String,
    /// The name of its class.
    pub class: String,
    /// What became of it, epoch by epoch.
    pub cells: Vec<Cell>,
}

/// A picture in an epoch.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What became of the picture; `None` when the epoch leaves it out.
    pub seen: Option<Seen>,
    /// Name and class of the picture that it is mixed with, if it is.
    pub partner: Option<(String, String)>,
}

/// Pictures and what was drawn for them.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// One for each picture, in the order of the first epoch.
    pub rows: Vec<SheetRow>,
    pixels: RgbImage,
}

impl Sheet {
    /// Draws, changes, and lays out the first pictures of a run's first epoch.
    ///
    /// # Errors
    ///
    /// If a loader cannot be made of these, if the sheet would be too large, or if a picture cannot
    /// be read.
    pub fn new(
        dataset: &Dataset,
        augmentation: &Augmentation,
        options: &SheetOptions,
    ) -> Result<Self, DataError> {
        let size = options.picture_size;
        let loader = Loader::new(
            dataset,
            Part::Train,
            size,
            options.batch,
            Some(augmentation.clone()),
            options.seed,
            options.phase,
        )?;
        let mut canvas = Canvas::new(size, options)?;
        let mut rows = Vec::new();
        for (row, index) in loader
            .order(0)
            .into_iter()
            .take(options.pictures)
            .enumerate()
        {
            let picture = dataset.train.picture(index)?;
            let picture = resize::to_square(picture, size, 1.0);
            let pixels = picture.pixels.chunks_exact(picture.channels);
            let colours: Vec<Rgb<u8>> = pixels.map(colour).collect();
            canvas.put(row, 0, &colours);
            let mut cells = Vec::new();
            for epoch in 0..options.epochs {
                let seen = loader.seen(epoch, index)?;
                if let Some(seen) = &seen {
                    let colours = colours_of(&seen.values, size, &dataset.normalisation);
                    canvas.put(row, epoch as usize + 1, &colours);
                }
                let partner = seen
                    .as_ref()
                    .filter(|seen| seen.is_mixed() && seen.partner != index)
                    .map(|seen| naming(dataset, seen.partner));
                cells.push(Cell { seen, partner });
            }
            let (name, class) = naming(dataset, index);
            rows.push(SheetRow {
                index,
                name,
                class,
                cells,
            });
        }
        Ok(Self {
            pixels: canvas.pixels,
            rows,
        })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        self.pixels.dimensions()
    }

    /// The bytes of a PNG file of the sheet.
    ///
    /// # Errors
    ///
    /// If the encoder fails.
    pub fn png(&self) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Cursor::new(Vec::new());
        self.pixels.write_to(&mut bytes, ImageFormat::Png)?;
        Ok(bytes.into_inner())
    }
}

/// Name and class of a training picture.
fn naming(dataset: &Dataset, index: usize) -> (String, String) {
    let class = dataset.classes[dataset.train.label(index)].clone();
    (dataset.train.name(index), class)
}

/// Grey or colour.
fn colour(values: &[u8]) -> Rgb<u8> {
    match *values {
        [red, green, blue] => Rgb([red, green, blue]),
        _ => Rgb([values[0]; 3]),
    }
}

/// The colours that normalised numbers stand for; what is beyond black or white is cut off.
fn colours_of(values: &[f32], size: usize, normalisation: &Normalisation) -> Vec<Rgb<u8>> {
    let planes: Vec<Vec<u8>> = values
        .chunks_exact(size * size)
        .zip(normalisation.mean.iter().zip(&normalisation.std))
        .map(|(plane, (mean, std))| {
            let byte = |value: &f32| ((value * std + mean) * 255.0).round() as u8;
            plane.iter().map(byte).collect()
        })
        .collect();
    (0..size * size)
        .map(|place| match &planes[..] {
            [red, green, blue] => Rgb([red[place], green[place], blue[place]]),
            planes => Rgb([planes[0][place]; 3]),
        })
        .collect()
}

/// The sheet while it is filled.
struct Canvas {
    pixels: RgbImage,
    size: usize,
    scale: u32,
}

impl Canvas {
    fn new(size: usize, options: &SheetOptions) -> Result<Self, DataError> {
        let scale = (LEAST_SIDE / size as u32).max(1);
        let step = size as u32 * scale + GAP;
        let length = |key, count: u64| {
            u32::try_from(count)
                .ok()
                .and_then(|count| count.checked_mul(step))
                .map(|length| length + GAP)
                .filter(|length| *length <= LONGEST)
                .ok_or_else(|| DataError::Setting {
                    key,
                    value: count.to_string(),
                    reason: format!("a side of the sheet can have {LONGEST} pixels; ask for fewer"),
                })
        };
        let height = length("count", options.pictures as u64)?;
        let width = length("epochs", options.epochs.saturating_add(1))?;
        Ok(Self {
            pixels: RgbImage::from_pixel(width, height, BACKGROUND),
            size,
            scale,
        })
    }

    fn put(&mut self, row: usize, column: usize, colours: &[Rgb<u8>]) {
        let side = self.size as u32 * self.scale;
        let step = side + GAP;
        let (left, top) = (GAP + column as u32 * step, GAP + row as u32 * step);
        for y in 0..side {
            for x in 0..side {
                let place = (y / self.scale) as usize * self.size + (x / self.scale) as usize;
                self.pixels.put_pixel(left + x, top + y, colours[place]);
            }
        }
    }
}
