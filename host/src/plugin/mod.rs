//! Strategy plugins: loading, checking, and calling WebAssembly components.
//!
//! A plugin is a function of what the host gives it: it has no files, no clock, no network, and
//! no randomness but a seeded stream. Whatever it does, the host survives, and the error says which
//! plugin did what in which call. No type of the WebAssembly engine leaves this module.

mod cache;
mod contract;
mod description;
mod engine;
mod error;
mod grants;
mod identity;
mod imports;
mod journal;
mod kind;
mod library;
mod limits;
mod loss;
mod metadata;
mod partition;
mod randomness;
mod reason;
mod recording;
mod reference;
mod replay;
mod schedule;
mod session;
mod settings;
mod state;
mod teacher;
mod tensors;
mod text;
mod trace;
mod values;
mod weights;

pub use contract::CONTRACT;
pub use description::{Description, Parameter, SettingKind};
pub use engine::{Inspection, Plugin, PluginHost};
pub use error::{PluginError, PluginErrorKind, SandboxError};
pub use grants::{Grant, Grants, WeightsGrant};
pub use identity::{Origin, PluginIdentity};
pub use journal::{Level, Message};
pub use kind::{Hook, Kind};
pub use library::{BuiltIn, file_of};
pub use limits::{Breach, Limit, Limits, LimitsConfig};
pub use loss::{LossHook, LossInputs, Needs, StepInfo};
pub use metadata::Metadata;
pub use partition::{Cost, ModuleDepth, ModuleDevice, PartitionRequest, PartitionScheme};
pub use randomness::Context;
pub use reason::{NoReason, Reason};
pub use recording::{
    Call, Outcome, Performed, RecordedContext, RecordedCost, RecordedInputs, RecordedMoment,
    RecordedPlugin, RecordedRequest, RecordedState, RecordedStep, Recording,
};
pub(crate) use reference::is_loopback;
pub use reference::{Reference, ReferenceError, RegistryReference, Repository, Wanted};
pub use replay::{Divergence, RECORDING_BYTES_MAX, Recordings, ReplayError, Replayed};
pub use schedule::{Group, Moment, Schedule, Stepping};
pub use session::Statistics;
pub use settings::{SettingValue, Settings, UnsupportedValue};
pub use state::Spent;
pub use text::plain;
pub use trace::{HostCall, Trace};
pub use values::{Bytes, Exact, TensorValues};
pub use weights::WeightNames;
