//! A loss hook that misbehaves as the parameter `fault` says, for the tests of the host.

use incubate_plugin::{
    Description, Fault, Inputs, Loss, Parameter, Settings, Step, Tensor, export_loss,
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

struct FaultyLoss {
    fault: String,
}

impl Loss for FaultyLoss {
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

    fn compute(&mut self, step: &Step, inputs: &Inputs) -> Result<Tensor, Fault> {
        let logits = &inputs.logits;
        let targets = inputs.class_ids.one_hot(step.classes);
        match self.fault.as_str() {
            "none" => Ok(logits.cross_entropy(&targets)),
            "not-scalar" => Ok(logits.log_softmax(-1)),
            // The logarithm of -1, which is still connected to the logits.
            "not-finite" => Ok(logits.affine(0.0, -1.0).log().sum(&[])),
            "detached" => Ok(logits.detach().cross_entropy(&targets)),
            "shape-error" => {
                let too_wide = step.classes + 1;
                Ok(logits + Tensor::from_f32(&vec![0.0; too_wide as usize], &[too_wide]))
            }
            "fault" => Err(Fault::invalid("this batch was refused on request")
                .with_hint("set `fault` to `none`")),
            "trap" => panic!("trapped on request"),
            "endless-loop" => loop {
                std::hint::black_box(&step);
            },
            "leaks-handles" => {
                for _ in 0..LEAKED_HANDLES {
                    std::mem::forget(logits.affine(1.0, 0.0).check()?);
                }
                Ok(logits.cross_entropy(&targets))
            }
            other => Err(Fault::unsupported(format!("no fault is named `{other}`"))),
        }
    }
}

export_loss!(FaultyLoss);
