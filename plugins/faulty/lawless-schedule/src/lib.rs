//! A schedule that keeps every law, or breaks the one that the parameter `fault` names, for the
//! tests of `incubate plugin check`: the rate is halved when the loss has not improved `patience`
//! times.

mod bindings;

use std::sync::Mutex;

use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::schedule::{self, Interval, Metric, Moment};
use guest::{
    Configured, Fault, Parameter, Setting, SettingKind, SettingValue, Settings, report_panics,
};

/// Everything that `fault` may be. No choices stand in the description, since a check tries them.
const FAULTS: &[&str] = &[
    "none",
    "nan-late",
    "negative",
    "infinite-base-zero",
    "forgets-state",
    "refuses-own-state",
    "restores-more",
    "impure",
    "traps-at-last",
    "traps-at-second",
    "faults-at-last",
    "traps-on-lost-loss",
    "restore-traps",
    "traps-at-bound",
    "hungry",
    "chatty",
];

struct LawlessSchedule;

struct Options {
    fault: String,
    patience: u32,
    per_update: bool,
}

/// What the schedule remembers.
#[derive(Clone, Copy)]
struct Memory {
    best: f64,
    waited: u32,
    halvings: u32,
}

static OPTIONS: Configured<Options> = Configured::new();
static MEMORY: Mutex<Memory> = Mutex::new(Memory {
    best: f64::INFINITY,
    waited: 0,
    halvings: 0,
});
static CALLS: Mutex<u32> = Mutex::new(0);

/// A guest has one thread, and a panic ends it.
fn held<T: Copy>(value: &Mutex<T>) -> T {
    *value.lock().expect("one thread")
}

fn is(fault: &str) -> bool {
    OPTIONS.get().is_ok_and(|options| options.fault == fault)
}

impl description::Guest for LawlessSchedule {
    fn describe() -> PluginInfo {
        report_panics();
        PluginInfo {
            name: "lawless-schedule".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Halves the rate when the loss stays, or breaks a law".to_owned(),
            parameters: vec![
                Parameter::new("fault", SettingKind::Text, "The law to break")
                    .with_default(SettingValue::Text("none".to_owned())),
                Parameter::new("patience", SettingKind::Integer, "Evaluations to wait for")
                    .with_default(SettingValue::Integer(2))
                    .at_least(1.0)
                    .at_most(9.0),
                Parameter::new("per", SettingKind::Text, "How often the rate changes")
                    .with_default(SettingValue::Text("update".to_owned()))
                    .one_of(&["update", "epoch"]),
            ],
        }
    }
}

impl schedule::Guest for LawlessSchedule {
    fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
        report_panics();
        let settings = Settings::new(&settings);
        let fault = settings.text("fault")?.to_owned();
        if !FAULTS.contains(&fault.as_str()) {
            return Err(Fault::unsupported(format!("no fault is named `{fault}`")));
        }
        let patience = settings.count("patience")?;
        assert!(fault != "traps-at-bound" || patience > 1, "at the bound");
        OPTIONS.set(Options {
            fault,
            patience,
            per_update: settings.text("per")? == "update",
        })
    }

    fn stepping() -> Interval {
        match OPTIONS.get() {
            Ok(options) if options.per_update => Interval::PerUpdate,
            _ => Interval::PerEpoch,
        }
    }

    fn rate(moment: Moment) -> Result<f64, Fault> {
        let last = moment.update + 1 >= moment.updates;
        let late = moment.updates > 50 && moment.update * 4 >= moment.updates * 3;
        let rate = moment.base_rate * 0.5_f64.powi(held(&MEMORY).halvings as i32);
        match OPTIONS.get()?.fault.as_str() {
            "nan-late" if late => Ok(f64::NAN),
            "negative" if late => Ok(-rate),
            "infinite-base-zero" if moment.base_rate == 0.0 => Ok(1.0 / moment.base_rate),
            "traps-at-last" if last && moment.updates > 1 => panic!("at the last update"),
            "traps-at-second" if moment.update == 1 => panic!("at the second update"),
            "faults-at-last" if last && moment.updates > 1 => Err(Fault::invalid("too late")),
            "impure" => {
                *CALLS.lock().expect("one thread") += 1;
                Ok(rate * if held(&CALLS) % 2 == 0 { 1.0 } else { 0.5 })
            }
            "hungry" if last && moment.updates == 7 => {
                for step in 0..2_500_000_u32 {
                    std::hint::black_box(step);
                }
                Ok(rate)
            }
            "chatty" => {
                guest::log::write(guest::log::Level::Info, &"much ".repeat(600));
                Ok(rate)
            }
            _ => Ok(rate),
        }
    }

    fn observe(_: Moment, metrics: Vec<Metric>) -> Result<(), Fault> {
        let loss = metrics.iter().find(|metric| metric.name == "loss");
        let loss = loss.map_or(f64::INFINITY, |metric| metric.value);
        assert!(!is("traps-on-lost-loss") || !loss.is_nan(), "a lost loss");
        let mut memory = MEMORY.lock().expect("one thread");
        if loss < memory.best {
            memory.best = loss;
            memory.waited = 0;
            return Ok(());
        }
        memory.waited += 1;
        if memory.waited >= OPTIONS.get()?.patience {
            memory.waited = 0;
            memory.halvings += 1;
        }
        Ok(())
    }

    fn save() -> Vec<u8> {
        let memory = held(&MEMORY);
        let mut state = memory.best.to_le_bytes().to_vec();
        if !is("forgets-state") {
            state.extend(memory.waited.to_le_bytes());
        }
        state.extend(memory.halvings.to_le_bytes());
        state
    }

    fn restore(state: Vec<u8>) -> Result<(), Fault> {
        let words = if is("forgets-state") { 1 } else { 2 };
        if is("restore-traps") {
            assert_eq!(state.len(), 8 + 4 * words, "another state");
        }
        if state.len() != 8 + 4 * words || is("refuses-own-state") {
            return Err(Fault::invalid(format!("a state of {} bytes", state.len())));
        }
        let word = |index: usize| {
            let bytes = &state[8 + 4 * index..12 + 4 * index];
            u32::from_le_bytes(bytes.try_into().unwrap_or_default())
        };
        let best = state[..8].try_into().unwrap_or_default();
        *MEMORY.lock().expect("one thread") = Memory {
            best: f64::from_le_bytes(best),
            waited: if words == 2 { word(0) } else { 0 },
            halvings: word(words - 1) + u32::from(is("restores-more")),
        };
        Ok(())
    }
}

bindings::export!(LawlessSchedule with_types_in bindings);
