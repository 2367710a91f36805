//! Which device a word on the command line stands for, decided without touching a driver.

use std::fmt;
use std::str::FromStr;

use super::{Adapter, AdapterKind, Interface};

/// The value of `--device`: `auto`, `cpu`, `cuda`, `cuda:N`, `wgpu`, or `wgpu:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first real GPU, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU adapter of this index in [`list`](super::list), or the first one that may be used.
    Gpu(Interface, Option<usize>),
}

/// A device name that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown device {name:?} (expected auto, cpu, cuda, wgpu, or cuda:N or wgpu:N with the index of an adapter)"
)]
pub struct UnknownDevice {
    /// The name as it was given.
    pub name: String,
}

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, UnknownDevice> {
        let unknown = || UnknownDevice { name: name.into() };
        let (word, index) = match name.split_once(':') {
            None => (name, None),
            Some((word, index)) => (word, Some(index.parse().map_err(|_| unknown())?)),
        };
        match (word, index) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            _ => Interface::ALL
                .into_iter()
                .find(|interface| interface.to_string() == word)
                .map(|interface| Self::Gpu(interface, index))
                .ok_or_else(unknown),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Cpu => formatter.write_str("cpu"),
            Self::Gpu(interface, None) => interface.fmt(formatter),
            Self::Gpu(interface, Some(index)) => write!(formatter, "{interface}:{index}"),
        }
    }
}

/// Why the device that was asked for cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The binary was built without the feature of the interface, which has its name.
    #[error(
        "device {choice} needs GPU support, which this build lacks \
         (build with `cargo build --release --features {interface}`, or take --device cpu)"
    )]
    NotBuilt {
        /// What was asked for.
        choice: DeviceChoice,
        /// What the build lacks.
        interface: Interface,
    },
    /// No driver offers any adapter.
    #[error(
        "device {choice}: no adapter found (install {}, or take --device cpu)",
        driver(*interface)
    )]
    NoAdapter {
        /// What was asked for.
        choice: DeviceChoice,
        /// What reaches nothing.
        interface: Interface,
    },
    /// The index is beyond the list.
    #[error("device {choice} does not exist; there is {}", sentence(adapters))]
    NoSuchAdapter {
        /// What was asked for.
        choice: DeviceChoice,
        /// What there is.
        adapters: Vec<Adapter>,
    },
    /// A software adapter was not explicitly allowed.
    #[error(
        "device {choice}: {adapter} is a software adapter, far slower than the CPU backend \
         (take --device cpu, or add --allow-software-gpu to test the GPU path with --device {})",
        adapter.device()
    )]
    Software {
        /// What was asked for.
        choice: DeviceChoice,
        /// The adapter that it stands for.
        adapter: Adapter,
    },
    /// The adapter was seen to crash or to compute wrongly with the kernels of this build.
    #[error("device {choice}: {adapter} is refused: {fault} (take --device cpu)")]
    KnownFault {
        /// What was asked for.
        choice: DeviceChoice,
        /// The adapter that it stands for.
        adapter: Adapter,
        /// What was seen.
        fault: &'static str,
    },
}

/// What brings adapters to an interface.
const fn driver(interface: Interface) -> &'static str {
    match interface {
        Interface::Cuda => "NVIDIA's driver, which brings libcuda",
        Interface::Wgpu => "the Vulkan driver of the GPU",
    }
}

/// The devices that processes are shared out to that work at the same time: the adapter that is
/// taken, and the others of its kind where `choice` leaves open which.
pub(super) fn several(
    choice: DeviceChoice,
    adapters: &[Adapter],
    built: &[Interface],
    allow_software: bool,
) -> Result<Vec<DeviceChoice>, DeviceError> {
    let Some(taken) = decide(choice, adapters, built, allow_software)?.0 else {
        return Ok(vec![DeviceChoice::Cpu]);
    };
    let first = &adapters[taken];
    let alone =
        matches!(choice, DeviceChoice::Gpu(_, Some(_))) || first.kind == AdapterKind::Software;
    let together = adapters.iter().filter(|adapter| {
        let alike = adapter.kind == first.kind && adapter.interface == first.interface;
        *adapter == first || !alone && alike && usable(choice, adapter, false).is_ok()
    });
    Ok(together
        .map(|adapter| DeviceChoice::Gpu(adapter.interface, Some(adapter.index)))
        .collect())
}

/// The place in `adapters` of the one to take, `None` for the CPU, and why; `built` are the interfaces
/// of this build.
pub(super) fn decide(
    choice: DeviceChoice,
    adapters: &[Adapter],
    built: &[Interface],
    allow_software: bool,
) -> Result<(Option<usize>, String), DeviceError> {
    let (interface, index) = match choice {
        DeviceChoice::Cpu => return Ok((None, "as asked".into())),
        DeviceChoice::Auto => return Ok(automatic(adapters, built)),
        DeviceChoice::Gpu(interface, index) => (interface, index),
    };
    if !built.contains(&interface) {
        return Err(DeviceError::NotBuilt { choice, interface });
    }
    let mut reached = adapters
        .iter()
        .enumerate()
        .filter(|(_, adapter)| adapter.interface == interface);
    let Some((_, first)) = reached.clone().next() else {
        return Err(DeviceError::NoAdapter { choice, interface });
    };
    if let Some(index) = index {
        let found = reached.clone().find(|(_, adapter)| adapter.index == index);
        let (place, adapter) = found.ok_or_else(|| DeviceError::NoSuchAdapter {
            choice,
            adapters: reached.map(|(_, adapter)| adapter.clone()).collect(),
        })?;
        usable(choice, adapter, allow_software)?;
        return Ok((Some(place), "as asked".into()));
    }
    let found = reached.find(|(_, adapter)| usable(choice, adapter, allow_software).is_ok());
    let Some((place, _)) = found else {
        return Err(usable(choice, first, allow_software)
            .expect_err("no adapter may be used, so the first may not"));
    };
    Ok((Some(place), "the first adapter that may be used".into()))
}

/// A real GPU without a known fault, else the CPU.
fn automatic(adapters: &[Adapter], built: &[Interface]) -> (Option<usize>, String) {
    if built.is_empty() {
        let reason = "this build has no GPU support; for a GPU build with --features wgpu";
        return (None, reason.into());
    }
    if adapters.is_empty() {
        return (None, "no GPU found".into());
    }
    match adapters
        .iter()
        .position(|adapter| usable(DeviceChoice::Auto, adapter, false).is_ok())
    {
        Some(place) => (Some(place), "the first GPU found".into()),
        None => (None, format!("no GPU found: {}", passed_over(adapters))),
    }
}

/// Why `auto` takes none of these.
fn passed_over(adapters: &[Adapter]) -> String {
    let reasons: Vec<_> = adapters
        .iter()
        .map(|adapter| match adapter.fault {
            Some(fault) => format!("{} not used, {fault}", adapter.name),
            None => format!("software adapter {} not used", adapter.name),
        })
        .collect();
    reasons.join("; ")
}

fn usable(
    choice: DeviceChoice,
    adapter: &Adapter,
    allow_software: bool,
) -> Result<(), DeviceError> {
    if let Some(fault) = adapter.fault {
        return Err(DeviceError::KnownFault {
            choice,
            adapter: adapter.clone(),
            fault,
        });
    }
    if adapter.kind == AdapterKind::Software && !allow_software {
        return Err(DeviceError::Software {
            choice,
            adapter: adapter.clone(),
        });
    }
    Ok(())
}

fn sentence(adapters: &[Adapter]) -> String {
    let names: Vec<_> = adapters
        .iter()
        .map(|adapter| format!("{} {adapter}", adapter.device()))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAPHICS: &[Interface] = &[Interface::Wgpu];

    fn adapter(index: usize, name: &str, kind: AdapterKind) -> Adapter {
        Adapter {
            interface: Interface::Wgpu,
            index,
            name: name.into(),
            kind,
            api: "Vulkan".into(),
            driver: "driver 1".into(),
            fault: None,
        }
    }

    fn software(index: usize) -> Adapter {
        adapter(index, "llvmpipe", AdapterKind::Software)
    }

    fn faulty(index: usize) -> Adapter {
        Adapter {
            fault: Some("its driver crashes"),
            ..adapter(index, "bad card", AdapterKind::Discrete)
        }
    }

    #[test]
    fn names_read_as_they_are_written() {
        for name in ["auto", "cpu", "wgpu", "wgpu:0", "wgpu:12", "cuda", "cuda:1"] {
            let choice: DeviceChoice = name.parse().expect("a device name");
            assert_eq!(choice.to_string(), name);
        }
        for name in [
            "", "gpu", "cuda:", "wgpu:", "wgpu:x", "wgpu:-1", "CPU", "cpu:0", "auto:1", "wgpu:1:2",
        ] {
            let error = name.parse::<DeviceChoice>().expect_err(name);
            assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
            assert!(error.to_string().contains("cuda:N or wgpu:N"), "{error}");
        }
    }

    #[test]
    fn auto_takes_the_first_sound_gpu_and_never_software() {
        let card = adapter(2, "card", AdapterKind::Discrete);
        let adapters = [software(0), faulty(1), card];
        for allow_software in [false, true] {
            let (index, reason) = decide(DeviceChoice::Auto, &adapters, GRAPHICS, allow_software)
                .expect("auto always finds a device");
            assert_eq!(index, Some(2));
            assert_eq!(reason, "the first GPU found");
            let (index, reason) =
                decide(DeviceChoice::Auto, &adapters[..2], GRAPHICS, allow_software)
                    .expect("auto always finds a device");
            assert_eq!(index, None);
            assert_eq!(
                reason,
                "no GPU found: software adapter llvmpipe not used; \
                 bad card not used, its driver crashes"
            );
        }
        let (index, reason) = decide(DeviceChoice::Auto, &[], GRAPHICS, false).expect("the CPU");
        assert_eq!((index, reason.as_str()), (None, "no GPU found"));
        let (index, reason) = decide(DeviceChoice::Auto, &[], &[], false).expect("the CPU");
        assert_eq!(index, None);
        assert!(reason.contains("--features wgpu"), "{reason}");
    }

    #[test]
    fn a_gpu_asked_for_is_never_replaced() {
        let wgpu = |index| DeviceChoice::Gpu(Interface::Wgpu, index);
        let error = decide(wgpu(None), &[], &[], true).expect_err("not built");
        assert!(error.to_string().contains("--features wgpu"), "{error}");
        let error = decide(wgpu(Some(0)), &[], GRAPHICS, true).expect_err("no adapter");
        assert_eq!(
            error,
            DeviceError::NoAdapter {
                choice: wgpu(Some(0)),
                interface: Interface::Wgpu,
            }
        );
        let error = decide(wgpu(None), &[], GRAPHICS, true).expect_err("no adapter");
        assert_eq!(
            error,
            DeviceError::NoAdapter {
                choice: wgpu(None),
                interface: Interface::Wgpu,
            }
        );
        let error =
            decide(wgpu(Some(1)), &[software(0)], GRAPHICS, true).expect_err("no such index");
        assert!(
            error
                .to_string()
                .starts_with("device wgpu:1 does not exist"),
            "{error}"
        );
        assert!(error.to_string().contains("wgpu:0 llvmpipe"), "{error}");
        for index in [None, Some(0)] {
            let error = decide(wgpu(index), &[faulty(0)], GRAPHICS, true).expect_err("faulty");
            assert!(error.to_string().contains("its driver crashes"), "{error}");
        }
    }

    #[test]
    fn software_needs_permission() {
        let adapters = [software(0), software(1)];
        for index in [None, Some(0)] {
            let choice = DeviceChoice::Gpu(Interface::Wgpu, index);
            let error = decide(choice, &adapters, GRAPHICS, false).expect_err("no permission");
            assert!(
                error.to_string().contains("--allow-software-gpu"),
                "{error}"
            );
            let (taken, _) = decide(choice, &adapters, GRAPHICS, true).expect("permission");
            assert_eq!(taken, Some(0));
        }
        let card = adapter(1, "card", AdapterKind::Integrated);
        let choice = DeviceChoice::Gpu(Interface::Wgpu, None);
        let (taken, _) = decide(choice, &[software(0), card], GRAPHICS, false)
            .expect("a card behind a software adapter");
        assert_eq!(taken, Some(1));
    }

    #[test]
    fn processes_share_the_adapters_of_one_kind() {
        let card = |index| adapter(index, "card", AdapterKind::Discrete);
        let small = adapter(0, "small", AdapterKind::Integrated);
        let mixed = [small, software(1), card(2), card(3)];
        let cards = [software(0), card(1), faulty(2), card(3)];
        let devices = |choice, adapters: &[Adapter], allow| {
            let devices = several(choice, adapters, GRAPHICS, allow).expect("a device");
            devices.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let (auto, any) = (DeviceChoice::Auto, DeviceChoice::Gpu(Interface::Wgpu, None));
        for choice in [auto, any] {
            // A unit on a card of another kind would be waited for.
            assert_eq!(devices(choice, &mixed, false), ["wgpu:0"]);
            assert_eq!(devices(choice, &cards, false), ["wgpu:1", "wgpu:3"]);
        }
        let third = DeviceChoice::Gpu(Interface::Wgpu, Some(3));
        assert_eq!(devices(third, &cards, false), ["wgpu:3"]);
        assert_eq!(devices(any, &[software(0), software(1)], true), ["wgpu:0"]);
        assert_eq!(devices(auto, &[software(0)], true), ["cpu"]);
        assert_eq!(devices(DeviceChoice::Cpu, &cards, true), ["cpu"]);
        several(any, &[software(0)], GRAPHICS, false).expect_err("software needs permission");
    }

    #[test]
    fn the_interface_of_the_card_comes_before_graphics() {
        let cuda = |index, name| Adapter {
            interface: Interface::Cuda,
            ..adapter(index, name, AdapterKind::Discrete)
        };
        let both = [
            cuda(0, "first"),
            cuda(1, "second"),
            software(0),
            adapter(1, "first", AdapterKind::Discrete),
        ];
        let taken = |choice: &str| {
            let choice = choice.parse().expect("a device name");
            let (place, _) = decide(choice, &both, &Interface::ALL, false)?;
            Ok::<_, DeviceError>(both[place.expect("a GPU")].device())
        };
        assert_eq!(taken("auto").unwrap(), "cuda:0");
        assert_eq!(taken("cuda").unwrap(), "cuda:0");
        assert_eq!(taken("cuda:1").unwrap(), "cuda:1");
        assert_eq!(taken("wgpu").unwrap(), "wgpu:1");
        let error = taken("cuda:2").unwrap_err().to_string();
        assert!(error.starts_with("device cuda:2 does not exist"), "{error}");
        assert!(error.contains("cuda:1 second"), "{error}");
        assert!(!error.contains("wgpu"), "{error}");
        let error = taken("wgpu:0").unwrap_err().to_string();
        assert!(error.contains("--device wgpu:0"), "{error}");
    }

    #[test]
    fn a_card_asked_for_by_cuda_is_an_error_without_its_build_or_its_driver() {
        let choice = DeviceChoice::Gpu(Interface::Cuda, None);
        let card = [adapter(0, "card", AdapterKind::Discrete)];
        let error = decide(choice, &card, GRAPHICS, false).expect_err("not built");
        assert!(error.to_string().contains("--features cuda"), "{error}");
        let error = decide(choice, &card, &Interface::ALL, false).expect_err("no driver");
        assert!(error.to_string().contains("libcuda"), "{error}");
        // Without a card of NVIDIA's, the others are there.
        let (place, _) = decide(DeviceChoice::Auto, &card, &Interface::ALL, false).expect("a card");
        assert_eq!(place, Some(0));
    }
}
