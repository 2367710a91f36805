//! The sizes of a block, its weights as slices, and which pictures go together.

use burn_flex::FlexTensor;

use super::{Factors, Form};
use crate::kernels::attention;
use crate::kernels::matrix::{Place, Threads, add_product, new_product};
use crate::kernels::rows::transposed;

/// Rows that one thread takes through the block at a time, more or less: enough for the matrix
/// products to be fast, few enough for what is in between to stay in a core's cache.
const ROWS: usize = 192;

/// Parameters after those of the first norm and of the first map.
const REST: usize = 8;

/// The sizes of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) tokens: usize,
    pub(super) width: usize,
    /// Of the perceptron's hidden layer.
    pub(super) hidden: usize,
    /// Pictures that go together; the last ones can be fewer.
    pub(super) pictures: usize,
    pub(super) attention: attention::Sizes,
    pub(super) epsilon: f32,
}

impl Sizes {
    /// Of a block with these weights for `[batch, tokens, width]`.
    ///
    /// # Panics
    ///
    /// When the weights do not fit.
    pub(super) fn new(
        [batch, tokens, width]: [usize; 3],
        weights: &[FlexTensor],
        form: Form,
    ) -> Self {
        // The perceptron's second map stands before its bias, at the end.
        let hidden = weights[weights.len() - 2].layout().shape()[0];
        let sizes = Self {
            tokens,
            width,
            hidden,
            pictures: (ROWS + tokens / 2).div_euclid(tokens).clamp(1, batch),
            attention: attention::Sizes::new(tokens, width, form.heads),
            epsilon: form.epsilon as f32,
        };
        let shapes: Vec<usize> = weights
            .iter()
            .map(|weight| weight.layout().num_elements())
            .collect();
        let mut expected = vec![width, width, width * 3 * width, 3 * width];
        expected.extend([width * width, width, width, width]);
        expected.extend([width * hidden, hidden, hidden * width, width]);
        if weights.len() + 1 == expected.len() {
            expected.remove(3);
        }
        assert_eq!(shapes, expected, "the weights do not fit the block");
        sizes
    }

    /// The weights as slices.
    pub(super) fn weights<'a>(&self, weights: &'a [FlexTensor]) -> Weights<'a> {
        let slices: Vec<&'a [f32]> = weights.iter().map(FlexTensor::storage::<f32>).collect();
        let norm = |at: usize| Norm {
            weight: slices[at],
            bias: slices[at + 1],
        };
        let linear = |weight: &'a [f32], bias: Option<&'a [f32]>, inputs| Linear {
            weight,
            bias,
            inputs,
            outputs: weight.len() / inputs,
        };
        // Everything after the first map, which may lack its bias.
        let rest = slices.len() - REST;
        let biased = |at: usize, inputs| linear(slices[at], Some(slices[at + 1]), inputs);
        Weights {
            norm1: norm(0),
            qkv: linear(slices[2], (rest == 4).then(|| slices[3]), self.width),
            proj: biased(rest, self.width),
            norm2: norm(rest + 2),
            fc1: biased(rest + 4, self.width),
            fc2: biased(rest + 6, self.hidden),
        }
    }

    /// The factors of the two branches for the pictures of a group.
    pub(super) fn branches(&self, factors: Option<&Factors>, group: usize) -> [Vec<f32>; 2] {
        let first = group * self.pictures;
        [0, 1].map(|branch| match factors {
            Some(factors) => {
                let last = (first + self.pictures).min(factors[branch].len());
                factors[branch][first..last].to_vec()
            }
            None => vec![1.0; self.pictures],
        })
    }

    /// Values of the residual stream in the pictures that go together.
    pub(super) const fn group(&self) -> usize {
        self.pictures * self.tokens * self.width
    }
}

/// The weights of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weights<'a> {
    pub(super) norm1: Norm<'a>,
    pub(super) qkv: Linear<'a>,
    pub(super) proj: Linear<'a>,
    pub(super) norm2: Norm<'a>,
    pub(super) fc1: Linear<'a>,
    pub(super) fc2: Linear<'a>,
}

/// The weights of a norm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Norm<'a> {
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
}

impl<'a> Norm<'a> {
    pub(super) const fn both(&self) -> (&'a [f32], &'a [f32]) {
        (self.weight, self.bias)
    }
}

/// A linear map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linear<'a> {
    /// `[inputs, outputs]`.
    pub(super) weight: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl Linear<'_> {
    fn place(&self) -> Place {
        Place::new(0, self.inputs, self.outputs, self.outputs)
    }

    /// Rows of what is mapped, with the bias.
    pub(super) fn map(&self, input: &[f32]) -> Vec<f32> {
        let rows = input.len() / self.inputs;
        match self.bias {
            Some(bias) => {
                let mut output = bias.repeat(rows);
                self.add(&mut output, input);
                output
            }
            None => new_product(
                (input, Place::new(0, rows, self.inputs, self.inputs)),
                (self.weight, self.place()),
                Threads::This,
            ),
        }
    }

    /// Adds what is mapped, without the bias.
    pub(super) fn add(&self, output: &mut [f32], input: &[f32]) {
        let rows = input.len() / self.inputs;
        add_product(
            (output, Place::new(0, rows, self.outputs, self.outputs)),
            (input, Place::new(0, rows, self.inputs, self.inputs)),
            (self.weight, self.place()),
            Threads::This,
        );
    }

    /// The map that gradients go back through: from outputs to inputs, without a bias. Its weights are
    /// those of this one with rows and columns exchanged, once for all rows that go through.
    pub(super) fn reversed(&self) -> Reversed {
        Reversed {
            weight: transposed(self.weight, self.outputs),
            inputs: self.inputs,
            outputs: self.outputs,
        }
    }
}

/// The way back through a linear map.
#[derive(Debug)]
pub(super) struct Reversed {
    /// `[outputs, inputs]`.
    weight: Vec<f32>,
    inputs: usize,
    outputs: usize,
}

impl Reversed {
    /// The gradient of the input, from that of the output.
    pub(super) fn back(&self, gradient: &[f32]) -> Vec<f32> {
        let rows = gradient.len() / self.outputs;
        new_product(
            (gradient, Place::new(0, rows, self.outputs, self.outputs)),
            (
                &self.weight,
                Place::new(0, self.outputs, self.inputs, self.inputs),
            ),
            Threads::This,
        )
    }
}
