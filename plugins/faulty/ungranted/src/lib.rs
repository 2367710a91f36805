//! A schedule that asks a clock, which no plugin gets: the host must refuse to load it.

mod bindings;

use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::schedule::{self, Interval, Metric, Moment};
use bindings::wasi::clocks::wall_clock;
use guest::{Fault, Setting, report_panics, restore_nothing};

struct Ungranted;

impl description::Guest for Ungranted {
    fn describe() -> PluginInfo {
        report_panics();
        PluginInfo {
            name: "faulty-ungranted".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "A rate that depends on the time of day".to_owned(),
            parameters: Vec::new(),
        }
    }
}

impl schedule::Guest for Ungranted {
    fn configure(_: Vec<Setting>) -> Result<(), Fault> {
        report_panics();
        Ok(())
    }

    fn stepping() -> Interval {
        Interval::PerEpoch
    }

    fn rate(moment: Moment) -> Result<f64, Fault> {
        let odd_second = wall_clock::now().seconds % 2 == 1;
        Ok(moment.base_rate * if odd_second { 0.5 } else { 1.0 })
    }

    fn observe(_: Moment, _: Vec<Metric>) -> Result<(), Fault> {
        Ok(())
    }

    fn save() -> Vec<u8> {
        Vec::new()
    }

    fn restore(state: Vec<u8>) -> Result<(), Fault> {
        restore_nothing(&state)
    }
}

bindings::export!(Ungranted with_types_in bindings);
