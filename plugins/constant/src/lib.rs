//! Learning-rate schedule `constant`: the base rate, after a warm-up if one is asked for.

mod bindings;
mod curve;

use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::schedule::{self, Interval, Metric, Moment};
use curve::Constant;
use guest::timeline::{self, Per};
use guest::{Configured, Fault, Setting, Settings, report_panics, restore_nothing};

struct ConstantSchedule;

static CURVE: Configured<Constant> = Configured::new();

impl description::Guest for ConstantSchedule {
    fn describe() -> PluginInfo {
        report_panics();
        PluginInfo {
            name: "constant".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "The base rate, after a warm-up if one is asked for".to_owned(),
            parameters: Constant::parameters(),
        }
    }
}

impl schedule::Guest for ConstantSchedule {
    fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
        report_panics();
        CURVE.set(Constant::from_settings(Settings::new(&settings))?)
    }

    fn stepping() -> Interval {
        match CURVE.get().map(|curve| curve.timeline.per) {
            Ok(Per::Epoch) => Interval::PerEpoch,
            Ok(Per::Update) => Interval::PerUpdate,
            Err(fault) => panic!("{}", fault.message),
        }
    }

    fn rate(moment: Moment) -> Result<f64, Fault> {
        CURVE.get()?.rate(&timeline::Moment {
            update: moment.update,
            updates: moment.updates,
            epoch: moment.epoch,
            epochs: moment.epochs,
            base_rate: moment.base_rate,
        })
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

bindings::export!(ConstantSchedule with_types_in bindings);
