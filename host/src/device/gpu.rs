//! Adapters as the backend sees them, and the counting of what they are given.

use std::future::Future as _;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use burn::tensor::{Device, DeviceKind};
use burn_cubecl::cubecl::logging::{LaunchObservation, LaunchObserver};
use burn_cubecl::cubecl::wgpu::{AutoGraphicsApi, wgpu};

use super::adapter::{Adapter, AdapterKind, Interface};
use super::{traffic, tuning};

/// Whether kernels for Vulkan are SPIR-V in this build, and not WGSL.
const SPIR_V: bool = cfg!(feature = "vulkan");

/// The adapters that an interface reaches, in the order of their enumeration.
pub(super) fn list_of(interface: Interface) -> Vec<Adapter> {
    match interface {
        Interface::Cuda => cuda(),
        Interface::Wgpu => graphics(),
    }
}

/// NVIDIA's devices; none where its driver is not installed.
#[cfg(feature = "cuda")]
fn cuda() -> Vec<Adapter> {
    use burn::tensor::DeviceType;

    // The enumeration asks for the driver's library before it calls into it.
    let devices = Device::enumerate(DeviceType::Cuda);
    let described = devices.into_iter().enumerate().map(|(index, device)| {
        let identity = device.identity();
        Adapter {
            interface: Interface::Cuda,
            index,
            name: identity.map_or_else(|| "NVIDIA device".to_owned(), |identity| identity.name),
            kind: AdapterKind::Discrete,
            api: "CUDA".to_owned(),
            driver: String::new(),
            fault: None,
        }
    });
    described.collect()
}

#[cfg(not(feature = "cuda"))]
const fn cuda() -> Vec<Adapter> {
    Vec::new()
}

/// As the backend does it: the adapters of the first graphics interface that reaches a GPU, or if none
/// does, of the first that reaches anything.
fn graphics() -> Vec<Adapter> {
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
        adapter.fault = fault(&adapter, software_seen, SPIR_V);
        software_seen |= adapter.kind == AdapterKind::Software;
        adapter
    });
    described.collect()
}

/// Why the adapter must not be used, if it must not.
///
/// Seen: with WGSL kernels Mesa's llvmpipe trains rightly through Vulkan and through OpenGL. With the
/// SPIR-V kernels of the feature `vulkan` it ends the process by a segmentation fault.
fn fault(adapter: &Adapter, software_seen: bool, spir_v: bool) -> Option<&'static str> {
    match adapter.kind {
        AdapterKind::Other => Some("its driver does not say what it is"),
        AdapterKind::Software if spir_v => {
            Some("software drivers crash on the kernels of a build with the feature vulkan")
        }
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
        interface: Interface::Wgpu,
        index,
        fault: None,
        name: info.name,
        kind,
        api: format!("{:?}", info.backend),
        driver: driver.trim().to_owned(),
    }
}

/// The device of `adapters[place]`, and what a person should know before it computes. From here on its
/// launches are counted, and its tuning is kept.
pub(super) fn open(adapters: &[Adapter], place: usize) -> (Device, Option<String>) {
    count_launches();
    // Before the device is opened, which reads what was kept.
    let note = tuning::keep();
    let device = match adapters[place].interface {
        Interface::Cuda => open_cuda(adapters[place].index),
        Interface::Wgpu => open_graphics(adapters, place),
    };
    (device, note)
}

#[cfg(feature = "cuda")]
fn open_cuda(index: usize) -> Device {
    Device::cuda(index)
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(index: usize) -> Device {
    unreachable!("without CUDA support no device {index} is listed")
}

/// The backend counts each kind for itself.
fn open_graphics(adapters: &[Adapter], place: usize) -> Device {
    let kind = adapters[place].kind;
    let place = adapters[..place]
        .iter()
        .filter(|other| other.interface == Interface::Wgpu && other.kind == kind)
        .count();
    Device::wgpu(match kind {
        AdapterKind::Discrete => DeviceKind::DiscreteGpu(place),
        AdapterKind::Integrated => DeviceKind::IntegratedGpu(place),
        AdapterKind::Virtual => DeviceKind::VirtualGpu(place),
        AdapterKind::Software => DeviceKind::Cpu,
        AdapterKind::Other => unreachable!("refused, since the backend has no name for it"),
    })
}

/// Counts every launch of the process from now on.
fn count_launches() {
    /// Told by the backend on the thread that gives the device a kernel.
    struct Counter;

    impl LaunchObserver for Counter {
        fn launched(&self, _: &'static str) {
            traffic::count_launch();
        }
    }

    static OBSERVATION: OnceLock<LaunchObservation> = OnceLock::new();
    OBSERVATION.get_or_init(|| LaunchObservation::new(Arc::new(Counter)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_that_fail_are_marked() {
        let adapter = |name: &str, kind| Adapter {
            interface: Interface::Wgpu,
            index: 0,
            name: name.into(),
            kind,
            api: "Vulkan".into(),
            driver: String::new(),
            fault: None,
        };
        let llvmpipe = adapter("llvmpipe (LLVM 15.0.6, 256 bits)", AdapterKind::Software);
        let swiftshader = adapter("SwiftShader Device (Subzero)", AdapterKind::Software);
        let card = adapter("NVIDIA L4", AdapterKind::Discrete);
        assert_eq!(fault(&card, true, false), None);
        assert_eq!(fault(&card, false, true), None);
        assert_eq!(fault(&llvmpipe, false, false), None);
        assert!(fault(&llvmpipe, true, false).is_some());
        assert!(fault(&swiftshader, false, false).is_some());
        for software in [llvmpipe, swiftshader] {
            assert!(fault(&software, false, true).is_some());
        }
        assert!(fault(&adapter("virgl", AdapterKind::Other), false, false).is_some());
    }

    #[test]
    fn a_machine_without_nvidia_has_no_cuda_device_and_nothing_fails() {
        for adapter in list_of(Interface::Cuda) {
            assert_eq!(adapter.interface, Interface::Cuda);
        }
    }
}
