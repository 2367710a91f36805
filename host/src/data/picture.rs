//! A picture, a collection of them, and the data set with its two parts.

use std::fmt::Debug;
use std::sync::Arc;

use super::resize::Region;
use super::{DataError, LeftOut, Normalisation};

/// A decoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Values of a pixel: 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// The values: rows from the top, pixels from the left, channels innermost.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// A region of it.
    ///
    /// # Panics
    ///
    /// If the region does not lie in the picture.
    #[must_use]
    pub fn part(self, region: Region) -> Self {
        if region == Region::whole(&self) {
            return self;
        }
        let row = self.width * self.channels;
        let begin = region.top * row + region.left * self.channels;
        let length = region.width * self.channels;
        assert!(
            region.left + region.width <= self.width,
            "a region beyond the picture"
        );
        let mut pixels = Vec::with_capacity(region.height * length);
        for y in 0..region.height {
            pixels.extend_from_slice(&self.pixels[begin + y * row..][..length]);
        }
        Self {
            width: region.width,
            height: region.height,
            channels: self.channels,
            pixels,
        }
    }
}

/// Labelled pictures that are decoded when they are asked for.
pub trait Pictures: Send + Sync + Debug {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The class of a picture, as an index into the classes of the data set.
    ///
    /// # Panics
    ///
    /// If there is no picture `index`.
    fn label(&self, index: usize) -> usize;

    /// What a person can find the picture by.
    ///
    /// # Panics
    ///
    /// If there is no picture `index`.
    fn name(&self, index: usize) -> String;

    /// Decodes a picture.
    ///
    /// # Errors
    ///
    /// If its file cannot be read or decoded.
    ///
    /// # Panics
    ///
    /// If there is no picture `index`.
    fn picture(&self, index: usize) -> Result<Picture, DataError>;

    /// Decodes the region of a picture that is wanted of one with this width and height, which may be
    /// asked more than once; what costs less when less is wanted has its own way.
    ///
    /// # Errors
    ///
    /// If its file cannot be read or decoded.
    ///
    /// # Panics
    ///
    /// If there is no picture `index`, or if the region does not lie in the picture.
    fn part(
        &self,
        index: usize,
        wanted: &mut dyn FnMut(usize, usize) -> Region,
    ) -> Result<Picture, DataError> {
        let picture = self.picture(index)?;
        let region = wanted(picture.width, picture.height);
        Ok(picture.part(region))
    }

    /// Whether getting a picture costs so much that threads are worth it.
    fn costly(&self) -> bool;
}

/// Pictures for training and for validation.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// What to call it: `digits`, or the name of the folder.
    pub name: String,
    /// The names of the classes; labels are indices into them.
    pub classes: Vec<String>,
    /// Values of a pixel: 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Width and height if all pictures have the same.
    pub picture_size: Option<(usize, usize)>,
    /// Whether pictures of another size than the model's are resized.
    pub resize: bool,
    /// The share of the shorter side that evaluation sees of a resized picture.
    pub evaluation_crop: f64,
    /// Threads that decode pictures; `None` is as many as there are cores.
    pub threads: Option<usize>,
    /// Where the numbers of the model's input have their zero and their unit.
    pub normalisation: Normalisation,
    /// What is trained on.
    pub train: Arc<dyn Pictures>,
    /// What accuracy is measured on.
    pub validation: Arc<dyn Pictures>,
    /// Files that were ignored since they are no pictures.
    pub ignored_files: usize,
    /// Pictures that cannot be decoded and are left out, in order, before limits.
    pub left_out: Vec<LeftOut>,
    /// SHA-256 in hexadecimal, before limits: over pixels and labels of digits and IDX files, over
    /// names and sizes of the files of a folder, and the names of those that are left out.
    pub digest: String,
}
