//! What the plugins share: the plain types of the contract, settings by name, faults, the
//! description of parameters, the message of a panic, and the time axis of the schedules.
//!
//! Nothing here calls the host except [`report_panics`], so everything else can be tested by a
//! native `cargo test`.

mod bindings;
mod configured;
pub mod division;
mod fault;
mod panic;
mod parameter;
mod settings;
pub mod timeline;

pub use bindings::incubate::plugin::types::{
    Fault, FaultCode, Parameter, Phase, Setting, SettingKind, SettingValue,
};
pub use bindings::incubate::plugin::{log, types};
pub use configured::{Configured, restore_nothing};
pub use panic::report_panics;
pub use settings::Settings;
