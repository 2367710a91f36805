//! The run folder: the only place that writes files of a run.
//!
//! ```text
//! RUN/experiment.toml                 every setting in force
//! RUN/run.json                        plugins, division, digests
//! RUN/units/NAME/events.jsonl         one line an event
//! RUN/units/NAME/weights.safetensors  the trained weights
//! RUN/units/NAME/result.json          written last: the unit is finished
//! ```

mod error;
mod folder;
mod parcel;
mod record;
mod unit;

pub use error::RunError;
pub use folder::{EventWriter, RunFolder};
pub use parcel::{PARCEL_TYPE, Parcel, ParcelError, ParcelFile, UnitDescription};
pub use record::{FORMAT, PluginRecord, RunRecord, UnitResult};
pub use unit::Unit;
