//! Weights that the phase trains, for penalties on them. A plugin that uses this module needs the
//! grant `weights` in the experiment, which lists the names that it may see.

use crate::Tensor;

/// The granted weights, in the order of the network: the names of the weight file, such as
/// `stages.1.blocks.0.mlp.fc1.weight`.
pub fn names() -> Vec<String> {
    crate::host::weights::names()
}

/// A weight in its own shape, connected to what is trained: a loss that uses it gives it a gradient
/// besides the one through the logits. In `compute` alone.
///
/// The tensor carries a fault when the weight is not granted, or not trained in this phase.
pub fn get(name: &str) -> Tensor {
    Tensor::from_answer(crate::host::weights::get(name))
}
