//! Loss hook `cross-entropy`: the mean over the pictures of `-sum_c y_c log softmax(logits)_c`.
//!
//! The targets `y` are the one-hot class ids, or the soft targets when labels were mixed. Label
//! smoothing `e` replaces them by `(1 - e) y + e / C` (Szegedy et al. 2016, section 7). It is linear
//! in `y`, so smoothing mixed labels equals mixing smoothed ones, as timm's `Mixup` does.

mod bindings;

use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::loss::{self, Features, Inputs, Step};
use bindings::incubate::plugin::tensors::Tensor;
use guest::{
    Configured, Fault, Parameter, Setting, SettingKind, SettingValue, Settings, report_panics,
    restore_nothing,
};

struct CrossEntropy;

static SMOOTHING: Configured<f32> = Configured::new();

impl description::Guest for CrossEntropy {
    fn describe() -> PluginInfo {
        report_panics();
        PluginInfo {
            name: "cross-entropy".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Cross-entropy of class ids or soft targets, with label smoothing".to_owned(),
            parameters: vec![
                Parameter::new(
                    "smoothing",
                    SettingKind::Number,
                    "Share of every target that is spread over all classes; less than 1",
                )
                .with_default(SettingValue::Number(0.0))
                .at_least(0.0)
                .at_most(1.0),
            ],
        }
    }
}

impl loss::Guest for CrossEntropy {
    fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
        report_panics();
        let smoothing = Settings::new(&settings).number("smoothing")?;
        if !(0.0..1.0).contains(&smoothing) {
            return Err(Fault::invalid(format!("`smoothing` is {smoothing}"))
                .with_hint("give a number from 0 that is less than 1"));
        }
        SMOOTHING.set(smoothing as f32)
    }

    fn needs() -> Features {
        Features::empty()
    }

    fn compute(step: Step, inputs: Inputs) -> Result<Tensor, Fault> {
        let smoothing = *SMOOTHING.get()?;
        let targets = match inputs.soft_targets {
            Some(soft_targets) => soft_targets,
            None => inputs.class_ids.one_hot(step.classes)?,
        };
        let targets = if smoothing > 0.0 {
            targets.affine(1.0 - smoothing, smoothing / step.classes as f32)?
        } else {
            targets
        };
        inputs
            .logits
            .log_softmax(-1)?
            .mul(&targets)?
            .sum(&[])?
            .affine(-1.0 / step.pictures as f32, 0.0)
    }

    fn save() -> Vec<u8> {
        Vec::new()
    }

    fn restore(state: Vec<u8>) -> Result<(), Fault> {
        restore_nothing(&state)
    }
}

bindings::export!(CrossEntropy with_types_in bindings);
