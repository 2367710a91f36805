//! Partition scheme `explicit`: the depths that the experiment lists.

mod bindings;
mod depths;

use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::partition::{self, ModuleDepth, Request};
use depths::Depths;
use guest::{Configured, Fault, Parameter, Setting, SettingKind, Settings, report_panics};

struct Explicit;

static DEPTHS: Configured<Depths> = Configured::new();

impl description::Guest for Explicit {
    fn describe() -> PluginInfo {
        report_panics();
        PluginInfo {
            name: "explicit".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "The depths that the experiment lists".to_owned(),
            parameters: vec![
                Parameter::new(
                    "depths",
                    SettingKind::Integers,
                    "Blocks of every target module, in order; they sum to the depth of the model",
                )
                .at_least(1.0),
                Parameter::new(
                    "meta_depths",
                    SettingKind::Integers,
                    "Blocks of every meta module, in order; 1 each when it is not given",
                )
                .optional()
                .at_least(1.0),
            ],
        }
    }
}

impl partition::Guest for Explicit {
    fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
        report_panics();
        let settings = Settings::new(&settings);
        DEPTHS.set(Depths::new(
            settings.counts("depths")?,
            settings.optional_counts("meta_depths")?,
        )?)
    }

    fn divide(request: Request) -> Result<Vec<ModuleDepth>, Fault> {
        let depths = DEPTHS.get()?;
        depths.check(request.blocks.len(), request.modules)?;
        Ok(depths
            .modules()
            .map(|(target, meta)| ModuleDepth { target, meta })
            .collect())
    }
}

bindings::export!(Explicit with_types_in bindings);
