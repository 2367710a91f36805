//! Loss hooks: a differentiable number composed from tensors that stay on the device.

use wasmtime::component::Resource;

use crate::phase::Phase;
use crate::tensor::{AnyTensor, TensorError};

use super::contract::v0_1::exports::incubate::plugin::loss as contract;
use super::contract::v0_1::incubate::plugin::types;
use super::engine::Plugin;
use super::error::{PluginError, PluginErrorKind};
use super::kind::{Hook, Kind};
use super::randomness::Context;
use super::recording::{Call, RecordedInputs, RecordedStep};
use super::replay::shown_nothing;
use super::session::{Session, remembering};
use super::settings::Settings;
use super::state::State;
use super::tensors::{Arena, Handle, LOGITS, Reach, Refusal};
use super::trace::Tape;
use super::weights::WeightNames;

/// What a hook wants besides the logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The activations between the modules of the network that is trained.
    pub network_features: bool,
    /// The activations between the modules of the meta model, in the module phase.
    pub meta_features: bool,
}

/// Where in the training a loss is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepInfo {
    /// Updates done before this one.
    pub update: u64,
    /// Updates of the whole phase.
    pub updates: u64,
    /// Epochs done, with the fraction of the current one.
    pub epoch: f64,
    /// Classes of the data set.
    pub classes: u32,
    /// Pictures in this call.
    pub pictures: u32,
}

/// What a loss is computed from.
#[derive(Clone, Debug)]
pub struct LossInputs {
    /// Shape `[pictures, classes]`.
    pub logits: AnyTensor,
    /// Class ids, shape `[pictures]`.
    pub class_ids: AnyTensor,
    /// Rows that sum to 1, shape `[pictures, classes]`, when labels were mixed.
    pub soft_targets: Option<AnyTensor>,
    /// The index of a module and the activation that leaves it, shape `[pictures, tokens, width]`;
    /// empty unless needed.
    pub network_features: Vec<(u32, AnyTensor)>,
    /// As `network_features`, of the meta model on the same pictures.
    pub meta_features: Vec<(u32, AnyTensor)>,
    /// The weights that the hook may see, by name, in the order of the network and the shapes of the
    /// weight file; empty unless [`LossHook::weights`] names some.
    pub weights: Vec<(String, AnyTensor)>,
    /// The teacher's logits for the same pictures, shape `[pictures, classes]`, a constant; seen by a hook
    /// that [asks a teacher](LossHook::asks_teacher) and no other.
    pub teacher: Option<AnyTensor>,
}

/// A configured loss for one phase.
#[derive(Debug)]
pub struct LossHook {
    session: Session<contract::Guest>,
    context: Context,
    needs: Needs,
    weights: Option<WeightNames>,
    asks_teacher: bool,
    reach: Reach,
}

remembering!(LossHook);

impl LossHook {
    /// Starts a plugin with settings for one phase.
    ///
    /// # Errors
    ///
    /// The plugin is of another kind, cannot be started, or refuses the settings.
    pub fn new(
        plugin: &Plugin,
        settings: &Settings,
        context: Context,
    ) -> Result<Self, PluginError> {
        Self::start(plugin, settings, context, None)
    }

    pub(super) fn start(
        plugin: &Plugin,
        settings: &Settings,
        context: Context,
        tape: Option<Tape>,
    ) -> Result<Self, PluginError> {
        let mut session = Self::configured(plugin, settings, context, tape)?;
        let needs = session.call(Hook::Needs, None, |store, exports| {
            exports.call_needs(store)
        });
        let needs = session.recorded(needs, || Some(Call::Needs), |_| String::new())?;
        Ok(Self {
            session,
            context,
            weights: plugin.weights().cloned(),
            asks_teacher: plugin.asks_teacher(),
            reach: None,
            needs: Needs {
                network_features: needs.contains(contract::Features::NETWORK_FEATURES),
                meta_features: needs.contains(contract::Features::META_FEATURES),
            },
        })
    }

    /// Starts a plugin and configures it.
    pub(super) fn configured(
        plugin: &Plugin,
        settings: &Settings,
        context: Context,
        tape: Option<Tape>,
    ) -> Result<Session<contract::Guest>, PluginError> {
        plugin.require(Kind::LossHook)?;
        Session::new(plugin, settings, Some(context), tape)
    }

    /// Records every call from now on, and those that started the plugin. Every recorded call waits
    /// for the device.
    pub fn record_calls(&mut self) {
        self.session.record_calls(true);
        self.session.record_past(Call::Configure, shown_nothing());
        let needs = self.shown_needs();
        self.session.record_past(Call::Needs, needs);
    }

    pub(super) fn shown_needs(&self) -> String {
        format!(
            "network features: {}, meta features: {}",
            self.needs.network_features, self.needs.meta_features
        )
    }

    /// The loss with its bits, which waits for the device.
    pub(super) fn shown_loss(loss: &AnyTensor) -> String {
        match loss.read().as_deref() {
            Ok(&[value]) => format!(
                "{value:?}, shape {:?}, bits {:08x}",
                loss.shape(),
                value.to_bits()
            ),
            Ok(values) => format!("{} values", values.len()),
            Err(error) => error.to_string(),
        }
    }

    /// What the hook wants besides the logits.
    pub const fn needs(&self) -> Needs {
        self.needs
    }

    /// The weights that the hook may see: those that the experiment grants to a plugin that imports
    /// them.
    pub const fn weights(&self) -> Option<&WeightNames> {
        self.weights.as_ref()
    }

    /// Whether the hook asks a teacher, so that [`LossInputs::teacher`] is needed.
    pub const fn asks_teacher(&self) -> bool {
        self.asks_teacher
    }

    /// The last module that the gradient of the last loss enters from behind, of `modules`: the network
    /// behind it need not be differentiated. None when the loss depends on no output of a module.
    pub fn reached(&self, modules: usize) -> Option<usize> {
        self.reach.map(|module| (module as usize).min(modules - 1))
    }

    /// The loss: a tensor of one float, still connected to what it was computed from. Whether it
    /// is finite is left to the caller, since to look would wait for the device.
    ///
    /// # Errors
    ///
    /// The plugin fails, or it answers something else than a number.
    pub fn compute(
        &mut self,
        step: &StepInfo,
        inputs: LossInputs,
    ) -> Result<AnyTensor, PluginError> {
        self.session.keep_state()?;
        // Cloning shares the elements; they are read only when the call is written down.
        let given = inputs.clone();
        let loss = self.ask(step, inputs);
        let call = || {
            Some(Call::Compute {
                step: RecordedStep::from(step),
                inputs: RecordedInputs::of(&given).ok()?,
            })
        };
        self.session.recorded(loss, call, Self::shown_loss)
    }

    fn ask(&mut self, step: &StepInfo, mut inputs: LossInputs) -> Result<AnyTensor, PluginError> {
        self.session.replace_if_worn(
            |store, exports| exports.call_save(store),
            |store, exports, state| exports.call_restore(store, state),
        )?;
        let asked = contract::Step {
            phase: phase_kind(self.context.phase),
            module: module_index(self.context.phase),
            update: step.update,
            updates: step.updates,
            epoch: step.epoch,
            classes: step.classes,
            pictures: step.pictures,
        };
        let granted = self.weights.as_ref();
        let weights = std::mem::take(&mut inputs.weights);
        let teacher = inputs.teacher.take().filter(|_| self.asks_teacher);
        let loss = self
            .session
            .answer(Hook::Compute, Some(step.update), |store, exports| {
                if let Some(granted) = granted {
                    store.data_mut().weights.lend(granted, weights);
                }
                store.data_mut().teacher.lend(teacher);
                let arena = &mut store.data_mut().arena;
                let inputs = match hand_over(arena, inputs) {
                    Ok(inputs) => inputs,
                    Err(refusal) => return Ok(Err(refusal.into())),
                };
                write_down(store.data_mut(), &inputs);
                let answer = exports.call_compute(&mut *store, asked, &inputs)?;
                Ok(answer.map(|handle| store.data_mut().arena.take(&handle)))
            })?;
        let (loss, reach) = loss.unzip();
        self.reach = reach.flatten();
        self.check(loss)
    }

    fn check(&self, loss: Option<AnyTensor>) -> Result<AnyTensor, PluginError> {
        let refuse = |reason: String| {
            self.session.error(
                Hook::Compute,
                PluginErrorKind::Answer {
                    reason,
                    hint: "a tensor of one float is needed, the mean over the pictures; this is a defect of the plugin",
                },
            )
        };
        let loss =
            loss.ok_or_else(|| refuse("the loss is a tensor of an earlier call".to_owned()))?;
        // Converting checks that the tensor is one float; the conversion itself costs nothing.
        match loss.clone().into_scalar_tensor() {
            Ok(_) => Ok(loss),
            Err(TensorError::NotScalar { shape }) => {
                Err(refuse(format!("the loss has the shape {shape:?}")))
            }
            Err(_) => Err(refuse(format!(
                "the elements of the loss are of type {}",
                loss.element_type()
            ))),
        }
    }
}

/// Writes the inputs down, when somebody wants to know, as if the plugin had asked for each.
fn write_down(state: &mut State, inputs: &contract::Inputs) {
    state.given("logits", &inputs.logits);
    state.given("class-ids", &inputs.class_ids);
    if let Some(targets) = &inputs.soft_targets {
        state.given("soft-targets", targets);
    }
    for feature in &inputs.network_features {
        state.given("network-features", &feature.activation);
    }
    for feature in &inputs.meta_features {
        state.given("meta-features", &feature.activation);
    }
}

/// Makes handles of the inputs, which the plugin then owns.
fn hand_over(arena: &mut Arena, inputs: LossInputs) -> Result<contract::Inputs, Refusal> {
    arena.set_device(&inputs.logits);
    let mut features = |features: Vec<(u32, AnyTensor)>, own: bool| {
        features
            .into_iter()
            .map(|(module, activation)| {
                let reach = own.then_some(module);
                Ok(contract::Feature {
                    module,
                    activation: arena.insert_reaching(activation, reach)?,
                })
            })
            .collect::<Result<Vec<_>, Refusal>>()
    };
    let network_features = features(inputs.network_features, true)?;
    let meta_features = features(inputs.meta_features, false)?;
    let soft_targets: Option<Resource<Handle>> = inputs
        .soft_targets
        .map(|targets| arena.insert(targets))
        .transpose()?;
    Ok(contract::Inputs {
        logits: arena.insert_reaching(inputs.logits, LOGITS)?,
        class_ids: arena.insert(inputs.class_ids)?,
        soft_targets,
        network_features,
        meta_features,
    })
}

pub(super) const fn phase_kind(phase: Phase) -> types::Phase {
    match phase {
        Phase::Meta => types::Phase::Meta,
        Phase::Module(_) => types::Phase::Module,
        Phase::FineTune => types::Phase::FineTune,
        Phase::Baseline => types::Phase::Baseline,
    }
}

/// The index of the module that is trained; 0 in every other phase.
pub(super) fn module_index(phase: Phase) -> u32 {
    phase.module().unwrap_or(0) as u32
}
