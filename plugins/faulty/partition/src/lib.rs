//! A partition scheme that misbehaves as the parameter `fault` says, for the tests of the host.

mod bindings;

use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::partition::{self, ModuleDepth, Request};
use guest::{
    Configured, Fault, Parameter, Setting, SettingKind, SettingValue, Settings, report_panics,
};

const FAULTS: &[&str] = &[
    "none",
    "does-not-sum",
    "zero-depth",
    "meta-too-deep",
    "wrong-count",
    "fault",
    "trap",
    "endless-loop",
    "eats-memory",
];

struct FaultyPartition;

static FAULT: Configured<String> = Configured::new();

impl description::Guest for FaultyPartition {
    fn describe() -> PluginInfo {
        report_panics();
        PluginInfo {
            name: "faulty-partition".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Misbehaves as `fault` says".to_owned(),
            parameters: vec![
                Parameter::new("fault", SettingKind::Text, "How to misbehave")
                    .with_default(SettingValue::Text("none".to_owned()))
                    .one_of(FAULTS),
            ],
        }
    }
}

impl partition::Guest for FaultyPartition {
    fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
        report_panics();
        FAULT.set(Settings::new(&settings).text("fault")?.to_owned())
    }

    fn divide(request: Request) -> Result<Vec<ModuleDepth>, Fault> {
        // One block for every module, and the rest for the last one.
        let mut modules = vec![ModuleDepth { target: 1, meta: 1 }; request.modules as usize];
        let last = modules.len() - 1;
        modules[last].target = request.blocks.len() as u32 - last as u32;
        match FAULT.get()?.as_str() {
            "none" => {}
            "does-not-sum" => modules[last].target += 1,
            "zero-depth" => {
                modules[last].target += 1;
                modules[0].target = 0;
            }
            "meta-too-deep" => modules[0].meta = 2,
            "wrong-count" => modules.push(ModuleDepth { target: 1, meta: 1 }),
            "fault" => {
                return Err(Fault::invalid("this model was refused on request")
                    .with_hint("set `fault` to `none`"));
            }
            "trap" => panic!("trapped on request"),
            "endless-loop" => loop {
                std::hint::black_box(&modules);
            },
            // Not filled, so that the limit on memory is reached before the one on time.
            "eats-memory" => loop {
                std::mem::forget(std::hint::black_box(Vec::<u8>::with_capacity(1 << 20)));
            },
            other => return Err(Fault::unsupported(format!("no fault is named `{other}`"))),
        }
        Ok(modules)
    }
}

bindings::export!(FaultyPartition with_types_in bindings);
