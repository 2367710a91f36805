//! What can be wrong with data, each with the place and the way out.

use std::io;
use std::path::PathBuf;

use image::ImageError;

/// A failure to find, read or batch pictures.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A setting that no data set can have.
    #[error("setting `{key}` is {value}, but {reason}")]
    Setting {
        /// The key in the experiment.
        key: &'static str,
        /// The value found.
        value: String,
        /// Why it cannot be, and what could be.
        reason: String,
    },
    /// The folder of the data set is not there.
    #[error("folder {} does not exist; expected {expected}", path.display())]
    FolderMissing {
        /// The folder.
        path: PathBuf,
        /// What it should contain, and how to get it.
        expected: String,
    },
    /// A part of the data set is not there.
    #[error("{} is missing in {}; expected {expected}", names.join(" or "), folder.display())]
    Missing {
        /// The folder in which it should be.
        folder: PathBuf,
        /// The names that would do.
        names: Vec<String>,
        /// What should be there, and how to get it.
        expected: String,
    },
    /// The operating system could not read something.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file whose contents contradict its format.
    #[error("{} is corrupt: {what} (get the file once more)", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong in it, and where.
        what: String,
    },
    /// A picture that cannot be decoded.
    #[error("cannot decode picture {} (replace or delete the file, or leave all such pictures out with `data.corrupt = \"skip\"`)", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the decoder found.
        source: ImageError,
    },
    /// A picture whose end is missing.
    #[error("{} is corrupt: it is truncated (replace or delete the file, or leave all such pictures out with `data.corrupt = \"skip\"`)", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// A file that is called a picture and is none.
    #[error("{} is neither PNG nor JPEG inside (replace or delete the file, or leave all such pictures out with `data.corrupt = \"skip\"`)", path.display())]
    NoPicture {
        /// The file.
        path: PathBuf,
    },
    /// A picture file of a format that is not supported.
    #[error("{} is neither PNG nor JPEG (convert or delete the file)", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// A picture beside the class folders.
    #[error("picture {} is in no class folder (move it into the folder of its class, or delete it)", path.display())]
    NoClass {
        /// The file.
        path: PathBuf,
    },
    /// A picture of another size than the model's, in a set that is not resized.
    #[error(
        "{name} has wrong picture size {width} x {height}: the model takes {expected} x {expected} (set the model's `image_size` to the pictures', or `resize = true` for the data)"
    )]
    PictureSize {
        /// The data set or the picture.
        name: String,
        /// Width found, in pixels.
        width: usize,
        /// Height found, in pixels.
        height: usize,
        /// Width and height of the model's input, in pixels.
        expected: usize,
    },
    /// A class folder for validation that the training pictures lack.
    #[error("unknown class folder {}: the training folder {} has no class of this name (add training pictures of it, or delete the folder)", folder.display(), train.display())]
    UnknownClass {
        /// The class folder.
        folder: PathBuf,
        /// The folder with the known classes.
        train: PathBuf,
    },
    /// A class without a picture.
    #[error("class `{class}` has no pictures in {} (add pictures of it, or remove the class)", path.display())]
    EmptyClass {
        /// The class.
        class: String,
        /// The folder or file that should have some.
        path: PathBuf,
    },
    /// No picture is left of a class.
    #[error("no picture of `{class}` in {} can be decoded (get the files once more, or remove the class)", path.display())]
    AllCorrupt {
        /// The class, or `validation`.
        class: String,
        /// The folder.
        path: PathBuf,
    },
    /// More pictures a batch than there are.
    #[error(
        "a batch of {batch} pictures cannot be filled: there are {pictures} training pictures (set a smaller batch, or a larger `train_limit`)"
    )]
    BatchTooLarge {
        /// Pictures in a batch.
        batch: usize,
        /// Pictures in the part.
        pictures: usize,
    },
    /// Threads could not be started.
    #[error("cannot start a thread for loading pictures (set fewer `threads`)")]
    Threads {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl DataError {
    /// What is wrong with the contents of a picture; `None` for any other error.
    pub(super) fn corruption(&self) -> Option<String> {
        match self {
            Self::Truncated { .. } => Some("it is truncated".to_owned()),
            Self::Decode { source, .. } => Some(source.to_string()),
            Self::NoPicture { .. } => Some("it is neither PNG nor JPEG inside".to_owned()),
            _ => None,
        }
    }
}
