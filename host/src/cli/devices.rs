//! `incubate devices`.

use anyhow::Result;

use super::print;
use crate::device::{self, DeviceChoice};

/// Lists the devices and says which one `auto` takes.
pub(super) fn devices() -> Result<()> {
    print("cpu")?;
    for adapter in device::list() {
        print(&format!("{}  {adapter}", adapter.device()))?;
    }
    for (interface, reason) in device::lacks() {
        print(&format!("{interface}: {reason}"))?;
    }
    let chosen = device::choose(DeviceChoice::Auto, false)?;
    print(&format!("auto takes: {} ({})", chosen.name, chosen.reason))
}
