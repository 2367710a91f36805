//! A loss hook that reads its loss back, for the tests of the grant `read-back`.
//!
//! The loss is the cross-entropy of class ids. Its value is read, written to the log, and recorded
//! as the metric `read_back`; the returned tensor is the one that was read, gradient and all.

mod bindings;

use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::loss::{self, Features, Inputs, Step};
use bindings::incubate::plugin::metrics;
use bindings::incubate::plugin::readback::read_with_sync;
use bindings::incubate::plugin::tensors::Tensor;
use guest::log::{self, Level};
use guest::{Fault, Setting, report_panics, restore_nothing};

struct ReadBack;

impl description::Guest for ReadBack {
    fn describe() -> PluginInfo {
        report_panics();
        PluginInfo {
            name: "faulty-read-back".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Reads its loss back at every step".to_owned(),
            parameters: Vec::new(),
        }
    }
}

impl loss::Guest for ReadBack {
    fn configure(_: Vec<Setting>) -> Result<(), Fault> {
        report_panics();
        Ok(())
    }

    fn needs() -> Features {
        Features::empty()
    }

    fn compute(step: Step, inputs: Inputs) -> Result<Tensor, Fault> {
        let targets = inputs.class_ids.one_hot(step.classes)?;
        let loss = inputs
            .logits
            .log_softmax(-1)?
            .mul(&targets)?
            .sum(&[])?
            .affine(-1.0 / step.pictures as f32, 0.0)?;
        for value in read_with_sync(&loss)? {
            log::write(Level::Info, &format!("the loss is {value}"));
            metrics::record("read_back", f64::from(value));
        }
        Ok(loss)
    }

    fn save() -> Vec<u8> {
        Vec::new()
    }

    fn restore(state: Vec<u8>) -> Result<(), Fault> {
        restore_nothing(&state)
    }
}

bindings::export!(ReadBack with_types_in bindings);
