//! Partition scheme `uniform`: depth / K blocks for every module; the remainder, one each, to the
//! first modules (Deep Incubation, section 4: all stages have the same depth).

mod depths;

use incubate_plugin::{
    Description, Fault, ModuleDepth, Partition, Request, Settings, division, export_partition,
};

struct Uniform {
    meta_depth: u32,
}

impl Partition for Uniform {
    fn describe() -> Description {
        Description::new(
            "The same number of blocks for every module, the remainder to the first ones",
        )
        .parameter(division::meta_depth_parameter())
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            meta_depth: settings.get("meta_depth")?,
        })
    }

    fn divide(&self, request: &Request) -> Result<Vec<ModuleDepth>, Fault> {
        division::check_modules(request)?;
        let targets = depths::uniform(request.blocks.len() as u32, request.modules);
        division::with_meta_depth(targets, self.meta_depth)
    }
}

export_partition!(Uniform);
