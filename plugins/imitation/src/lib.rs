//! A loss hook that sees features, for the tests of the host: cross-entropy plus the mean squared
//! distance between the features of the network and those of the meta model (paper, section 3,
//! "module imitation"), which passes no gradient to the meta model.
//!
//! It records how many boundaries it saw and one draw of its random stream.

mod bindings;

use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::loss::{self, Features, Inputs, Step};
use bindings::incubate::plugin::tensors::Tensor;
use bindings::incubate::plugin::{metrics, random};
use guest::{
    Configured, Fault, Parameter, Setting, SettingKind, SettingValue, Settings, report_panics,
    restore_nothing,
};

struct Imitation;

static WEIGHT: Configured<f64> = Configured::new();

impl description::Guest for Imitation {
    fn describe() -> PluginInfo {
        report_panics();
        PluginInfo {
            name: "imitation".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Cross-entropy plus the distance to the meta model's features".to_owned(),
            parameters: vec![
                Parameter::new("weight", SettingKind::Number, "Factor of the distance")
                    .with_default(SettingValue::Number(1.0))
                    .at_least(0.0),
            ],
        }
    }
}

impl loss::Guest for Imitation {
    fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
        report_panics();
        WEIGHT.set(Settings::new(&settings).number("weight")?)
    }

    fn needs() -> Features {
        Features::NETWORK_FEATURES | Features::META_FEATURES
    }

    fn compute(step: Step, inputs: Inputs) -> Result<Tensor, Fault> {
        metrics::record("network_features", inputs.network_features.len() as f64);
        metrics::record("meta_features", inputs.meta_features.len() as f64);
        metrics::record("draw", random::uniform());
        let targets = inputs.class_ids.one_hot(step.classes)?;
        let mut loss = inputs
            .logits
            .log_softmax(-1)?
            .mul(&targets)?
            .sum(&[])?
            .affine(-1.0 / step.pictures as f32, 0.0)?;
        for (own, meta) in inputs.network_features.iter().zip(&inputs.meta_features) {
            let difference = own.activation.sub(&meta.activation.detach()?)?;
            let values: u32 = own.activation.shape().iter().product();
            let scale = *WEIGHT.get()? as f32 / values as f32;
            let distance = difference.mul(&difference)?.sum(&[])?.affine(scale, 0.0)?;
            loss = loss.add(&distance)?;
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

bindings::export!(Imitation with_types_in bindings);
