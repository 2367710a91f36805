//! Pictures: where they come from, in which order, and as which numbers.
//!
//! [`open`] finds a data set by its [`DataConfig`]; a [`Loader`] makes batches of one part of it.
//! Every batch is a function of the data, the configuration, and (seed, phase, epoch, batch) alone:
//! neither threads nor an interruption change it.

mod augmentation;
mod batch;
mod config;
mod digits;
mod error;
mod expected;
mod folder;
mod idx;
mod loader;
mod memory;
mod picture;
mod prefetch;
mod resize;
mod subset;

pub use augmentation::Augmentation;
pub use batch::Batch;
pub use config::{DataConfig, DataSet, open};
pub use error::DataError;
pub use expected::{Expected, open_or_expect};
pub use loader::{Loader, Part};
pub use picture::{Dataset, Normalisation, Picture, Pictures};
pub use prefetch::EpochBatches;
