//! A loss hook that reads its loss back, for the tests of the grant `read-back`.
//!
//! The loss is the cross-entropy of class ids. Its value is read, written to the log, and recorded
//! as the metric `read_back`; the returned tensor is the one that was read, gradient and all.

use incubate_plugin::{
    Description, Fault, Inputs, Loss, Settings, Step, Tensor, export_loss, log, metrics,
};

struct ReadBack;

impl Loss for ReadBack {
    fn describe() -> Description {
        Description::new("Reads its loss back at every step")
    }

    fn configure(_: &Settings) -> Result<Self, Fault> {
        Ok(Self)
    }

    fn compute(&mut self, step: &Step, inputs: &Inputs) -> Result<Tensor, Fault> {
        let targets = inputs.class_ids.one_hot(step.classes);
        let loss = inputs.logits.cross_entropy(&targets);
        for value in loss.read_with_sync()? {
            log::info(&format!("the loss is {value}"));
            metrics::record("read_back", f64::from(value));
        }
        Ok(loss)
    }
}

export_loss!(ReadBack);
