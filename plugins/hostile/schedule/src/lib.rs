//! A learning-rate schedule that attacks the host in the hook that a test orders.

mod bindings;

use attack::{Fault, Setting, configured, described, restored, saved, strike, strike_or_fault};
use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::schedule::{self, Interval, Metric, Moment};
use bindings::incubate::plugin::random;

struct HostileSchedule;

impl description::Guest for HostileSchedule {
    fn describe() -> PluginInfo {
        let attack::Described {
            name,
            version,
            summary,
            parameters,
        } = described("hostile-schedule");
        if attack::ordered("describe") == Some("random") {
            random::next();
        }
        PluginInfo {
            name,
            version,
            summary,
            parameters,
        }
    }
}

impl schedule::Guest for HostileSchedule {
    fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
        configured(&settings).map(|_| ())
    }

    fn stepping() -> Interval {
        strike("stepping");
        Interval::PerUpdate
    }

    fn rate(moment: Moment) -> Result<f64, Fault> {
        Ok(match strike_or_fault("rate")?.unwrap_or_default() {
            "nan" => f64::NAN,
            "infinite" => f64::INFINITY,
            "minus-infinite" => f64::NEG_INFINITY,
            "negative" => -f64::MIN_POSITIVE,
            _ => moment.base_rate,
        })
    }

    fn observe(_: Moment, _: Vec<Metric>) -> Result<(), Fault> {
        strike_or_fault("observe").map(|_| ())
    }

    fn save() -> Vec<u8> {
        saved()
    }

    fn restore(state: Vec<u8>) -> Result<(), Fault> {
        restored(&state)
    }
}

bindings::export!(HostileSchedule with_types_in bindings);
