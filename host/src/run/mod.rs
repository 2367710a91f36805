//! The run folder: the only place that writes files of a run.
//!
//! ```text
//! RUN/experiment.toml                 every setting in force
//! RUN/run.json                        plugins, division, digests
//! RUN/calls.jsonl                     the partition scheme's calls, when they are recorded
//! RUN/units/NAME/calls.jsonl          the other plugins' calls, when they are recorded
//! RUN/units/NAME/failure.json         the call of a plugin that ended the unit
//! RUN/units/NAME/failure-ROLE.json    the call in which a plugin failed that was replaced
//! RUN/units/NAME/checkpoints/UPDATE/  training on its way, see `checkpoint`
//! RUN/units/NAME/lease.json           the process that works on the unit, while it does
//! RUN/units/NAME/features.bin         what its frozen stages compute, while it is trained
//! RUN/units/NAME/events.jsonl         one line an event
//! RUN/units/NAME/weights.safetensors  the trained weights
//! RUN/units/NAME/result.json          written last: the unit is finished
//! ```

mod backlog;
mod calls;
mod checkpoint;
mod error;
mod export;
mod features;
mod folder;
mod lease;
mod parcel;
mod process;
mod record;
mod seal;
mod state;
mod unit;

pub use backlog::Backlog;
pub use calls::CallWriter;
pub use checkpoint::{
    AVERAGE_FILE, CHECKPOINT_FORMAT, CheckpointOrigin, CheckpointScore, CheckpointState,
    CheckpointWriter, Counted, Found, NETWORK_FILE, OPTIMIZER_FILE, PluginState, Position, Stored,
    TimeSpent,
};
pub use error::RunError;
pub use export::write_export;
pub use features::{FeatureKey, FeatureReader, FeatureWriter};
pub use folder::{EventWriter, RunFolder};
pub use lease::{BEAT, Lease, LeaseRecord, SILENCE};
pub use parcel::{PARCEL_TYPE, Parcel, ParcelError, ParcelFile, UnitDescription};
pub use process::Process;
pub use record::{
    Basis, Change, FORMAT, Imported, LeftOutCount, PluginRecord, RunRecord, UnitResult,
};
pub use state::{Moment, Overview, UnitOverview, UnitState};
pub use unit::Unit;
