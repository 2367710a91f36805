//! A partition scheme that attacks the host in the hook that a test orders.

mod bindings;

use attack::{Fault, Setting, configured, described, strike_or_fault};
use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::partition::{self, ModuleDepth, Request};

struct HostilePartition;

impl description::Guest for HostilePartition {
    fn describe() -> PluginInfo {
        let attack::Described {
            name,
            version,
            summary,
            parameters,
        } = described("hostile-partition");
        PluginInfo {
            name,
            version,
            summary,
            parameters,
        }
    }
}

impl partition::Guest for HostilePartition {
    fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
        configured(&settings).map(|_| ())
    }

    fn divide(request: Request) -> Result<Vec<ModuleDepth>, Fault> {
        let modules = |count: usize, target, meta| vec![ModuleDepth { target, meta }; count];
        let blocks = request.blocks.len() as u32;
        Ok(match strike_or_fault("divide")?.unwrap_or_default() {
            "modules-huge" => modules(1_500_000, 1, 1),
            "modules-many" => modules(100_000, 1, 1),
            "modules-none" => Vec::new(),
            "blocks-overflow" => modules(request.modules as usize, u32::MAX, 1),
            "blocks-none" => modules(request.modules as usize, 0, 0),
            "meta-overflow" => modules(request.modules as usize, 1, u32::MAX),
            _ => modules(request.modules as usize, blocks / request.modules, 1),
        })
    }
}

bindings::export!(HostilePartition with_types_in bindings);
