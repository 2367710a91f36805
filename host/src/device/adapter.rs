//! The GPU adapters that the drivers of this machine offer.
//!
//! Invariant: with the feature `wgpu` off, the list is empty and no driver is loaded.

use std::fmt;

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
    /// The N of `--device wgpu:N`: the place in the driver's enumeration.
    pub index: usize,
    /// The name that the driver gives.
    pub name: String,
    /// What it is.
    pub kind: AdapterKind,
    /// The graphics interface that reaches it, such as Vulkan.
    pub api: String,
    /// The driver and its version.
    pub driver: String,
    /// Why it must not be used, if it is known to crash or to compute wrongly.
    pub fault: Option<&'static str>,
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

#[cfg(feature = "wgpu")]
pub use gpu::list;
#[cfg(feature = "wgpu")]
pub(super) use gpu::open;

/// Whether this build has a GPU backend.
pub(super) const BUILT: bool = cfg!(feature = "wgpu");

/// The adapters of this machine: none, since this build has no GPU support.
#[cfg(not(feature = "wgpu"))]
pub fn list() -> Vec<Adapter> {
    Vec::new()
}

#[cfg(not(feature = "wgpu"))]
pub(super) fn open(adapters: &[Adapter], index: usize) -> burn::tensor::Device {
    unreachable!("without GPU support no adapter is listed: {adapters:?}, {index}")
}

#[cfg(feature = "wgpu")]
mod gpu {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use burn::tensor::{Device, DeviceKind};
    use burn_wgpu::graphics::AutoGraphicsApi;
    use burn_wgpu::wgpu;

    use super::{Adapter, AdapterKind};

    /// The adapters of this machine, in the order of their enumeration.
    ///
    /// As the backend does it: those of the first graphics interface that reaches a GPU, or if
    /// none does, of the first that reaches anything.
    pub fn list() -> Vec<Adapter> {
        let mut software = Vec::new();
        for api in AutoGraphicsApi::chain() {
            let adapters = adapters_of(api);
            if adapters
                .iter()
                .any(|adapter| adapter.kind != AdapterKind::Software)
            {
                return adapters;
            }
            if software.is_empty() {
                software = adapters;
            }
        }
        software
    }

    fn adapters_of(api: wgpu::Backend) -> Vec<Adapter> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: api.into(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let enumeration = pin!(instance.enumerate_adapters(api.into()));
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(adapters) = enumeration.poll(&mut context) else {
            unreachable!("only a browser makes the enumeration wait");
        };
        let mut software_seen = false;
        let described = adapters.iter().enumerate().map(|(index, adapter)| {
            let mut adapter = describe(index, adapter.get_info());
            adapter.fault = fault(&adapter, software_seen);
            software_seen |= adapter.kind == AdapterKind::Software;
            adapter
        });
        described.collect()
    }

    /// Why the adapter must not be used, if it must not.
    ///
    /// Seen with the kernels of this build, which are WGSL: Mesa's llvmpipe trains rightly through
    /// Vulkan and through OpenGL. With SPIR-V kernels it ends the process by a segmentation fault,
    /// which is why no feature of this package turns them on.
    fn fault(adapter: &Adapter, software_seen: bool) -> Option<&'static str> {
        match adapter.kind {
            AdapterKind::Other => Some("its driver does not say what it is"),
            AdapterKind::Software if adapter.name.contains("SwiftShader") => {
                Some("SwiftShader runs out of memory on the kernels of the backend, which panics")
            }
            AdapterKind::Software if software_seen => {
                Some("the backend reaches only the first software adapter")
            }
            _ => None,
        }
    }

    fn describe(index: usize, info: wgpu::AdapterInfo) -> Adapter {
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
            wgpu::DeviceType::Cpu => AdapterKind::Software,
            wgpu::DeviceType::Other => AdapterKind::Other,
        };
        let driver = format!("{} {}", info.driver, info.driver_info);
        Adapter {
            index,
            fault: None,
            name: info.name,
            kind,
            api: format!("{:?}", info.backend),
            driver: driver.trim().to_owned(),
        }
    }

    /// The device of `adapters[index]`; the backend counts each kind for itself.
    pub(in crate::device) fn open(adapters: &[Adapter], index: usize) -> Device {
        let kind = adapters[index].kind;
        let place = adapters[..index]
            .iter()
            .filter(|other| other.kind == kind)
            .count();
        let device = match kind {
            AdapterKind::Discrete => DeviceKind::DiscreteGpu(place),
            AdapterKind::Integrated => DeviceKind::IntegratedGpu(place),
            AdapterKind::Virtual => DeviceKind::VirtualGpu(place),
            AdapterKind::Software => DeviceKind::Cpu,
            AdapterKind::Other => unreachable!("refused, since the backend has no name for it"),
        };
        Device::wgpu(device)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn adapters_that_fail_are_marked() {
            let adapter = |name: &str, kind| Adapter {
                index: 0,
                name: name.into(),
                kind,
                api: "Vulkan".into(),
                driver: String::new(),
                fault: None,
            };
            let llvmpipe = adapter("llvmpipe (LLVM 15.0.6, 256 bits)", AdapterKind::Software);
            let swiftshader = adapter("SwiftShader Device (Subzero)", AdapterKind::Software);
            assert_eq!(
                fault(&adapter("NVIDIA L4", AdapterKind::Discrete), true),
                None
            );
            assert_eq!(fault(&llvmpipe, false), None);
            assert!(fault(&llvmpipe, true).is_some());
            assert!(fault(&swiftshader, false).is_some());
            assert!(fault(&adapter("virgl", AdapterKind::Other), false).is_some());
        }
    }
}
