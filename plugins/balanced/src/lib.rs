//! Partition scheme `balanced`: contiguous modules whose largest load is as small as possible.
//!
//! The load of a module is the cost of its blocks (parameters, MACs, or measured time) over the
//! speed of its device; the first module also carries the entry of the network and the last one
//! its exit. A module that does not fit the memory of its device is not considered.

mod bindings;
mod costs;
mod division;

use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::partition::{self, ModuleDepth, Request};
use costs::Measure;
use guest::division::{check_meta_depth, check_modules, meta_depth_parameter};
use guest::{
    Configured, Fault, Parameter, Setting, SettingKind, SettingValue, Settings, report_panics,
};

struct Balanced;

#[derive(Debug)]
struct Options {
    by: Measure,
    meta_depth: u32,
}

static OPTIONS: Configured<Options> = Configured::new();

impl description::Guest for Balanced {
    fn describe() -> PluginInfo {
        report_panics();
        PluginInfo {
            name: "balanced".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Contiguous modules whose largest load is as small as possible".to_owned(),
            parameters: vec![
                Parameter::new("by", SettingKind::Text, "What the load of a block is")
                    .with_default(SettingValue::Text("macs".to_owned()))
                    .one_of(&["parameters", "macs", "time"]),
                meta_depth_parameter(),
            ],
        }
    }
}

impl partition::Guest for Balanced {
    fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
        report_panics();
        let settings = Settings::new(&settings);
        OPTIONS.set(Options {
            by: Measure::from_name(settings.text("by")?)?,
            meta_depth: settings.count("meta_depth")?,
        })
    }

    fn divide(request: Request) -> Result<Vec<ModuleDepth>, Fault> {
        let options = OPTIONS.get()?;
        check_modules(request.blocks.len(), request.modules)?;
        let problem = costs::problem(options.by, &request)?;
        let targets = problem.solve().map_err(|too_big| {
            Fault::invalid(too_big.to_string()).with_hint(
                "give this device more memory, use more modules, or lower the batch size",
            )
        })?;
        check_meta_depth(&targets, options.meta_depth)?;
        Ok(targets
            .into_iter()
            .map(|target| ModuleDepth {
                target,
                meta: options.meta_depth,
            })
            .collect())
    }
}

bindings::export!(Balanced with_types_in bindings);
