//! A partition scheme that misbehaves as the parameter `fault` says, for the tests of the host.

use incubate_plugin::{
    Description, Fault, ModuleDepth, Parameter, Partition, Request, Settings, export_partition,
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

struct FaultyPartition {
    fault: String,
}

impl Partition for FaultyPartition {
    fn describe() -> Description {
        Description::new("Misbehaves as `fault` says").parameter(
            Parameter::text("fault", "How to misbehave")
                .default("none")
                .one_of(FAULTS),
        )
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        Ok(Self {
            fault: settings.get("fault")?,
        })
    }

    fn divide(&self, request: &Request) -> Result<Vec<ModuleDepth>, Fault> {
        // One block for every module, and the rest for the last one.
        let mut modules = vec![ModuleDepth { target: 1, meta: 1 }; request.modules as usize];
        let last = modules.len() - 1;
        modules[last].target = request.blocks.len() as u32 - last as u32;
        match self.fault.as_str() {
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

export_partition!(FaultyPartition);
