//! Loss hooks: a scalar composed from tensors that stay on the device.

use crate::{Description, Fault, Settings, Tensor, restore_nothing};

pub use crate::bindings::loss::exports::incubate::plugin::loss::Step;

/// Composes the training loss. [`export_loss!`](crate::export_loss) makes a component of it.
///
/// One instance serves one phase of one run: it is configured once, then asked for a loss at every
/// step.
pub trait Loss: Sized + 'static {
    /// What the hook does and what can be set. Must give the same answer at every call.
    fn describe() -> Description;

    /// The hook with the settings that are in force.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used, beyond what the description excludes already.
    fn configure(settings: &Settings) -> Result<Self, Fault>;

    /// What the host must compute for this hook besides the logits: nothing, unless said otherwise.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// A tensor of one element: the mean over the pictures of this call. The host scales it for
    /// gradient accumulation and differentiates it.
    ///
    /// # Errors
    ///
    /// The hook cannot answer. A fault that the tensor carries has the same effect.
    fn compute(&mut self, step: &Step, inputs: &Inputs) -> Result<Tensor, Fault>;

    /// Everything that [`compute`](Self::compute) remembers; empty when it remembers nothing, as
    /// here.
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    /// The counterpart of [`save`](Self::save), called after [`configure`](Self::configure) in a
    /// new instance; here it refuses every state that is not empty.
    ///
    /// # Errors
    ///
    /// A state that was saved by something else.
    fn restore(&mut self, state: &[u8]) -> Result<(), Fault> {
        restore_nothing(state)
    }
}

/// What a loss hook wants besides the logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The activations between the modules of the network that is trained.
    pub network_features: bool,
    /// The activations between the modules of the meta model on the same pictures; given in phase
    /// `module` alone.
    pub meta_features: bool,
}

/// What a loss is computed from.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Shape [pictures, classes].
    pub logits: Tensor,
    /// Class ids, shape [pictures].
    pub class_ids: Tensor,
    /// Rows that sum to 1, shape [pictures, classes], when labels were mixed.
    pub soft_targets: Option<Tensor>,
    /// Empty unless asked for by [`Loss::needs`].
    pub network_features: Vec<Feature>,
    /// Empty unless asked for by [`Loss::needs`].
    pub meta_features: Vec<Feature>,
}

/// The activation that leaves one module.
#[derive(Clone, Debug)]
pub struct Feature {
    /// The module that it leaves, from 0; the last module's output is the logits.
    pub module: u32,
    /// Shape [pictures, tokens, width].
    pub activation: Tensor,
}

impl Inputs {
    /// The soft targets when labels were mixed, else the class ids as rows with a single 1: shape
    /// [pictures, classes].
    pub fn targets(&self) -> Tensor {
        if let Some(targets) = &self.soft_targets {
            return targets.clone();
        }
        match self.logits.shape().as_deref() {
            Ok([.., classes]) => self.class_ids.one_hot(*classes),
            Ok([]) => Fault::shape("the logits are a scalar, without classes").into(),
            Err(fault) => fault.clone().into(),
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub(crate) mod component {
    use std::marker::PhantomData;

    use crate::bindings::description::exports::incubate::plugin::description::{self, PluginInfo};
    use crate::bindings::loss::exports::incubate::plugin::loss::{self as contract, Step};
    use crate::export::{Hosted, plugin_info};
    use crate::host::Handle;
    use crate::{Fault, Feature, Inputs, Loss, Setting, Settings, Tensor, report_panics};

    /// The exports of a loss hook.
    #[derive(Debug)]
    pub struct LossComponent<T>(PhantomData<T>);

    impl<T: Loss + Hosted> description::Guest for LossComponent<T> {
        fn describe() -> PluginInfo {
            plugin_info::<T>(T::describe())
        }
    }

    impl<T: Loss + Hosted> contract::Guest for LossComponent<T> {
        fn configure(settings: Vec<Setting>) -> Result<(), Fault> {
            report_panics();
            T::place(|| T::configure(&Settings::new(settings)))
        }

        fn needs() -> contract::Features {
            let needs = T::ask(|hook| hook.needs());
            let mut features = contract::Features::empty();
            if needs.network_features {
                features = features | contract::Features::NETWORK_FEATURES;
            }
            if needs.meta_features {
                features = features | contract::Features::META_FEATURES;
            }
            features
        }

        fn compute(step: Step, inputs: contract::Inputs) -> Result<Handle, Fault> {
            let inputs = wrap(inputs);
            let loss = T::call(|hook| hook.compute(&step, &inputs))?;
            // So that a loss that is one of the inputs is the only one to hold its handle.
            drop(inputs);
            loss.into_handle()
        }

        fn save() -> Vec<u8> {
            T::ask(|hook| hook.save())
        }

        fn restore(state: Vec<u8>) -> Result<(), Fault> {
            T::call(|hook| hook.restore(&state))
        }
    }

    fn wrap(inputs: contract::Inputs) -> Inputs {
        let tensor = |handle| Tensor::from_answer(Ok(handle));
        let features = |features: Vec<contract::Feature>| {
            features
                .into_iter()
                .map(|feature| Feature {
                    module: feature.module,
                    activation: tensor(feature.activation),
                })
                .collect()
        };
        Inputs {
            logits: tensor(inputs.logits),
            class_ids: tensor(inputs.class_ids),
            soft_targets: inputs.soft_targets.map(tensor),
            network_features: features(inputs.network_features),
            meta_features: features(inputs.meta_features),
        }
    }
}
