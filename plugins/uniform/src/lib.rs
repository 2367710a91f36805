//! Partition scheme `uniform`: depth / K blocks for every module; the remainder, one each, to the
//! first modules (Deep Incubation, section 4: all stages have the same depth).

mod depths;

use incubate_plugin::{
    Description, Fault, ModuleDepth, Partition, Request, Settings, division, export_partition,
};

struct Uniform {
    meta_depth: u32,
    meta_depths: Option<Vec<u32>>,
}

impl Partition for Uniform {
    fn describe() -> Description {
        Description::new(
            "The same number of blocks for every module, the remainder to the first ones",
        )
        .parameter(division::meta_depth_parameter())
        .parameter(division::meta_depths_parameter())
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            meta_depth: settings.get("meta_depth")?,
            meta_depths: settings.get("meta_depths")?,
        })
    }

    fn divide(&self, request: &Request) -> Result<Vec<ModuleDepth>, Fault> {
        division::check_modules(request)?;
        let targets = depths::uniform(request.blocks.len() as u32, request.modules);
        division::with_meta_depths(targets, self.meta_depths.as_deref(), self.meta_depth)
    }
}

export_partition!(Uniform);
