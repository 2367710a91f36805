//! Write plugins for `incubate` in Rust: loss hooks, learning-rate schedules, and partition schemes.
//!
//! A plugin is a struct with one trait and one macro. [`Loss`], [`Schedule`], and [`Partition`] are
//! the traits; [`export_loss!`], [`export_schedule!`], and [`export_partition!`] make the component
//! of them. This is a whole loss hook:
//!
//! ```
//! use incubate_plugin::{
//!     Description, Fault, Inputs, Loss, Parameter, Settings, Step, Tensor, export_loss,
//! };
//!
//! pub struct Confident {
//!     weight: f32,
//! }
//!
//! impl Loss for Confident {
//!     fn describe() -> Description {
//!         Description::new("Cross-entropy less a share of the entropy of the prediction").parameter(
//!             Parameter::number("weight", "Factor of the entropy").default(0.1).at_least(0.0),
//!         )
//!     }
//!
//!     fn configure(settings: &Settings) -> Result<Self, Fault> {
//!         Ok(Self { weight: settings.get("weight")? })
//!     }
//!
//!     fn compute(&mut self, _: &Step, inputs: &Inputs) -> Result<Tensor, Fault> {
//!         let log_p = inputs.logits.log_softmax(-1);
//!         let entropy = -(log_p.exp() * &log_p).sum(&[-1]).mean(&[]);
//!         Ok(inputs.logits.cross_entropy(&inputs.targets()) - self.weight * entropy)
//!     }
//! }
//!
//! export_loss!(Confident);
//! ```
//!
//! `incubate plugin build` compiles the package into a component. It imports the interfaces of the
//! contract that it uses and nothing else: a loss that never calls [`random`] does not import it.
//!
//! # Tests without a sandbox
//!
//! Compiled for anything but WebAssembly, a [`Tensor`] is a plain implementation of the same
//! operations, so that `cargo test` runs a hook as it is. Module [`testing`] makes batches, moments,
//! and requests, computes gradients, and captures messages. See there for what differs.
//!
//! # The bare contract
//!
//! `incubate_plugin::types` are the plain types of the contract; [`report_panics`] is for plugins
//! that make their own bindings.

#[doc(hidden)]
pub mod bindings;
mod description;
pub mod division;
mod duration;
#[doc(hidden)]
pub mod export;
mod fault;
mod host;
pub mod log;
mod loss;
pub mod metrics;
#[cfg(not(target_arch = "wasm32"))]
mod native;
mod panic;
mod parameter;
mod partition;
pub mod random;
mod schedule;
mod settings;
mod smoothing;
pub mod teacher;
mod tensor;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod timeline;
pub mod weights;

pub use bindings::imports::incubate::plugin::tensors::ElementType;
#[doc(hidden)]
pub use bindings::imports::incubate::plugin::types;
pub use bindings::imports::incubate::plugin::types::{
    Fault, FaultCode, Parameter, Phase, Setting, SettingKind, SettingValue,
};
pub use description::Description;
pub use duration::Duration;
pub use loss::{Feature, Inputs, Loss, Needs, Step};
pub use panic::report_panics;
pub use partition::{Cost, Device, ModuleDepth, Partition, Request};
pub use schedule::{Group, Interval, Metric, Moment, Schedule};
pub use settings::{FromSetting, Settings};
pub use smoothing::Smoothing;
pub use tensor::Tensor;

/// The counterpart of an empty `save`, for plugins that remember nothing.
fn restore_nothing(state: &[u8]) -> Result<(), Fault> {
    if state.is_empty() {
        return Ok(());
    }
    Err(Fault::invalid(format!(
        "a state of {} bytes was given to a plugin that remembers nothing",
        state.len()
    ))
    .with_hint("the state was saved by another plugin"))
}

/// The README, whose example must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
