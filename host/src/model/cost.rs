//! What a network costs: parameters, multiplications, and activations.
//!
//! A multiplication and the addition that belongs to it count once (MAC). Counted are matrix
//! products: linear maps, the patch embedding, and the two products of attention. Normalisation,
//! softmax, activation functions and additions are not.

use serde::{Deserialize, Serialize};

/// What one part of a network costs.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Its name, such as `blocks.3`.
    pub name: String,
    /// Values in its parameters.
    pub parameters: u64,
    /// Multiplications of a forward pass for the whole batch.
    pub forward_macs: u64,
    /// Bytes of float32 values that a trained part keeps for its backward pass, for the whole
    /// batch.
    pub activation_bytes: u64,
}

/// What a network costs, part by part.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Costs {
    /// What stage 0 owns beside its blocks.
    pub entry: Cost,
    /// The blocks in order.
    pub blocks: Vec<Cost>,
    /// What the last stage owns beside its blocks.
    pub exit: Cost,
}

/// Which part of a network is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trained {
    /// All stages.
    All,
    /// The stage with this index, between frozen ones.
    Module(usize),
}

/// Multiplications of a training step, per picture.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrainingMacs {
    /// Of the forward pass through all stages.
    pub forward: u64,
    /// Of the gradients that are needed.
    pub backward: u64,
}

impl TrainingMacs {
    /// Forward and backward.
    pub const fn total(&self) -> u64 {
        self.forward + self.backward
    }
}

/// Multiplications of a forward pass by what their gradients need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Products {
    /// Of an input that needs no gradient with a parameter: the patch embedding.
    pub(super) first: u64,
    /// Of an activation with a parameter.
    pub(super) linear: u64,
    /// Of two activations.
    pub(super) activations: u64,
}

impl Products {
    /// Of the forward pass.
    pub(super) const fn forward(self) -> u64 {
        self.first + self.linear + self.activations
    }

    /// Of the backward pass of a trained part: gradients of weights and of activations.
    pub(super) const fn trained(self) -> u64 {
        self.first + 2 * self.linear + 2 * self.activations
    }

    /// Of the backward pass of a frozen part behind the trained one: gradients of activations.
    pub(super) const fn frozen(self) -> u64 {
        self.linear + 2 * self.activations
    }

    /// As often as `times`.
    pub(super) const fn times(self, times: u64) -> Self {
        Self {
            first: self.first * times,
            linear: self.linear * times,
            activations: self.activations * times,
        }
    }

    /// Together with `other`.
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            first: self.first + other.first,
            linear: self.linear + other.linear,
            activations: self.activations + other.activations,
        }
    }
}

/// Adds up the stages of a network as the reference implementation of the method computes them: in the
/// frozen stages behind the trained one, it computes gradients of weights that nothing uses.
pub(super) fn reference_macs(stages: &[Products], trained: Trained) -> TrainingMacs {
    let first = match trained {
        Trained::All => 0,
        Trained::Module(module) => module,
    };
    TrainingMacs {
        forward: stages.iter().map(|products| products.forward()).sum(),
        backward: stages
            .iter()
            .skip(first)
            .map(|products| products.trained())
            .sum(),
    }
}

/// Adds up the stages of a network.
pub(super) fn training_macs(stages: &[Products], trained: Trained) -> TrainingMacs {
    TrainingMacs {
        forward: stages.iter().map(|products| products.forward()).sum(),
        backward: backward_macs(stages, trained, stages.len().saturating_sub(1)),
    }
}

/// Adds up the forward pass of the stages before `trained`.
pub(super) fn prefix_macs(stages: &[Products], trained: usize) -> u64 {
    stages[..trained]
        .iter()
        .map(|products| products.forward())
        .sum()
}

/// Adds up the backward pass of the stages up to `last`, behind which no gradient is needed.
pub(super) fn backward_macs(stages: &[Products], trained: Trained, last: usize) -> u64 {
    let stages = stages.iter().take(last + 1).enumerate();
    let each = stages.map(|(index, products)| match trained {
        Trained::All => products.trained(),
        Trained::Module(module) if index == module => products.trained(),
        Trained::Module(module) if index > module => products.frozen(),
        Trained::Module(_) => 0,
    });
    each.sum()
}
