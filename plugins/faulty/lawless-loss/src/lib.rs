//! A loss hook that keeps every law, or breaks the one that the parameter `fault` names, for the
//! tests of `incubate plugin check`: cross-entropy with a focal factor `(1 - p)^focus`.

use std::cell::Cell;

use incubate_plugin::{
    Description, Fault, Inputs, Loss, Needs, Parameter, Settings, Step, Tensor, export_loss, log,
    random,
};

/// Everything that `fault` may be. No choices stand in the description, since a check tries them.
const FAULTS: &[&str] = &[
    "none",
    "not-scalar",
    "sum-not-mean",
    "order-dependent",
    "ignores-soft-targets",
    "detached-factor",
    "slightly-wrong-gradient",
    "detached",
    "detached-features",
    "naive-softmax",
    "naive-power",
    "unsaved-counter",
    "saved-counter",
    "restore-traps",
    "traps-on-one-picture",
    "traps-on-many-classes",
    "greedy-on-many-classes",
    "counts-errors",
    "traps-at-bound",
    "hungry",
    "chatty",
    "many-tensors",
];

struct LawlessLoss {
    fault: String,
    focus: f32,
    noise: bool,
    counter: Cell<u32>,
}

impl LawlessLoss {
    fn is(&self, fault: &str) -> bool {
        self.fault == fault
    }
}

impl Loss for LawlessLoss {
    fn describe() -> Description {
        Description::new("Focal cross-entropy, or a broken law")
            .parameter(Parameter::text("fault", "The law to break").default("none"))
            .parameter(
                Parameter::number("focus", "Exponent of the factor")
                    .default(2.0)
                    .at_least(1.0)
                    .at_most(5.0),
            )
            .parameter(Parameter::boolean("noise", "Random weights of the pictures").default(false))
    }

    fn configure(settings: &Settings) -> Result<Self, Fault> {
        let fault: String = settings.get("fault")?;
        if !FAULTS.contains(&fault.as_str()) {
            return Err(Fault::unsupported(format!("no fault is named `{fault}`")));
        }
        let focus = settings.get::<f64>("focus")? as f32;
        assert!(fault != "traps-at-bound" || focus > 1.0, "at the bound");
        Ok(Self {
            fault,
            focus,
            noise: settings.get("noise")?,
            counter: Cell::new(0),
        })
    }

    fn needs(&self) -> Needs {
        Needs {
            network_features: self.is("detached-features"),
            ..Needs::default()
        }
    }

    fn compute(&mut self, step: &Step, inputs: &Inputs) -> Result<Tensor, Fault> {
        let fault = self.fault.as_str();
        let pictures = step.pictures;
        let targets = match &inputs.soft_targets {
            Some(soft) if fault != "ignores-soft-targets" => soft.clone(),
            _ => inputs.class_ids.one_hot(step.classes),
        };
        let logits = match fault {
            "detached" => inputs.logits.detach(),
            // A tenth of the gradient is lost and nothing of the value.
            "slightly-wrong-gradient" => {
                inputs.logits.affine(0.9, 0.0) + inputs.logits.detach().affine(0.1, 0.0)
            }
            _ => inputs.logits.clone(),
        };
        let logarithms = if fault == "naive-softmax" {
            let powers = logits.exp();
            (&powers / &powers.sum(&[-1])).log()
        } else {
            logits.log_softmax(-1)
        };
        let factor = logarithms.exp().affine(-1.0, 1.0).clamp(0.0, 1.0);
        let factor = match fault {
            // The derivative of a power below 1 is infinite at 0.
            "naive-power" => factor.powf(0.5),
            "detached-factor" => factor.powf(self.focus).detach(),
            _ => factor.powf(self.focus),
        };
        let mut each = (factor * &logarithms * &targets).sum(&[-1]);
        if fault == "order-dependent" {
            let weights: Vec<f32> = (0..pictures).map(|index| (index % 2) as f32).collect();
            each = each * Tensor::from_f32(&weights, &[pictures, 1]);
        }
        if self.noise {
            let weights: Vec<f32> = (0..pictures).map(|_| random::uniform() as f32).collect();
            each = each * Tensor::from_f32(&weights, &[pictures, 1]);
        }
        let scale = match fault {
            "sum-not-mean" => -1.0,
            "unsaved-counter" | "saved-counter" => {
                let calls = self.counter.get();
                self.counter.set(calls + 1);
                -1.0 / pictures as f32 / (1.0 + calls as f32)
            }
            _ => -1.0 / pictures as f32,
        };
        match fault {
            "not-scalar" => return Ok(each.affine(scale, 0.0)),
            "traps-on-one-picture" => assert!(pictures > 1, "one picture"),
            "traps-on-many-classes" => assert!(step.classes < 1000, "many classes"),
            "greedy-on-many-classes" if step.classes >= 1000 => keep_powers(inputs, 1000)?,
            "many-tensors" => keep_powers(inputs, 200)?,
            "detached-features" => {
                let mut loss = each.sum(&[]).affine(scale, 0.0);
                for feature in &inputs.network_features {
                    loss = loss + feature.activation.detach().square().mean(&[]);
                }
                return Ok(loss);
            }
            // Nothing is differentiated, and what is no number is no largest element either.
            "counts-errors" => {
                let guess = inputs.logits.argmax(-1).reshape(&[pictures]);
                let hits = (guess.one_hot(step.classes) * &targets).sum(&[]);
                return Ok(hits.affine(scale, 1.0));
            }
            "hungry" if step.classes >= 1000 => {
                for step in 0..2_500_000_u32 {
                    std::hint::black_box(step);
                }
            }
            "chatty" => log::info(&"much ".repeat(600)),
            _ => {}
        }
        Ok(each.sum(&[]).affine(scale, 0.0))
    }

    fn save(&self) -> Vec<u8> {
        if self.is("saved-counter") {
            return self.counter.get().to_le_bytes().to_vec();
        }
        Vec::new()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), Fault> {
        if self.is("restore-traps") {
            assert!(state.is_empty(), "another state");
        }
        if self.is("saved-counter") {
            let bytes = state.try_into();
            let bytes = bytes.map_err(|_| Fault::invalid("a counter has four bytes"))?;
            self.counter.set(u32::from_le_bytes(bytes));
            return Ok(());
        }
        match state {
            [] => Ok(()),
            _ => Err(Fault::invalid("a state for a hook that remembers nothing")),
        }
    }
}

/// Keeps that many tensors alive at the same time.
fn keep_powers(inputs: &Inputs, count: usize) -> Result<(), Fault> {
    let kept: Vec<Tensor> = (0..count).map(|_| inputs.logits.exp()).collect();
    kept.into_iter().try_for_each(|one| one.check().map(|_| ()))
}

export_loss!(LawlessLoss);
