//! The GPU adapters that the drivers of this machine offer.
//!
//! Invariant: with the features `wgpu` and `cuda` off, the list is empty and no driver is loaded.

use std::fmt;

/// The way to a GPU, and the word for it on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interface {
    /// NVIDIA's own.
    Cuda,
    /// Vulkan, Metal, DirectX 12, or OpenGL.
    Wgpu,
}

impl Interface {
    /// Every interface, the one that is preferred first.
    pub const ALL: [Self; 2] = [Self::Cuda, Self::Wgpu];
}

impl fmt::Display for Interface {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cuda => "cuda",
            Self::Wgpu => "wgpu",
        })
    }
}

/// What an adapter is made of, as its driver says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdapterKind {
    /// A card with its own memory.
    Discrete,
    /// A GPU that shares the memory of the CPU.
    Integrated,
    /// A GPU that a virtual machine passes through.
    Virtual,
    /// The CPU, posing as a GPU.
    Software,
    /// The driver does not say.
    Other,
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Discrete => "discrete GPU",
            Self::Integrated => "integrated GPU",
            Self::Virtual => "virtual GPU",
            Self::Software => "software",
            Self::Other => "GPU of unknown kind",
        })
    }
}

/// One adapter; it prints as `NVIDIA L4 (discrete GPU, Vulkan, NVIDIA 550.54)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// The way to it. A card can be reached by two, and is listed for each.
    pub interface: Interface,
    /// The N of `--device wgpu:N` or `cuda:N`: the place in the driver's enumeration.
    pub index: usize,
    /// The name that the driver gives.
    pub name: String,
    /// What it is.
    pub kind: AdapterKind,
    /// The programming interface that reaches it, such as Vulkan.
    pub api: String,
    /// The driver and its version; empty where it does not say.
    pub driver: String,
    /// Why it must not be used, if it is known to crash or to compute wrongly.
    pub fault: Option<&'static str>,
}

impl Adapter {
    /// The value of `--device` that stands for it, such as `wgpu:0`.
    pub fn device(&self) -> String {
        format!("{}:{}", self.interface, self.index)
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            kind,
            api,
            driver,
            ..
        } = self;
        write!(formatter, "{name} ({kind}, {api}")?;
        if !driver.is_empty() {
            write!(formatter, ", {driver}")?;
        }
        formatter.write_str(")")
    }
}

/// The interfaces that this build has.
pub(super) const BUILT: &[Interface] = if cfg!(feature = "cuda") {
    &Interface::ALL
} else if cfg!(feature = "wgpu") {
    &[Interface::Wgpu]
} else {
    &[]
};

/// The adapters of this machine by all interfaces of this build, in the order in which `auto` looks at
/// them. Without GPU support there are none.
pub fn list() -> Vec<Adapter> {
    Interface::ALL.into_iter().flat_map(list_of).collect()
}

/// Interfaces of this build that reach nothing here, each with the reason as a sentence.
pub fn lacks() -> Vec<(Interface, &'static str)> {
    let nothing = BUILT
        .iter()
        .filter(|interface| list_of(**interface).is_empty());
    nothing
        .map(|interface| {
            let reason = match interface {
                Interface::Cuda => "no NVIDIA driver (libcuda), or no card that it reaches",
                Interface::Wgpu => "no graphics driver that reaches an adapter",
            };
            (*interface, reason)
        })
        .collect()
}

#[cfg(feature = "wgpu")]
pub(super) use super::gpu::{list_of, open};

#[cfg(not(feature = "wgpu"))]
pub(super) fn list_of(_: Interface) -> Vec<Adapter> {
    Vec::new()
}

#[cfg(not(feature = "wgpu"))]
pub(super) fn open(adapters: &[Adapter], place: usize) -> (burn::tensor::Device, Option<String>) {
    unreachable!("without GPU support no adapter is listed: {adapters:?}, {place}")
}
