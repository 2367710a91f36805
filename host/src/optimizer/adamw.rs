//! AdamW (Loshchilov and Hutter, 2019) in PyTorch's order of operations.
//!
//! Only trained parameters have state or change. Nothing here waits for the device.

use std::collections::{BTreeMap, HashMap};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Gradients, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::groups::{Decay, Group};
use super::layers;
use crate::device::upload;
use crate::kernels::update::{self, Step};
use crate::model::Network;
use crate::model::parameters::parameters;
use crate::phase::Phase;

/// What PyTorch adds to the norm of the gradients before it divides by it.
const CLIP_EPSILON: f64 = 1e-6;

/// The constants of the method.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay of the mean of the gradients.
    pub beta_1: f64,
    /// Decay of the mean of their squares.
    pub beta_2: f64,
    /// Added to the root of the mean square.
    pub epsilon: f64,
    /// Times the learning rate, the share of a decaying parameter that is lost in a step.
    pub weight_decay: f64,
    /// The largest global norm of the gradients; larger ones are scaled down to it.
    pub clip: Option<f64>,
    /// Which parameters decay.
    pub decay: Decay,
    /// The factor of the learning rate from each layer to the one before it, from the head down to
    /// the embedding; 1 trains all layers at the same rate.
    pub layer_decay: f64,
}

impl Default for AdamWConfig {
    /// PyTorch's constants, the weight decay of DeiT, no clipping.
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.05,
            clip: None,
            decay: Decay::Standard,
            layer_decay: 1.0,
        }
    }
}

/// Why a step cannot be made.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum OptimizerError {
    /// The loss is a constant, or depends on nothing that is trained.
    #[error(
        "the loss is not connected to the parameters that are trained (compute it from the logits or the features, without detaching them)"
    )]
    NotConnected,
    /// There are no gradients.
    #[error("there are no gradients to step with (accumulate a loss before every step)")]
    NoGradients,
}

/// A step that was made.
#[derive(Debug)]
pub struct Stepped {
    /// The network after it.
    pub network: Network,
    /// The global L2 norm of the gradients before clipping, `[1]`, on the device; only if the
    /// gradients are clipped.
    pub gradient_norm: Option<Tensor<1>>,
}

/// AdamW for the trained parameters of one network.
#[derive(Debug)]
pub struct Optimizer {
    config: AdamWConfig,
    /// The trained parameters.
    members: BTreeMap<ParamId, Member>,
    no_decay: Vec<String>,
    pub(super) moments: HashMap<ParamId, Moments>,
    /// In the order of the parameters, so that sums over them do not depend on anything else.
    gradients: Vec<(ParamId, Tensor<1>)>,
}

/// How a trained parameter is trained.
#[derive(Clone, Copy, Debug)]
struct Member {
    group: Group,
    /// What its layer makes of the rate of its group.
    scale: f64,
}

/// The state of one parameter, flat.
#[derive(Debug)]
pub(super) struct Moments {
    pub(super) steps: i32,
    pub(super) mean: Tensor<1>,
    pub(super) square: Tensor<1>,
}

impl Optimizer {
    /// For the parameters of the network that are trained now.
    pub fn new(config: AdamWConfig, network: &Network, phase: Phase) -> Self {
        let alone = phase.module().is_some();
        let depths = network.depths();
        let mut members = BTreeMap::new();
        let mut no_decay = Vec::new();
        for parameter in parameters(network) {
            if !parameter.trained {
                continue;
            }
            let group = config.decay.group(&parameter, alone);
            let scale = layers::scale(config.layer_decay, &parameter.name, &depths);
            members.insert(parameter.id, Member { group, scale });
            if group == Group::NoDecay {
                no_decay.push(parameter.name);
            }
        }
        Self {
            config,
            members,
            no_decay,
            moments: HashMap::new(),
            gradients: Vec::new(),
        }
    }

    /// The names of the trained parameters that do not decay, as they are in the network.
    pub fn no_decay_names(&self) -> &[String] {
        &self.no_decay
    }

    /// The names of the trained parameters, as they are in the network, with the factors that their
    /// layers make of the learning rate.
    pub fn layer_scales(&self, network: &Network) -> Vec<(String, f64)> {
        parameters(network)
            .into_iter()
            .filter_map(|parameter| {
                let member = self.members.get(&parameter.id)?;
                Some((parameter.name, member.scale))
            })
            .collect()
    }

    /// How many parameters have state.
    pub fn state_len(&self) -> usize {
        self.moments.len()
    }

    /// Adds the gradients of a loss to those of the next step.
    ///
    /// The loss has to be scaled for its share in the step already.
    ///
    /// # Errors
    ///
    /// When no trained parameter gets a gradient.
    pub fn accumulate(&mut self, network: &Network, loss: Tensor<1>) -> Result<(), OptimizerError> {
        if !loss.is_tracked() {
            return Err(OptimizerError::NotConnected);
        }
        let mut collector = Collector {
            members: &self.members,
            source: loss.backward(),
            found: Vec::new(),
        };
        network.visit(&mut collector);
        let found = collector.found;
        if found.is_empty() {
            return Err(OptimizerError::NotConnected);
        }
        if self.gradients.is_empty() {
            self.gradients = found;
            return Ok(());
        }
        let mut found: HashMap<ParamId, Tensor<1>> = found.into_iter().collect();
        for (id, gradient) in &mut self.gradients {
            if let Some(more) = found.remove(id) {
                *gradient = gradient.clone() + more;
            }
        }
        // Parameters that this loss reaches and those before did not.
        for id in parameters(network).iter().map(|parameter| parameter.id) {
            if let Some(gradient) = found.remove(&id) {
                self.gradients.push((id, gradient));
            }
        }
        Ok(())
    }

    /// Changes the trained parameters by the accumulated gradients, which are used up.
    ///
    /// `rates` are the learning rates of [`Group::ALL`], of the last layer.
    ///
    /// # Errors
    ///
    /// When nothing was accumulated.
    pub fn step(
        &mut self,
        network: Network,
        rates: &[f64; Group::ALL.len()],
    ) -> Result<Stepped, OptimizerError> {
        if self.gradients.is_empty() {
            return Err(OptimizerError::NoGradients);
        }
        let mut gradients = std::mem::take(&mut self.gradients);
        let clipped = self.config.clip.map(|limit| clip(&mut gradients, limit));
        let (gradient_norm, factor) = match clipped {
            Some((norm, factor)) => (Some(norm), factor),
            None => (None, 1.0),
        };
        let mut updater = Updater {
            config: self.config,
            factor,
            rates,
            members: &self.members,
            moments: &mut self.moments,
            gradients: gradients.into_iter().collect(),
        };
        let network = network.map(&mut updater);
        Ok(Stepped {
            network,
            gradient_norm,
        })
    }
}

/// Scales the gradients by min(1, limit/(norm + 1e-6)); gives the norm before that, and the factor that
/// is left to the step: where the numbers are at hand, the step multiplies by it as it goes.
fn clip(gradients: &mut [(ParamId, Tensor<1>)], limit: f64) -> (Tensor<1>, f64) {
    if gradients.iter().all(|(_, gradient)| update::fits(gradient)) {
        let squares = gradients.iter().map(|(_, one)| update::sum_of_squares(one));
        let norm = squares.sum::<f64>().sqrt();
        let device = gradients[0].1.device();
        let factor = (limit / (norm + CLIP_EPSILON)).min(1.0);
        let norm = upload(TensorData::new(vec![norm as f32], [1]), &device);
        return (norm, factor);
    }
    let squares = gradients
        .iter()
        .map(|(_, gradient)| gradient.clone().square().sum())
        .collect();
    let norm = Tensor::cat(squares, 0).sum().sqrt();
    let factor = norm
        .clone()
        .add_scalar(CLIP_EPSILON)
        .recip()
        .mul_scalar(limit)
        .clamp_max(1.0);
    for (_, gradient) in gradients {
        *gradient = gradient.clone() * factor.clone();
    }
    (norm, 1.0)
}

/// Takes the gradients of the trained parameters, flat.
struct Collector<'a> {
    members: &'a BTreeMap<ParamId, Member>,
    source: Gradients,
    found: Vec<(ParamId, Tensor<1>)>,
}

impl ModuleVisitor for Collector<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.members.contains_key(&param.id) {
            return;
        }
        if let Some(gradient) = param.val().grad_remove(&mut self.source) {
            self.found.push((param.id, flat(gradient)));
        }
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let length = tensor.shape().num_elements();
    tensor.reshape([length])
}

/// Changes the parameters that have gradients.
struct Updater<'a> {
    config: AdamWConfig,
    /// What the gradients are still to be multiplied by.
    factor: f64,
    rates: &'a [f64; Group::ALL.len()],
    members: &'a BTreeMap<ParamId, Member>,
    moments: &'a mut HashMap<ParamId, Moments>,
    gradients: HashMap<ParamId, Tensor<1>>,
}

impl Updater<'_> {
    fn update(
        &mut self,
        id: ParamId,
        member: Member,
        parameter: Tensor<1>,
        gradient: Tensor<1>,
    ) -> Tensor<1> {
        let AdamWConfig {
            beta_1,
            beta_2,
            epsilon,
            weight_decay,
            ..
        } = self.config;
        let rate = self.rates[member.group as usize] * member.scale;
        let kept = match member.group {
            Group::Decay => 1.0 - rate * weight_decay,
            Group::NoDecay => 1.0,
        };
        let old = self.moments.remove(&id).unwrap_or_else(|| Moments {
            steps: 0,
            mean: gradient.zeros_like(),
            square: gradient.zeros_like(),
        });
        let steps = old.steps + 1;
        let mean_correction = 1.0 - beta_1.powi(steps);
        let square_correction = (1.0 - beta_2.powi(steps)).sqrt();
        if [&parameter, &gradient, &old.mean, &old.square]
            .into_iter()
            .all(update::fits)
        {
            let step = Step {
                gradient: self.factor as f32,
                beta_1: beta_1 as f32,
                beta_2: beta_2 as f32,
                correction: square_correction as f32,
                epsilon: epsilon as f32,
                rate: (rate / mean_correction) as f32,
                kept: kept as f32,
            };
            let [parameter, mean, square] =
                update::adamw(parameter, gradient, old.mean, old.square, step);
            let moments = Moments {
                steps,
                mean,
                square,
            };
            self.moments.insert(id, moments);
            return parameter;
        }
        let square = gradient.clone().square().mul_scalar(1.0 - beta_2);
        let mean = gradient.mul_scalar(1.0 - beta_1);
        let moments = Moments {
            steps,
            mean: old.mean.mul_scalar(beta_1) + mean,
            square: old.square.mul_scalar(beta_2) + square,
        };
        let deviation = moments
            .square
            .clone()
            .sqrt()
            .div_scalar(square_correction)
            .add_scalar(epsilon);
        let change = (moments.mean.clone() / deviation).mul_scalar(rate / mean_correction);
        self.moments.insert(id, moments);
        parameter.mul_scalar(kept) - change
    }
}

impl ModuleMapper for Updater<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.remove(&param.id) else {
            return param;
        };
        let member = self.members[&param.id];
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.dims();
        let updated = self.update(id, member, flat(tensor.inner()), gradient);
        // A new leaf of the next graph.
        let tensor = updated.reshape(shape).autodiff().require_grad();
        Param::from_mapped_value(id, tensor, mapper)
    }
}
