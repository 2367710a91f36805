//! A loss hook that misbehaves as the parameter `fault` says, for the tests of the host.

mod bindings;

use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::loss::{self, Features, Inputs, Step};
use bindings::incubate::plugin::tensors::{Tensor, from_f32};
use guest::{
    Configured, Fault, Parameter, Setting, SettingKind, SettingValue, Settings, report_panics,
    restore_nothing,
};

const FAULTS: &[&str] = &[
    "none",
    "not-scalar",
    "not-finite",
    "detached",
    "shape-error",
    "fault",
    "trap",
    "endless-loop",
    "leaks-handles",
];

/// More than any host should let live at once.
const LEAKED_HANDLES: u32 = 1_000_000;

struct FaultyLoss;

static FAULT: Configured<String> = Configured::new();

impl description::Guest for FaultyLoss {
    fn describe() -> PluginInfo {
        report_panics();
        PluginInfo {
            name: "faulty-loss".to_owned(),
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

impl loss::Guest for FaultyLoss {
    fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
        report_panics();
        FAULT.set(Settings::new(&settings).text("fault")?.to_owned())
    }

    fn needs() -> Features {
        Features::empty()
    }

    fn compute(step: Step, inputs: Inputs) -> Result<Tensor, Fault> {
        match FAULT.get()?.as_str() {
            "none" => cross_entropy(&step, &inputs, &inputs.logits),
            "not-scalar" => inputs.logits.log_softmax(-1),
            // The logarithm of -1, which is still connected to the logits.
            "not-finite" => inputs.logits.affine(0.0, -1.0)?.log()?.sum(&[]),
            "detached" => cross_entropy(&step, &inputs, &inputs.logits.detach()?),
            "shape-error" => {
                let too_wide = step.classes + 1;
                let other = from_f32(&vec![0.0; too_wide as usize], &[too_wide])?;
                inputs.logits.add(&other)
            }
            "fault" => Err(Fault::invalid("this batch was refused on request")
                .with_hint("set `fault` to `none`")),
            "trap" => panic!("trapped on request"),
            "endless-loop" => loop {
                std::hint::black_box(&step);
            },
            "leaks-handles" => {
                for _ in 0..LEAKED_HANDLES {
                    std::mem::forget(inputs.logits.affine(1.0, 0.0)?);
                }
                cross_entropy(&step, &inputs, &inputs.logits)
            }
            other => Err(Fault::unsupported(format!("no fault is named `{other}`"))),
        }
    }

    fn save() -> Vec<u8> {
        Vec::new()
    }

    fn restore(state: Vec<u8>) -> Result<(), Fault> {
        restore_nothing(&state)
    }
}

/// The correct loss for class ids.
fn cross_entropy(step: &Step, inputs: &Inputs, logits: &Tensor) -> Result<Tensor, Fault> {
    let targets = inputs.class_ids.one_hot(step.classes)?;
    logits
        .log_softmax(-1)?
        .mul(&targets)?
        .sum(&[])?
        .affine(-1.0 / step.pictures as f32, 0.0)
}

bindings::export!(FaultyLoss with_types_in bindings);
