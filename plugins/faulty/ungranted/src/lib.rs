//! A schedule that asks a clock, which no plugin gets: the host must refuse to load it.

mod bindings;

use bindings::wasi::clocks::wall_clock;
use incubate_plugin::{Description, Fault, Moment, Schedule, Settings, export_schedule};

struct Ungranted;

impl Schedule for Ungranted {
    fn describe() -> Description {
        Description::new("A rate that depends on the time of day")
    }

    fn configure(_: &Settings) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        let odd_second = wall_clock::now().seconds % 2 == 1;
        Ok(moment.base_rate * if odd_second { 0.5 } else { 1.0 })
    }
}

export_schedule!(Ungranted);
