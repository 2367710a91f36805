//! Partition scheme `balanced`: contiguous modules whose largest load is as small as possible.
//!
//! The load of a module is the cost of its blocks (parameters, MACs, or measured time) over the
//! speed of its device; the first module also carries the entry of the network and the last one
//! its exit. A module that does not fit the memory of its device is not considered.

mod costs;
mod division;

use costs::Measure;
use incubate_plugin::division::{
    check_modules, meta_depth_parameter, meta_depths_parameter, with_meta_depths,
};
use incubate_plugin::{
    Description, Fault, ModuleDepth, Parameter, Partition, Request, Settings, export_partition,
};

struct Balanced {
    by: Measure,
    meta_depth: u32,
    meta_depths: Option<Vec<u32>>,
}

impl Partition for Balanced {
    fn describe() -> Description {
        Description::new("Contiguous modules whose largest load is as small as possible")
            .parameter(
                Parameter::text("by", "What the load of a block is")
                    .default("macs")
                    .one_of(&["parameters", "macs", "time"]),
            )
            .parameter(meta_depth_parameter())
            .parameter(meta_depths_parameter())
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            by: Measure::from_name(settings.get("by")?)?,
            meta_depth: settings.get("meta_depth")?,
            meta_depths: settings.get("meta_depths")?,
        })
    }

    fn divide(&self, request: &Request) -> Result<Vec<ModuleDepth>, Fault> {
        check_modules(request)?;
        let problem = costs::problem(self.by, request)?;
        let targets = problem.solve().map_err(|too_big| {
            Fault::invalid(too_big.to_string()).with_hint(
                "give this device more memory, use more modules, or lower the batch size",
            )
        })?;
        with_meta_depths(targets, self.meta_depths.as_deref(), self.meta_depth)
    }
}

export_partition!(Balanced);
