//! Pictures: where they come from, in which order, and as which numbers.
//!
//! [`open`] finds a data set by its [`DataConfig`]; a [`Loader`] makes batches of one part of it.
//! Every batch is a function of the data, the configuration, and (seed, phase, epoch, batch) alone:
//! neither threads nor an interruption change it.

mod augmentation;
mod batch;
mod config;
mod corrupt;
mod digits;
mod error;
mod expected;
mod folder;
mod idx;
mod jpeg;
mod loader;
mod memory;
mod normalisation;
mod picture;
mod prefetch;
#[cfg(test)]
mod reference;
mod resize;
mod sheet;
mod statistics;
mod subset;

pub use augmentation::{
    Augmentation, ColourJitter, Crop, Draws, ErasingMode, Mixing, Operation, RandAugment,
};
pub use batch::Batch;
pub use config::{DataConfig, DataSet, open};
pub use corrupt::{Corrupt, LeftOut};
pub use error::DataError;
pub use expected::{Expected, open_or_expect};
pub use loader::{Loader, Part, Seen};
pub use normalisation::{KnownNormalisation, Normalisation};
pub use picture::{Dataset, Picture, Pictures};
pub use prefetch::{EpochBatches, Next};
pub use resize::{Interpolation, Region};
pub use sheet::{Cell, Sheet, SheetOptions, SheetRow};
