//! A loss hook that attacks the host in the hook that a test orders.

mod bindings;
mod forged;
mod shapes;

use std::cell::RefCell;

use attack::{
    Fault, FaultCode, Setting, configured, described, restored, saved, strike, strike_or_fault,
};
use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::loss::{self, Features, Inputs, Step};
use bindings::incubate::plugin::tensors::{Tensor, from_f32};

/// Operations of one call, more than a loss needs.
const OPERATIONS: usize = 1_000_000;

struct HostileLoss;

thread_local! {
    static KEPT: RefCell<Option<Tensor>> = const { RefCell::new(None) };
}

impl description::Guest for HostileLoss {
    fn describe() -> PluginInfo {
        let attack::Described {
            name,
            version,
            summary,
            parameters,
        } = described("hostile-loss");
        PluginInfo {
            name,
            version,
            summary,
            parameters,
        }
    }
}

impl loss::Guest for HostileLoss {
    fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
        match configured(&settings)? {
            Some("tensor") => from_f32(&[1.0], &[1]).map(|_| ()),
            _ => Ok(()),
        }
    }

    fn needs() -> Features {
        strike("needs");
        Features::empty()
    }

    fn compute(step: Step, inputs: Inputs) -> Result<Tensor, Fault> {
        let Some(attack) = strike_or_fault("compute")? else {
            return cross_entropy(&step, &inputs);
        };
        if let Some(answer) = shapes::attack(attack, &inputs) {
            return answer;
        }
        match attack {
            "forged-handle" => forged::made_up(4_000_000_000).exp(),
            "forged-answer" => Ok(forged::made_up(12_345)),
            "double-drop" => {
                let handle = inputs.logits.exp()?;
                drop(forged::again(&handle));
                drop(handle);
                cross_entropy(&step, &inputs)
            }
            "use-after-drop" => {
                let handle = inputs.logits.exp()?;
                let again = forged::again(&handle);
                drop(handle);
                again.exp()
            }
            "answer-twice" => {
                let loss = cross_entropy(&step, &inputs)?;
                std::mem::forget(forged::again(&loss));
                Ok(loss)
            }
            "answer-input" => Ok(inputs.logits),
            "answer-class-ids" => inputs.class_ids.slice(0, 0, 1)?.reshape(&[]),
            "keep-and-use" => match KEPT.take() {
                None => {
                    KEPT.set(Some(inputs.logits.exp()?));
                    cross_entropy(&step, &inputs)
                }
                Some(kept) => kept.exp(),
            },
            "keep-and-answer" => match KEPT.take() {
                None => {
                    KEPT.set(Some(inputs.logits.exp()?));
                    cross_entropy(&step, &inputs)
                }
                Some(kept) => Ok(kept),
            },
            "keep-and-ask" => match KEPT.take() {
                None => {
                    KEPT.set(Some(inputs.logits.exp()?));
                    cross_entropy(&step, &inputs)
                }
                Some(kept) => from_f32(&[0.0], &kept.shape()),
            },
            "handles" => {
                for _ in 0..OPERATIONS {
                    std::mem::forget(inputs.logits.affine(1.0, 0.0)?);
                }
                cross_entropy(&step, &inputs)
            }
            "operations" => {
                let mut loss = cross_entropy(&step, &inputs)?;
                for _ in 0..OPERATIONS {
                    loss = loss.affine(1.0, 0.0)?;
                }
                Ok(loss)
            }
            "chain" => {
                let mut loss = cross_entropy(&step, &inputs)?;
                for _ in 0..900 {
                    loss = loss.affine(1.0, 0.0)?;
                }
                Ok(loss)
            }
            "nan" => cross_entropy(&step, &inputs)?.affine(0.0, -1.0)?.log(),
            "infinite" => cross_entropy(&step, &inputs)?.affine(0.0, 0.0)?.log(),
            other => Err(Fault {
                code: FaultCode::Unsupported,
                message: format!("no attack is named `{other}`"),
                hint: None,
            }),
        }
    }

    fn save() -> Vec<u8> {
        saved()
    }

    fn restore(state: Vec<u8>) -> Result<(), Fault> {
        restored(&state)
    }
}

/// The correct loss for class ids.
fn cross_entropy(step: &Step, inputs: &Inputs) -> Result<Tensor, Fault> {
    let targets = inputs.class_ids.one_hot(step.classes)?;
    inputs
        .logits
        .log_softmax(-1)?
        .mul(&targets)?
        .sum(&[])?
        .affine(-1.0 / step.pictures as f32, 0.0)
}

bindings::export!(HostileLoss with_types_in bindings);
