//! Where the tensors live: the CPU, or a GPU adapter, chosen at run time; and what crosses between it
//! and the host.
//!
//! Invariant: nothing falls back in silence. `auto` says what it took and why, a device asked for
//! by name is that device or an error, and a software adapter is taken only on explicit demand.

mod adapter;
mod choice;
#[cfg(feature = "wgpu")]
mod gpu;
mod traffic;
#[cfg(feature = "wgpu")]
mod tuning;

pub use adapter::{Adapter, AdapterKind, Interface, lacks, list};
pub use choice::{DeviceChoice, DeviceError, UnknownDevice};
pub use traffic::Traffic;
pub(crate) use traffic::{Reading, count_read, count_upload, read, upload, wait_for};

use burn::tensor::Device;

/// A device to train on, and the sentence that explains it.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The device, with automatic differentiation.
    pub device: Device,
    /// What it is, for a person and for the record of a run.
    pub name: String,
    /// Why it was taken, as a lowercase fragment.
    pub reason: String,
    /// Whether reading a number makes training wait: true for a GPU, which works ahead of the
    /// host.
    pub waits_for_reads: bool,
    /// What a person should know before the first update, as a sentence.
    pub note: Option<String>,
}

/// Opens the device that `choice` stands for.
///
/// With `allow_software`, a software adapter may be taken when it is asked for; `auto` never
/// takes one. Drivers are not touched when the CPU is asked for.
///
/// # Errors
///
/// If the adapter does not exist, may not be used, or this build has no GPU support.
pub fn choose(choice: DeviceChoice, allow_software: bool) -> Result<Chosen, DeviceError> {
    let adapters = match choice {
        DeviceChoice::Cpu => Vec::new(),
        DeviceChoice::Auto => list(),
        DeviceChoice::Gpu(interface, _) => adapter::list_of(interface),
    };
    let (place, reason) = choice::decide(choice, &adapters, adapter::BUILT, allow_software)?;
    let (device, name, note) = match place {
        None => {
            let threads = rayon::current_num_threads();
            let name = format!("CPU ({threads} threads)");
            (Device::flex(), name, None)
        }
        Some(place) => {
            let name = format!("{} {}", adapters[place].device(), adapters[place]);
            let (device, note) = adapter::open(&adapters, place);
            (device, name, note)
        }
    };
    Ok(Chosen {
        device: device.autodiff(),
        name,
        reason,
        waits_for_reads: place.is_some(),
        note,
    })
}

/// The devices to share processes out to that work at the same time, where `choice` is what all of
/// them have to go by: with several GPUs of one kind each is listed, unless one of them is named. Never
/// empty.
///
/// # Errors
///
/// As [`choose`].
pub fn several(
    choice: DeviceChoice,
    allow_software: bool,
) -> Result<Vec<DeviceChoice>, DeviceError> {
    let adapters = match choice {
        DeviceChoice::Cpu => Vec::new(),
        DeviceChoice::Auto | DeviceChoice::Gpu(..) => list(),
    };
    choice::several(choice, &adapters, adapter::BUILT, allow_software)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there_and_differentiates() {
        let chosen = choose(DeviceChoice::Cpu, false).expect("the CPU needs no driver");
        assert!(chosen.device.is_autodiff());
        assert_eq!(chosen.device, Device::flex());
        assert!(chosen.name.starts_with("CPU ("), "{}", chosen.name);
        assert_eq!(chosen.reason, "as asked");
        assert_eq!(chosen.note, None);
    }
}
