//! Partition scheme `explicit`: the depths that the experiment lists.

mod depths;

use depths::Depths;
use incubate_plugin::{
    Description, Fault, ModuleDepth, Parameter, Partition, Request, Settings, export_partition,
};

struct Explicit {
    depths: Depths,
}

impl Partition for Explicit {
    fn describe() -> Description {
        Description::new("The depths that the experiment lists")
            .parameter(
                Parameter::integers(
                    "depths",
                    "Blocks of every target module, in order; they sum to the depth of the model",
                )
                .at_least(1.0),
            )
            .parameter(
                Parameter::integers(
                    "meta_depths",
                    "Blocks of every meta module, in order; 1 each when it is not given",
                )
                .optional()
                .at_least(1.0),
            )
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            depths: Depths::new(settings.get("depths")?, settings.get("meta_depths")?)?,
        })
    }

    fn divide(&self, request: &Request) -> Result<Vec<ModuleDepth>, Fault> {
        self.depths.check(request.blocks.len(), request.modules)?;
        Ok(self.depths.modules())
    }
}

export_partition!(Explicit);
