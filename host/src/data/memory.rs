//! Grey pictures of one size that are held in memory: the digits and IDX files.

use std::fmt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::picture::{Picture, Pictures};
use super::{DataError, Normalisation, subset};

/// Grey pictures of one size, one after the other.
pub(super) struct MemoryPictures {
    name: String,
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

impl MemoryPictures {
    /// `pixels` has `width * height` bytes for each of `labels`; sizes are not 0.
    pub(super) fn new(
        name: String,
        (width, height): (usize, usize),
        pixels: Vec<u8>,
        labels: Vec<u8>,
    ) -> Self {
        assert_eq!(pixels.len(), labels.len() * width * height);
        Self {
            name,
            width,
            height,
            pixels,
            labels,
        }
    }

    /// Width and height.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// The classes of the pictures in their order.
    pub(super) fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// These of the pictures.
    pub(super) fn select(&self, indices: &[usize]) -> Self {
        let size = self.width * self.height;
        let mut pixels = Vec::with_capacity(indices.len() * size);
        for index in indices {
            pixels.extend_from_slice(&self.pixels[index * size..(index + 1) * size]);
        }
        Self {
            name: self.name.clone(),
            width: self.width,
            height: self.height,
            pixels,
            labels: indices.iter().map(|index| self.labels[*index]).collect(),
        }
    }

    /// At most `limit` of the pictures, as many of each class as possible.
    pub(super) fn limit(self, limit: Option<usize>) -> Self {
        let labels = self.labels.iter().map(|label| usize::from(*label));
        match subset::balanced(labels, limit) {
            Some(indices) => self.select(&indices),
            None => self,
        }
    }

    /// Adds size, labels and pixels to a digest.
    pub(super) fn update(&self, digest: &mut Sha256) {
        for size in [self.labels.len(), self.width, self.height] {
            digest.update((size as u64).to_le_bytes());
        }
        digest.update(&self.labels);
        digest.update(&self.pixels);
    }

    /// Mean and standard deviation over all pixels.
    ///
    /// # Errors
    ///
    /// If all pixels are equal; `path` is where they come from.
    pub(super) fn normalisation(&self, path: &Path) -> Result<Normalisation, DataError> {
        // Sums of integers, so that the order of the pictures does not matter.
        let (sum, squares) = self
            .pixels
            .iter()
            .fold((0_u64, 0_u64), |(sum, squares), pixel| {
                let pixel = u64::from(*pixel);
                (sum + pixel, squares + pixel * pixel)
            });
        let count = self.pixels.len() as f64;
        let mean = sum as f64 / count;
        let variance = squares as f64 / count - mean * mean;
        if variance <= 0.0 {
            return Err(DataError::Corrupt {
                path: path.to_path_buf(),
                what: "all pixels are equal".to_owned(),
            });
        }
        Ok(Normalisation {
            mean: vec![(mean / 255.0) as f32],
            std: vec![(variance.sqrt() / 255.0) as f32],
        })
    }
}

impl fmt::Debug for MemoryPictures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MemoryPictures")
            .field("name", &self.name)
            .field("width", &self.width)
            .field("height", &self.height)
            .field("len", &self.labels.len())
            .finish_non_exhaustive()
    }
}

impl Pictures for MemoryPictures {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn label(&self, index: usize) -> usize {
        usize::from(self.labels[index])
    }

    fn name(&self, index: usize) -> String {
        format!("{} #{index}", self.name)
    }

    fn picture(&self, index: usize) -> Result<Picture, DataError> {
        let size = self.width * self.height;
        Ok(Picture {
            width: self.width,
            height: self.height,
            channels: 1,
            pixels: self.pixels[index * size..(index + 1) * size].to_vec(),
        })
    }

    fn costly(&self) -> bool {
        false
    }
}
