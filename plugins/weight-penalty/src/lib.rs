//! A loss hook that sees weights, for the tests of the host: cross-entropy of class ids plus `factor`
//! times the sum of the squares of every weight that it is shown.
//!
//! It records how many weights it saw and how many numbers they hold. With `also` it asks for a weight
//! by name, whether or not it may see it.

mod bindings;

use std::sync::OnceLock;

use bindings::exports::incubate::plugin::description::{self, PluginInfo};
use bindings::exports::incubate::plugin::loss::{self, Features, Inputs, Step};
use bindings::incubate::plugin::log::{self, Level};
use bindings::incubate::plugin::tensors::Tensor;
use bindings::incubate::plugin::types::{
    Fault, FaultCode, Parameter, Setting, SettingKind, SettingValue,
};
use bindings::incubate::plugin::{metrics, weights};

struct WeightPenalty;

/// What `configure` was given.
struct Configured {
    factor: f32,
    /// A weight to ask for by name.
    also: Option<String>,
    /// Names that were shown in `configure`, which should be none.
    shown: usize,
}

static CONFIGURED: OnceLock<Configured> = OnceLock::new();

fn internal(message: &str) -> Fault {
    Fault {
        code: FaultCode::Internal,
        message: message.to_owned(),
        hint: None,
    }
}

fn parameter(name: &str, kind: SettingKind, summary: &str) -> Parameter {
    Parameter {
        name: name.to_owned(),
        summary: summary.to_owned(),
        kind,
        default: None,
        optional: true,
        minimum: None,
        maximum: None,
        choices: Vec::new(),
    }
}

impl description::Guest for WeightPenalty {
    fn describe() -> PluginInfo {
        PluginInfo {
            name: "weight-penalty".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Cross-entropy plus the squares of the weights that are granted".to_owned(),
            parameters: vec![
                Parameter {
                    default: Some(SettingValue::Number(1e-4)),
                    optional: false,
                    minimum: Some(0.0),
                    ..parameter("factor", SettingKind::Number, "Factor of the squares")
                },
                parameter("also", SettingKind::Text, "A weight to ask for by name"),
            ],
        }
    }
}

impl loss::Guest for WeightPenalty {
    fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
        std::panic::set_hook(Box::new(|panic| {
            log::write(Level::Error, &panic.to_string());
        }));
        let mut configured = Configured {
            factor: 0.0,
            also: None,
            shown: weights::names().len(),
        };
        for setting in settings {
            match (setting.name.as_str(), setting.value) {
                ("factor", SettingValue::Number(factor)) => configured.factor = factor as f32,
                ("also", SettingValue::Text(name)) => configured.also = Some(name),
                (name, _) => return Err(internal(&format!("`{name}` is not a parameter"))),
            }
        }
        CONFIGURED
            .set(configured)
            .map_err(|_| internal("the plugin was configured twice"))
    }

    fn needs() -> Features {
        Features::empty()
    }

    fn compute(step: Step, inputs: Inputs) -> Result<Tensor, Fault> {
        let configured = CONFIGURED
            .get()
            .ok_or_else(|| internal("the plugin was called before it was configured"))?;
        if let Some(name) = &configured.also {
            weights::get(name)?;
        }
        let targets = inputs.class_ids.one_hot(step.classes)?;
        let mut loss = inputs
            .logits
            .log_softmax(-1)?
            .mul(&targets)?
            .sum(&[])?
            .affine(-1.0 / step.pictures as f32, 0.0)?;
        let names = weights::names();
        let mut numbers = 0;
        for name in &names {
            let weight = weights::get(name)?;
            numbers += weight.shape().iter().product::<u32>();
            let squares = weight.mul(&weight)?.sum(&[])?;
            loss = loss.add(&squares.affine(configured.factor, 0.0)?)?;
        }
        metrics::record("weights", names.len() as f64);
        metrics::record("numbers", f64::from(numbers));
        metrics::record("shown_too_early", configured.shown as f64);
        Ok(loss)
    }

    fn save() -> Vec<u8> {
        Vec::new()
    }

    fn restore(state: Vec<u8>) -> Result<(), Fault> {
        if state.is_empty() {
            Ok(())
        } else {
            Err(internal(
                "a state was given to a plugin that remembers nothing",
            ))
        }
    }
}

bindings::export!(WeightPenalty with_types_in bindings);
