//! Partition scheme `uniform`: depth / K blocks for every module; the remainder, one each, to the
//! first modules (Deep Incubation, section 4: all stages have the same depth).

mod bindings;
mod depths;

use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::partition::{self, ModuleDepth, Request};
use guest::division::{check_meta_depth, check_modules, meta_depth_parameter};
use guest::{Configured, Fault, Setting, Settings, report_panics};

struct Uniform;

static META_DEPTH: Configured<u32> = Configured::new();

impl description::Guest for Uniform {
    fn describe() -> PluginInfo {
        report_panics();
        PluginInfo {
            name: "uniform".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "The same number of blocks for every module, the remainder to the first ones"
                .to_owned(),
            parameters: vec![meta_depth_parameter()],
        }
    }
}

impl partition::Guest for Uniform {
    fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
        report_panics();
        META_DEPTH.set(Settings::new(&settings).count("meta_depth")?)
    }

    fn divide(request: Request) -> Result<Vec<ModuleDepth>, Fault> {
        let meta = *META_DEPTH.get()?;
        check_modules(request.blocks.len(), request.modules)?;
        let targets = depths::uniform(request.blocks.len() as u32, request.modules);
        check_meta_depth(&targets, meta)?;
        Ok(targets
            .into_iter()
            .map(|target| ModuleDepth { target, meta })
            .collect())
    }
}

bindings::export!(Uniform with_types_in bindings);
