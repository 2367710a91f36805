//! Checkpoints of a unit that is being trained: each appears whole or not at all, and is used only
//! when every byte is what was written.
//!
//! ```text
//! RUN/units/NAME/checkpoints/0000000120/network.safetensors    the trained parameters
//! RUN/units/NAME/checkpoints/0000000120/optimizer.safetensors  moments and steps
//! RUN/units/NAME/checkpoints/0000000120/average.safetensors    if the phase takes an average
//! RUN/units/NAME/checkpoints/0000000120/state.json             everything else, and digests
//! RUN/units/NAME/checkpoints/damaged-0000000140                one that could not be used
//! ```
//!
//! A folder's name is the number of updates that were made. What is frozen is not in it: that comes
//! from the units and files that it came from.

mod line;
mod manifest;
mod stored;
mod writer;

pub use manifest::{
    CHECKPOINT_FORMAT, CheckpointOrigin, CheckpointScore, CheckpointState, Counted, PluginState,
    Position, TimeSpent,
};
pub use stored::{Found, Stored};
pub use writer::CheckpointWriter;

use std::path::PathBuf;

use super::{RunFolder, Unit};

/// The trained parameters.
pub const NETWORK_FILE: &str = "network.safetensors";
/// What the optimizer remembers.
pub const OPTIMIZER_FILE: &str = "optimizer.safetensors";
/// The average of the weights.
pub const AVERAGE_FILE: &str = "average.safetensors";
/// Every file that a checkpoint can have besides its manifest.
const FILES: [&str; 3] = [NETWORK_FILE, OPTIMIZER_FILE, AVERAGE_FILE];
/// The manifest.
const MANIFEST_FILE: &str = "state.json";
/// What is not a checkpoint, or not any more: it is deleted when the unit is trained again.
const HIDDEN: char = '.';
/// The beginning of the name of a checkpoint that was found damaged.
const DAMAGED: &str = "damaged-";

impl RunFolder {
    /// Where the checkpoints of a unit are.
    pub fn checkpoints_path(&self, unit: Unit) -> PathBuf {
        self.unit_file(unit, "checkpoints")
    }

    /// Where the checkpoint of a unit after this many updates is.
    pub fn checkpoint_path(&self, unit: Unit, update: u64) -> PathBuf {
        self.checkpoints_path(unit).join(name(update))
    }
}

/// The name of the checkpoint after this many updates.
fn name(update: u64) -> String {
    format!("{update:010}")
}

#[cfg(test)]
mod tests;
