//! A schedule that misbehaves as the parameter `fault` says, for the tests of the host.

mod bindings;

use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::schedule::{self, Interval, Metric, Moment};
use guest::{
    Configured, Fault, Parameter, Setting, SettingKind, SettingValue, Settings, report_panics,
    restore_nothing,
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

struct FaultySchedule;

struct Options {
    fault: String,
    after: u64,
}

static OPTIONS: Configured<Options> = Configured::new();

impl description::Guest for FaultySchedule {
    fn describe() -> PluginInfo {
        report_panics();
        PluginInfo {
            name: "faulty-schedule".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Misbehaves as `fault` says".to_owned(),
            parameters: vec![
                Parameter::new("fault", SettingKind::Text, "How to misbehave")
                    .with_default(SettingValue::Text("none".to_owned()))
                    .one_of(FAULTS),
                Parameter::new(
                    "after",
                    SettingKind::Integer,
                    "Updates before it misbehaves",
                )
                .with_default(SettingValue::Integer(0))
                .at_least(0.0),
            ],
        }
    }
}

impl schedule::Guest for FaultySchedule {
    fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
        report_panics();
        let settings = Settings::new(&settings);
        OPTIONS.set(Options {
            fault: settings.text("fault")?.to_owned(),
            after: settings.integer("after")?.unsigned_abs(),
        })
    }

    fn stepping() -> Interval {
        Interval::PerUpdate
    }

    fn rate(moment: Moment) -> Result<f64, Fault> {
        let options = OPTIONS.get()?;
        if moment.update < options.after {
            return Ok(moment.base_rate);
        }
        match options.fault.as_str() {
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

bindings::export!(FaultySchedule with_types_in bindings);
