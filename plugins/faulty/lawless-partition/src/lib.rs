//! A partition scheme that keeps every law, or breaks the one that the parameter `fault` names, for
//! the tests of `incubate plugin check`.

use std::cell::Cell;

use incubate_plugin::{
    Description, Fault, ModuleDepth, Parameter, Partition, Request, Settings, export_partition, log,
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

struct LawlessPartition {
    fault: String,
    calls: Cell<u32>,
}

impl Partition for LawlessPartition {
    fn describe() -> Description {
        Description::new("Equal modules, or a broken law")
            .parameter(Parameter::text("fault", "The law to break").default("none"))
            .parameter(
                Parameter::integer("meta_depth", "Blocks of a meta module")
                    .default(1)
                    .at_least(1.0)
                    .at_most(4.0),
            )
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        let fault: String = settings.get("fault")?;
        if !FAULTS.contains(&fault.as_str()) {
            return Err(Fault::unsupported(format!("no fault is named `{fault}`")));
        }
        let depth: u32 = settings.get("meta_depth")?;
        assert!(fault != "traps-at-bound" || depth < 4, "at the bound");
        Ok(Self {
            fault,
            calls: Cell::new(0),
        })
    }

    fn divide(&self, request: &Request) -> Result<Vec<ModuleDepth>, Fault> {
        let blocks = request.blocks.len() as u32;
        let (count, rest) = (blocks / request.modules, blocks % request.modules);
        let mut modules: Vec<ModuleDepth> = (0..request.modules)
            .map(|module| ModuleDepth {
                target: count + u32::from(module < rest),
                meta: 1,
            })
            .collect();
        self.calls.set(self.calls.get() + 1);
        match self.fault.as_str() {
            "sum-wrong" if blocks > 7 => modules[0].target += 1,
            "zero-module" if request.modules > 2 && count == 1 => {
                modules[1].target += modules[0].target;
                modules[0].target = 0;
            }
            "meta-too-deep" => modules[0].meta = 3,
            "wrong-length" if request.modules == 5 => modules.push(modules[0]),
            "unstable" if self.calls.get().is_multiple_of(2) => modules.reverse(),
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
            "chatty" => log::info(&"much ".repeat(600)),
            _ => {}
        }
        Ok(modules)
    }
}

export_partition!(LawlessPartition);
