//! A schedule for contract 0.2.0: the host must refuse to load it and name both versions.

mod bindings;

use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::schedule;

struct NextContract;

impl description::Guest for NextContract {
    fn describe() -> PluginInfo {
        PluginInfo {
            name: "faulty-next-contract".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "A linear schedule of the future".to_owned(),
        }
    }
}

impl schedule::Guest for NextContract {
    fn rate(progress: f64, base_rate: f64) -> f64 {
        base_rate * (1.0 - progress)
    }
}

bindings::export!(NextContract with_types_in bindings);
