//! A whole pre-norm transformer block as one operation on the CPU: x += attention(norm(x)), then
//! x += perceptron(norm(x)).
//!
//! A thread takes a few pictures through all of the block, so that what is computed in between stays
//! in its cache, and no element-wise operation walks through memory on its own. For the backward pass
//! the input, the queries, keys and values, what attention gathered, the sum in the middle, and the
//! hidden layer before its activation are kept; norms, probabilities, and activations are computed
//! again. Gradients of weights are computed only where weights are trained.
//!
//! Values and gradients agree with the composition of the block's operations to 1e-5, and are the same
//! bits whatever the number of threads: which pictures go together depends on their number and on the
//! tokens alone.

mod backward;
mod forward;
mod sizes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use burn::backend::DispatchTensor;
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use self::backward::{Wanted, backward};
use self::forward::{Keeping, Kept, forward};
use self::sizes::Sizes;
use super::products::Products;
use super::recomputation::{Recompute, keep_inputs};
use super::storage::{self, Operand};

/// What a block is, apart from its weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// Attention heads.
    pub(crate) heads: usize,
    /// What layer normalisation adds to the variance.
    pub(crate) epsilon: f64,
    /// How its matrices are multiplied, there and back.
    pub(crate) products: Products,
}

/// Factors of the two residual branches, one for every picture.
pub(crate) type Factors = [Vec<f32>; 2];

/// Takes `input`, `[batch, tokens, width]`, through a block; nothing where the tensors are not
/// float32 on the CPU, so that the caller composes it.
///
/// `parameters` are in this order: weight and bias of the first norm, of the map to queries, keys and
/// values (which may lack its bias), of attention's last map, of the second norm, and of the
/// perceptron's two maps. Weights of maps are `[inputs, outputs]`.
///
/// # Panics
///
/// When the shapes do not fit each other.
pub(crate) fn block(
    input: &Tensor<3>,
    parameters: &[DispatchTensor],
    form: Form,
    factors: Option<Factors>,
) -> Option<Tensor<3>> {
    let [batch, tokens, width] = input.dims();
    let source = input.clone().into_dispatch();
    let operand = storage::operand(&source)?;
    let weights: Vec<Operand> = parameters
        .iter()
        .map(storage::operand)
        .collect::<Option<_>>()?;
    let wanted = Wanted {
        input: operand.tracked,
        weights: weights.iter().any(|weight| weight.tracked),
    };
    let tracked: Vec<bool> = weights.iter().map(|weight| weight.tracked).collect();
    let weights: Vec<FlexTensor> = weights.into_iter().map(|weight| weight.values).collect();
    let sizes = Sizes::new([batch, tokens, width], &weights, form);
    let keeping = if wanted.input || wanted.weights {
        Keeping::ForGradients
    } else {
        Keeping::Nothing
    };
    let (output, kept) = forward(
        &sizes,
        &sizes.weights(&weights),
        operand.values.storage(),
        factors.as_ref(),
        keeping,
    );
    let output = Tensor::from_dispatch(storage::dispatch(storage::tensor(
        output,
        [batch, tokens, width],
    )));
    if !input.is_autodiff() {
        return Some(output);
    }
    let again = Again {
        sizes,
        input: operand.values,
        weights,
        tracked,
        wanted,
        factors,
        kept: Arc::new(kept),
    };
    let inputs = std::iter::once(source)
        .chain(parameters.iter().cloned())
        .collect();
    Some(keep_inputs(inputs, output, again))
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct Again {
    sizes: Sizes,
    input: FlexTensor,
    weights: Vec<FlexTensor>,
    /// Which weights are trained.
    tracked: Vec<bool>,
    wanted: Wanted,
    factors: Option<Factors>,
    kept: Arc<Vec<Kept>>,
}

impl Recompute<3> for Again {
    fn gradients(self, gradient: Tensor<3>) -> Vec<Option<DispatchTensor>> {
        let shape = gradient.dims();
        let Some(gradient) = storage::operand(&gradient.into_dispatch()) else {
            unreachable!("the gradient of a float32 tensor of the CPU is one");
        };
        // Nobody else has it, unless somebody goes back twice.
        let kept = Arc::try_unwrap(self.kept).unwrap_or_else(|kept| (*kept).clone());
        let (of_input, of_weights) = backward(
            &self.sizes,
            &self.sizes.weights(&self.weights),
            self.input.storage(),
            self.factors.as_ref(),
            kept,
            gradient.values.storage(),
            self.wanted,
        );
        let tensor = |values: Vec<f32>, shape: &[usize]| {
            storage::dispatch(storage::tensor(
                values,
                burn::tensor::Shape::from(shape.to_vec()),
            ))
        };
        let mut found = vec![of_input.map(|values| tensor(values, &shape))];
        let mut of_weights = of_weights.into_iter();
        for (weight, tracked) in self.weights.iter().zip(&self.tracked) {
            let values = of_weights.next();
            let dims: Vec<usize> = weight.layout().shape().iter().copied().collect();
            found.push(
                values
                    .filter(|_| *tracked)
                    .map(|values| tensor(values, &dims)),
            );
        }
        found
    }
}
