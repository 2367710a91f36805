//! Partition schemes: how the target model is cut into modules.

use serde::{Deserialize, Serialize};

use super::contract::v0_1::exports::incubate::plugin::partition as contract;
use super::engine::Plugin;
use super::error::{PluginError, PluginErrorKind};
use super::journal::Message;
use super::kind::{Hook, Kind};
use super::recording::{Call, RecordedRequest, Recording};
use super::replay::shown_nothing;
use super::session::{Session, Statistics};
use super::settings::Settings;
use super::state::Spent;
use super::trace::Tape;

/// The cost of one block, or of what stands before the first or after the last block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cost {
    /// The name of the block.
    pub name: String,
    /// Trainable numbers.
    pub parameters: u64,
    /// Multiply-accumulate operations of the forward pass for one picture.
    pub forward_macs: u64,
    /// Bytes kept for the backward pass at the batch size of the module phase.
    pub activation_bytes: u64,
    /// Time of forward and backward at that batch size, if it was measured.
    pub milliseconds: Option<f64>,
}

/// The device that trains one module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModuleDevice {
    /// Bytes available on it, if limited.
    pub memory_bytes: Option<u64>,
    /// Relative speed; 1 is the reference.
    pub speed: f64,
}

/// What is to be divided.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionRequest {
    /// What the first module owns besides its blocks.
    pub entry: Cost,
    /// The blocks of the target model, in order; at least one.
    pub blocks: Vec<Cost>,
    /// What the last module owns besides its blocks.
    pub exit: Cost,
    /// K, from 1 to the number of blocks.
    pub modules: u32,
    /// Empty, or one device for every module.
    pub devices: Vec<ModuleDevice>,
    /// Bytes of parameter, gradient and optimizer state per trainable number.
    pub bytes_per_parameter: u32,
}

/// The depths of one module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleDepth {
    /// Blocks of the target module.
    pub target: u32,
    /// Blocks of the meta module that stands for it.
    pub meta: u32,
}

/// A configured partition scheme.
#[derive(Debug)]
pub struct PartitionScheme {
    session: Session<contract::Guest>,
}

impl PartitionScheme {
    /// Starts a plugin with settings.
    ///
    /// # Errors
    ///
    /// The plugin is of another kind, cannot be started, or refuses the settings.
    pub fn new(plugin: &Plugin, settings: &Settings) -> Result<Self, PluginError> {
        Self::start(plugin, settings, None)
    }

    pub(super) fn start(
        plugin: &Plugin,
        settings: &Settings,
        tape: Option<Tape>,
    ) -> Result<Self, PluginError> {
        plugin.require(Kind::PartitionScheme)?;
        Ok(Self {
            session: Session::new(plugin, settings, None, tape)?,
        })
    }

    /// An answer as recordings have it.
    pub(super) fn shown(depths: &[ModuleDepth]) -> String {
        let depths: Vec<String> = depths
            .iter()
            .map(|depth| format!("{}/{}", depth.target, depth.meta))
            .collect();
        format!("target/meta {}", depths.join(" "))
    }

    /// The depths of the K modules, in order.
    ///
    /// # Errors
    ///
    /// The plugin fails, or what it answers is no partition: the error says which rule it breaks.
    pub fn divide(&mut self, request: &PartitionRequest) -> Result<Vec<ModuleDepth>, PluginError> {
        let depths = self.ask(request);
        self.session.recorded(
            depths,
            || {
                let request = RecordedRequest::from(request);
                Some(Call::Divide { request })
            },
            |depths| Self::shown(depths),
        )
    }

    /// Records every call from now on, and `configure`, which was before.
    pub fn record_calls(&mut self) {
        self.session.record_calls(true);
        self.session.record_past(Call::Configure, shown_nothing());
    }

    /// The calls since the last call of this function, when they are recorded.
    pub fn drain_recordings(&mut self) -> Vec<Recording> {
        self.session.drain_recordings()
    }

    fn ask(&mut self, request: &PartitionRequest) -> Result<Vec<ModuleDepth>, PluginError> {
        let asked = request.to_contract();
        let depths: Vec<ModuleDepth> = self
            .session
            .answer(Hook::Divide, None, |store, exports| {
                exports.call_divide(store, &asked)
            })?
            .into_iter()
            .map(|depth| ModuleDepth {
                target: depth.target,
                meta: depth.meta,
            })
            .collect();
        match broken_rule(&depths, request) {
            None => Ok(depths),
            Some(reason) => Err(self.session.error(
                Hook::Divide,
                PluginErrorKind::Answer {
                    reason,
                    hint: "every module needs at least one block, a meta module at most as many as its target module, and together the target modules have all blocks; choose another partition scheme or other settings",
                },
            )),
        }
    }

    /// What the plugin said since the last call of this function.
    pub fn drain_messages(&mut self) -> Vec<Message> {
        self.session.drain_messages()
    }

    /// What the plugin has used.
    pub fn statistics(&self) -> Statistics {
        self.session.statistics()
    }

    /// The wall time of all calls.
    pub fn spent(&self) -> Spent {
        self.session.spent()
    }
}

/// Which rule of a partition is broken, with the values.
fn broken_rule(depths: &[ModuleDepth], request: &PartitionRequest) -> Option<String> {
    let blocks = request.blocks.len();
    if depths.len() != request.modules as usize {
        return Some(format!(
            "the partition has {} modules instead of {}",
            depths.len(),
            request.modules
        ));
    }
    for (module, &ModuleDepth { target, meta }) in depths.iter().enumerate() {
        if target == 0 {
            return Some(format!("module {module} of the partition has no blocks"));
        }
        if meta == 0 {
            return Some(format!("the meta module of module {module} has no blocks"));
        }
        if meta > target {
            return Some(format!(
                "the meta module of module {module} has {meta} blocks, and its target module has {target}"
            ));
        }
    }
    let sum: u64 = depths.iter().map(|depth| u64::from(depth.target)).sum();
    (sum != blocks as u64).then(|| {
        let targets: Vec<u32> = depths.iter().map(|depth| depth.target).collect();
        format!("the partition {targets:?} has {sum} blocks, and the model has {blocks}")
    })
}

impl PartitionRequest {
    fn to_contract(&self) -> contract::Request {
        contract::Request {
            entry: self.entry.to_contract(),
            blocks: self.blocks.iter().map(Cost::to_contract).collect(),
            exit: self.exit.to_contract(),
            modules: self.modules,
            devices: self
                .devices
                .iter()
                .map(|device| contract::Device {
                    memory_bytes: device.memory_bytes,
                    speed: device.speed,
                })
                .collect(),
            bytes_per_parameter: self.bytes_per_parameter,
        }
    }
}

impl Cost {
    fn to_contract(&self) -> contract::Cost {
        contract::Cost {
            name: self.name.clone(),
            parameters: self.parameters,
            forward_macs: self.forward_macs,
            activation_bytes: self.activation_bytes,
            milliseconds: self.milliseconds,
        }
    }
}
