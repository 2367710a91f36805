//! Which device a word on the command line stands for, decided without touching a driver.

use std::fmt;
use std::str::FromStr;

use super::{Adapter, AdapterKind};

/// The value of `--device`: `auto`, `cpu`, `wgpu`, or `wgpu:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first real GPU, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU adapter of this index in [`list`](super::list), or the first one that may be used.
    Wgpu(Option<usize>),
}

/// A device name that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown device {name:?} (expected auto, cpu, wgpu, or wgpu:N with the index of an adapter)"
)]
pub struct UnknownDevice {
    /// The name as it was given.
    pub name: String,
}

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, UnknownDevice> {
        let unknown = || UnknownDevice { name: name.into() };
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "wgpu" => Ok(Self::Wgpu(None)),
            _ => {
                let index = name.strip_prefix("wgpu:").ok_or_else(unknown)?;
                Ok(Self::Wgpu(Some(index.parse().map_err(|_| unknown())?)))
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Cpu => formatter.write_str("cpu"),
            Self::Wgpu(None) => formatter.write_str("wgpu"),
            Self::Wgpu(Some(index)) => write!(formatter, "wgpu:{index}"),
        }
    }
}

/// Why the device that was asked for cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The binary was built without the feature `wgpu`.
    #[error(
        "device {choice} needs GPU support, which this build lacks \
         (build with `cargo build --release --features wgpu`, or take --device cpu)"
    )]
    NotBuilt {
        /// What was asked for.
        choice: DeviceChoice,
    },
    /// No driver offers any adapter.
    #[error(
        "device {choice}: no adapter found (install the Vulkan driver of the GPU, \
         or take --device cpu)"
    )]
    NoAdapter {
        /// What was asked for.
        choice: DeviceChoice,
    },
    /// The index is beyond the list.
    #[error("device wgpu:{index} does not exist; there is {}", sentence(adapters))]
    NoSuchAdapter {
        /// The index that was asked for.
        index: usize,
        /// What there is.
        adapters: Vec<Adapter>,
    },
    /// A software adapter was not explicitly allowed.
    #[error(
        "device {choice}: {adapter} is a software adapter, far slower than the CPU backend \
         (take --device cpu, or add --allow-software-gpu to test the GPU path with --device wgpu:{})",
        adapter.index
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

/// The adapter to take, `None` for the CPU, and why.
pub(super) fn decide(
    choice: DeviceChoice,
    adapters: &[Adapter],
    built: bool,
    allow_software: bool,
) -> Result<(Option<usize>, String), DeviceError> {
    match choice {
        DeviceChoice::Cpu => Ok((None, "as asked".into())),
        DeviceChoice::Auto => Ok(automatic(adapters, built)),
        DeviceChoice::Wgpu(_) if !built => Err(DeviceError::NotBuilt { choice }),
        DeviceChoice::Wgpu(Some(index)) => {
            let adapter = adapters.get(index).ok_or_else(|| {
                if adapters.is_empty() {
                    DeviceError::NoAdapter { choice }
                } else {
                    DeviceError::NoSuchAdapter {
                        index,
                        adapters: adapters.to_vec(),
                    }
                }
            })?;
            usable(choice, adapter, allow_software)?;
            Ok((Some(index), "as asked".into()))
        }
        DeviceChoice::Wgpu(None) => {
            let first = adapters.first().ok_or(DeviceError::NoAdapter { choice })?;
            let found = adapters
                .iter()
                .find(|adapter| usable(choice, adapter, allow_software).is_ok());
            let Some(adapter) = found else {
                return Err(usable(choice, first, allow_software)
                    .expect_err("no adapter may be used, so the first may not"));
            };
            Ok((
                Some(adapter.index),
                "the first adapter that may be used".into(),
            ))
        }
    }
}

/// The devices that processes are shared out to that work at the same time: the adapter that is
/// taken, and the others of its kind where `choice` leaves open which.
pub(super) fn several(
    choice: DeviceChoice,
    adapters: &[Adapter],
    built: bool,
    allow_software: bool,
) -> Result<Vec<DeviceChoice>, DeviceError> {
    let Some(taken) = decide(choice, adapters, built, allow_software)?.0 else {
        return Ok(vec![DeviceChoice::Cpu]);
    };
    let kind = adapters[taken].kind;
    let alone = matches!(choice, DeviceChoice::Wgpu(Some(_))) || kind == AdapterKind::Software;
    let together = adapters.iter().filter(|adapter| {
        let index = adapter.index;
        index == taken || !alone && adapter.kind == kind && usable(choice, adapter, false).is_ok()
    });
    Ok(together
        .map(|adapter| DeviceChoice::Wgpu(Some(adapter.index)))
        .collect())
}

/// A real GPU without a known fault, else the CPU.
fn automatic(adapters: &[Adapter], built: bool) -> (Option<usize>, String) {
    if !built {
        let reason = "this build has no GPU support; for a GPU build with --features wgpu";
        return (None, reason.into());
    }
    if adapters.is_empty() {
        return (None, "no GPU found".into());
    }
    match adapters
        .iter()
        .find(|adapter| usable(DeviceChoice::Auto, adapter, false).is_ok())
    {
        Some(adapter) => (Some(adapter.index), "the first GPU found".into()),
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
        .map(|adapter| format!("wgpu:{} {adapter}", adapter.index))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(index: usize, name: &str, kind: AdapterKind) -> Adapter {
        Adapter {
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
        for name in ["auto", "cpu", "wgpu", "wgpu:0", "wgpu:12"] {
            let choice: DeviceChoice = name.parse().expect("a device name");
            assert_eq!(choice.to_string(), name);
        }
        for name in [
            "", "gpu", "cuda", "wgpu:", "wgpu:x", "wgpu:-1", "CPU", "wgpu:1:2",
        ] {
            let error = name.parse::<DeviceChoice>().expect_err(name);
            assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
            assert!(error.to_string().contains("wgpu:N"), "{error}");
        }
    }

    #[test]
    fn auto_takes_the_first_sound_gpu_and_never_software() {
        let card = adapter(2, "card", AdapterKind::Discrete);
        let adapters = [software(0), faulty(1), card];
        for allow_software in [false, true] {
            let (index, reason) = decide(DeviceChoice::Auto, &adapters, true, allow_software)
                .expect("auto always finds a device");
            assert_eq!(index, Some(2));
            assert_eq!(reason, "the first GPU found");
            let (index, reason) = decide(DeviceChoice::Auto, &adapters[..2], true, allow_software)
                .expect("auto always finds a device");
            assert_eq!(index, None);
            assert_eq!(
                reason,
                "no GPU found: software adapter llvmpipe not used; \
                 bad card not used, its driver crashes"
            );
        }
        let (index, reason) = decide(DeviceChoice::Auto, &[], true, false).expect("the CPU");
        assert_eq!((index, reason.as_str()), (None, "no GPU found"));
        let (index, reason) = decide(DeviceChoice::Auto, &[], false, false).expect("the CPU");
        assert_eq!(index, None);
        assert!(reason.contains("--features wgpu"), "{reason}");
    }

    #[test]
    fn a_gpu_asked_for_is_never_replaced() {
        let wgpu = |index| DeviceChoice::Wgpu(index);
        let error = decide(wgpu(None), &[], false, true).expect_err("not built");
        assert!(error.to_string().contains("--features wgpu"), "{error}");
        let error = decide(wgpu(Some(0)), &[], true, true).expect_err("no adapter");
        assert_eq!(
            error,
            DeviceError::NoAdapter {
                choice: wgpu(Some(0))
            }
        );
        let error = decide(wgpu(None), &[], true, true).expect_err("no adapter");
        assert_eq!(error, DeviceError::NoAdapter { choice: wgpu(None) });
        let error = decide(wgpu(Some(1)), &[software(0)], true, true).expect_err("no such index");
        assert!(
            error
                .to_string()
                .starts_with("device wgpu:1 does not exist"),
            "{error}"
        );
        assert!(error.to_string().contains("wgpu:0 llvmpipe"), "{error}");
        for index in [None, Some(0)] {
            let error = decide(wgpu(index), &[faulty(0)], true, true).expect_err("faulty");
            assert!(error.to_string().contains("its driver crashes"), "{error}");
        }
    }

    #[test]
    fn software_needs_permission() {
        let adapters = [software(0), software(1)];
        for index in [None, Some(0)] {
            let choice = DeviceChoice::Wgpu(index);
            let error = decide(choice, &adapters, true, false).expect_err("no permission");
            assert!(
                error.to_string().contains("--allow-software-gpu"),
                "{error}"
            );
            let (taken, _) = decide(choice, &adapters, true, true).expect("permission");
            assert_eq!(taken, Some(0));
        }
        let card = adapter(1, "card", AdapterKind::Integrated);
        let (taken, _) = decide(DeviceChoice::Wgpu(None), &[software(0), card], true, false)
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
            let devices = several(choice, adapters, true, allow).expect("a device");
            devices.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let (auto, any) = (DeviceChoice::Auto, DeviceChoice::Wgpu(None));
        for choice in [auto, any] {
            // A unit on a card of another kind would be waited for.
            assert_eq!(devices(choice, &mixed, false), ["wgpu:0"]);
            assert_eq!(devices(choice, &cards, false), ["wgpu:1", "wgpu:3"]);
        }
        let third = DeviceChoice::Wgpu(Some(3));
        assert_eq!(devices(third, &cards, false), ["wgpu:3"]);
        assert_eq!(devices(any, &[software(0), software(1)], true), ["wgpu:0"]);
        assert_eq!(devices(auto, &[software(0)], true), ["cpu"]);
        assert_eq!(devices(DeviceChoice::Cpu, &cards, true), ["cpu"]);
        several(any, &[software(0)], true, false).expect_err("software needs permission");
    }
}
