//! A loss hook that keeps every law, or breaks the one that the parameter `fault` names, for the
//! tests of `incubate plugin check`: cross-entropy with a focal factor `(1 - p)^focus`.

mod bindings;

use std::sync::atomic::{AtomicU32, Ordering};

use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::loss::{self, Features, Inputs, Step};
use bindings::incubate::plugin::random;
use bindings::incubate::plugin::tensors::{Tensor, from_f32};
use guest::{
    Configured, Fault, Parameter, Setting, SettingKind, SettingValue, Settings, report_panics,
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

struct LawlessLoss;

struct Options {
    fault: String,
    focus: f32,
    noise: bool,
}

static OPTIONS: Configured<Options> = Configured::new();
static COUNTER: AtomicU32 = AtomicU32::new(0);

fn is(fault: &str) -> bool {
    OPTIONS.get().is_ok_and(|options| options.fault == fault)
}

impl description::Guest for LawlessLoss {
    fn describe() -> PluginInfo {
        report_panics();
        PluginInfo {
            name: "lawless-loss".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Focal cross-entropy, or a broken law".to_owned(),
            parameters: vec![
                Parameter::new("fault", SettingKind::Text, "The law to break")
                    .with_default(SettingValue::Text("none".to_owned())),
                Parameter::new("focus", SettingKind::Number, "Exponent of the factor")
                    .with_default(SettingValue::Number(2.0))
                    .at_least(1.0)
                    .at_most(5.0),
                Parameter::new(
                    "noise",
                    SettingKind::Boolean,
                    "Random weights of the pictures",
                )
                .with_default(SettingValue::Boolean(false)),
            ],
        }
    }
}

impl loss::Guest for LawlessLoss {
    fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
        report_panics();
        let settings = Settings::new(&settings);
        let fault = settings.text("fault")?.to_owned();
        if !FAULTS.contains(&fault.as_str()) {
            return Err(Fault::unsupported(format!("no fault is named `{fault}`")));
        }
        let focus = settings.number("focus")? as f32;
        assert!(fault != "traps-at-bound" || focus > 1.0, "at the bound");
        OPTIONS.set(Options {
            fault,
            focus,
            noise: settings.boolean("noise")?,
        })
    }

    fn needs() -> Features {
        if is("detached-features") {
            Features::NETWORK_FEATURES
        } else {
            Features::empty()
        }
    }

    fn compute(step: Step, inputs: Inputs) -> Result<Tensor, Fault> {
        let options = OPTIONS.get()?;
        let fault = options.fault.as_str();
        let pictures = step.pictures;
        let targets = match &inputs.soft_targets {
            Some(soft) if fault != "ignores-soft-targets" => soft.affine(1.0, 0.0)?,
            _ => inputs.class_ids.one_hot(step.classes)?,
        };
        let logits = match fault {
            "detached" => inputs.logits.detach()?,
            // A tenth of the gradient is lost and nothing of the value.
            "slightly-wrong-gradient" => {
                let part = inputs.logits.affine(0.9, 0.0)?;
                part.add(&inputs.logits.detach()?.affine(0.1, 0.0)?)?
            }
            _ => inputs.logits.affine(1.0, 0.0)?,
        };
        let logarithms = if fault == "naive-softmax" {
            let powers = logits.exp()?;
            powers.div(&powers.sum(&[-1])?)?.log()?
        } else {
            logits.log_softmax(-1)?
        };
        let factor = logarithms.exp()?.affine(-1.0, 1.0)?.clamp(0.0, 1.0)?;
        let factor = match fault {
            // The derivative of a power below 1 is infinite at 0.
            "naive-power" => factor.powf(0.5)?,
            "detached-factor" => factor.powf(options.focus)?.detach()?,
            _ => factor.powf(options.focus)?,
        };
        let mut each = factor.mul(&logarithms)?.mul(&targets)?.sum(&[-1])?;
        if fault == "order-dependent" {
            let weights: Vec<f32> = (0..pictures).map(|index| (index % 2) as f32).collect();
            each = each.mul(&from_f32(&weights, &[pictures, 1])?)?;
        }
        if options.noise {
            let weights: Vec<f32> = (0..pictures).map(|_| random::uniform() as f32).collect();
            each = each.mul(&from_f32(&weights, &[pictures, 1])?)?;
        }
        let scale = match fault {
            "sum-not-mean" => -1.0,
            "unsaved-counter" | "saved-counter" => {
                let calls = COUNTER.fetch_add(1, Ordering::Relaxed);
                -1.0 / pictures as f32 / (1.0 + calls as f32)
            }
            _ => -1.0 / pictures as f32,
        };
        match fault {
            "not-scalar" => return each.affine(scale, 0.0),
            "traps-on-one-picture" => assert!(pictures > 1, "one picture"),
            "traps-on-many-classes" => assert!(step.classes < 1000, "many classes"),
            "greedy-on-many-classes" if step.classes >= 1000 => {
                let mut kept = Vec::new();
                for _ in 0..1000 {
                    kept.push(inputs.logits.exp()?);
                }
            }
            "many-tensors" => {
                let mut kept = Vec::new();
                for _ in 0..200 {
                    kept.push(inputs.logits.exp()?);
                }
            }
            "detached-features" => {
                let mut loss = each.sum(&[])?.affine(scale, 0.0)?;
                for feature in &inputs.network_features {
                    let activation = feature.activation.detach()?;
                    let numbers: u32 = activation.shape().iter().product();
                    let square = activation.mul(&activation)?.sum(&[])?;
                    loss = loss.add(&square.affine(1.0 / numbers as f32, 0.0)?)?;
                }
                return Ok(loss);
            }
            // Nothing is differentiated, and what is no number is no largest element either.
            "counts-errors" => {
                let guess = inputs.logits.argmax(-1)?.reshape(&[pictures])?;
                let hits = guess.one_hot(step.classes)?.mul(&targets)?.sum(&[])?;
                return hits.affine(scale, 1.0);
            }
            "hungry" if step.classes >= 1000 => {
                for step in 0..2_500_000_u32 {
                    std::hint::black_box(step);
                }
            }
            "chatty" => guest::log::write(guest::log::Level::Info, &"much ".repeat(600)),
            _ => {}
        }
        each.sum(&[])?.affine(scale, 0.0)
    }

    fn save() -> Vec<u8> {
        if is("saved-counter") {
            return COUNTER.load(Ordering::Relaxed).to_le_bytes().to_vec();
        }
        Vec::new()
    }

    fn restore(state: Vec<u8>) -> Result<(), Fault> {
        if is("restore-traps") {
            assert!(state.is_empty(), "another state");
        }
        if is("saved-counter") {
            let bytes = state.as_slice().try_into();
            let bytes = bytes.map_err(|_| Fault::invalid("a counter has four bytes"))?;
            COUNTER.store(u32::from_le_bytes(bytes), Ordering::Relaxed);
            return Ok(());
        }
        guest::restore_nothing(&state)
    }
}

bindings::export!(LawlessLoss with_types_in bindings);
