//! A partition scheme that keeps every law, or breaks the one that the parameter `fault` names, for
//! the tests of `incubate plugin check`.

mod bindings;

use std::sync::atomic::{AtomicU32, Ordering};

use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::partition::{self, ModuleDepth, Request};
use guest::{
    Configured, Fault, Parameter, Setting, SettingKind, SettingValue, Settings, report_panics,
};

/// Everything that `fault` may be. No choices stand in the description, since a check tries them.
const FAULTS: &[&str] = &[
    "none",
    "sum-wrong",
    "zero-module",
    "meta-too-deep",
    "wrong-length",
    "unstable",
    "traps-at-large",
    "traps-at-huge-costs",
    "traps-without-devices",
    "traps-at-bound",
    "fault-without-message",
    "loops-at-large",
    "hungry",
    "chatty",
];

struct LawlessPartition;

static FAULT: Configured<String> = Configured::new();
static CALLS: AtomicU32 = AtomicU32::new(0);

impl description::Guest for LawlessPartition {
    fn describe() -> PluginInfo {
        report_panics();
        PluginInfo {
            name: "lawless-partition".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Equal modules, or a broken law".to_owned(),
            parameters: vec![
                Parameter::new("fault", SettingKind::Text, "The law to break")
                    .with_default(SettingValue::Text("none".to_owned())),
                Parameter::new(
                    "meta_depth",
                    SettingKind::Integer,
                    "Blocks of a meta module",
                )
                .with_default(SettingValue::Integer(1))
                .at_least(1.0)
                .at_most(4.0),
            ],
        }
    }
}

impl partition::Guest for LawlessPartition {
    fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
        report_panics();
        let settings = Settings::new(&settings);
        let fault = settings.text("fault")?;
        if !FAULTS.contains(&fault) {
            return Err(Fault::unsupported(format!("no fault is named `{fault}`")));
        }
        let depth = settings.count("meta_depth")?;
        assert!(fault != "traps-at-bound" || depth < 4, "at the bound");
        FAULT.set(fault.to_owned())
    }

    fn divide(request: Request) -> Result<Vec<ModuleDepth>, Fault> {
        let blocks = request.blocks.len() as u32;
        let (count, rest) = (blocks / request.modules, blocks % request.modules);
        let mut modules: Vec<ModuleDepth> = (0..request.modules)
            .map(|module| ModuleDepth {
                target: count + u32::from(module < rest),
                meta: 1,
            })
            .collect();
        match FAULT.get()?.as_str() {
            "sum-wrong" if blocks > 7 => modules[0].target += 1,
            "zero-module" if request.modules > 2 && count == 1 => {
                modules[1].target += modules[0].target;
                modules[0].target = 0;
            }
            "meta-too-deep" => modules[0].meta = 3,
            "wrong-length" if request.modules == 5 => modules.push(modules[0]),
            "unstable" if CALLS.fetch_add(1, Ordering::Relaxed) % 2 == 1 => modules.reverse(),
            "traps-at-large" => assert!(blocks < 150, "too many blocks"),
            "traps-at-huge-costs" => {
                let macs = request.blocks.iter().map(|block| block.forward_macs);
                let sum = macs.reduce(|sum, next| sum.checked_add(next).expect("an overflow"));
                std::hint::black_box(sum);
            }
            "traps-without-devices" => {
                std::hint::black_box(request.devices[0].speed);
            }
            "fault-without-message" if blocks > 20 => return Err(Fault::invalid("")),
            "loops-at-large" if blocks > 100 => loop {
                std::hint::black_box(&modules);
            },
            "hungry" if request.modules == 24 => {
                for step in 0..2_500_000_u32 {
                    std::hint::black_box(step);
                }
            }
            "chatty" => guest::log::write(guest::log::Level::Info, &"much ".repeat(600)),
            _ => {}
        }
        Ok(modules)
    }
}

bindings::export!(LawlessPartition with_types_in bindings);
