//! A schedule that misbehaves as the parameter `fault` says, for the tests of the host.

use incubate_plugin::{
    Description, Fault, Interval, Moment, Parameter, Schedule, Settings, export_schedule,
};

const FAULTS: &[&str] = &[
    "none",
    "nan",
    "negative",
    "infinite",
    "fault",
    "trap",
    "endless-loop",
];

struct FaultySchedule {
    fault: String,
    after: u64,
}

impl Schedule for FaultySchedule {
    fn describe() -> Description {
        Description::new("Misbehaves as `fault` says")
            .parameter(
                Parameter::text("fault", "How to misbehave")
                    .default("none")
                    .one_of(FAULTS),
            )
            .parameter(
                Parameter::integer("after", "Updates before it misbehaves")
                    .default(0)
                    .at_least(0.0),
            )
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            fault: settings.get("fault")?,
            after: settings.get("after")?,
        })
    }

    fn stepping(&self) -> Interval {
        Interval::PerUpdate
    }

    fn rate(&mut self, moment: &Moment) -> Result<f64, Fault> {
        if moment.update < self.after {
            return Ok(moment.base_rate);
        }
        match self.fault.as_str() {
            "none" => Ok(moment.base_rate),
            "nan" => Ok(f64::NAN),
            "negative" => Ok(-moment.base_rate),
            "infinite" => Ok(f64::INFINITY),
            "fault" => Err(Fault::invalid("this moment was refused on request")
                .with_hint("set `fault` to `none`")),
            "trap" => panic!("trapped on request"),
            "endless-loop" => loop {
                std::hint::black_box(&moment);
            },
            other => Err(Fault::unsupported(format!("no fault is named `{other}`"))),
        }
    }
}

export_schedule!(FaultySchedule);
