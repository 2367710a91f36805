//! The sizes of a block, its weights as slices, and which pictures go together.

use burn_flex::FlexTensor;

use super::{Factors, Form};
use crate::kernels::attention;
use crate::kernels::matrix::{Place, Threads};
use crate::kernels::products::{self, Matrix, Products};
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
    pub(super) products: Products,
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
            attention: attention::Sizes::new(tokens, width, form.heads, form.products),
            epsilon: form.epsilon as f32,
            products: form.products,
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
            products: self.products,
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

impl<'a> Weights<'a> {
    /// The four maps in their order.
    pub(super) const fn maps(&self) -> [Linear<'a>; 4] {
        [self.qkv, self.proj, self.fc1, self.fc2]
    }
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
    products: Products,
}

impl<'a> Linear<'a> {
    fn place(&self) -> Place {
        Place::new(0, self.inputs, self.outputs, self.outputs)
    }

    /// The map, its weights made ready once for all rows that go through.
    pub(super) fn ahead(&self) -> Map<'a> {
        Map {
            weight: self
                .products
                .right(self.weight, self.place(), Threads::This),
            bias: self.bias,
            inputs: self.inputs,
            outputs: self.outputs,
            products: self.products,
        }
    }

    /// The map that gradients go back through: from outputs to inputs, without a bias. In float32 its
    /// weights are those of this one with rows and columns exchanged.
    pub(super) fn reversed(&self) -> Map<'a> {
        let weight = match self.products {
            Products::Float32 => {
                let weight = transposed(self.weight, self.outputs);
                let place = Place::new(0, self.outputs, self.inputs, self.inputs);
                self.products.right(weight, place, Threads::This)
            }
            Products::BFloat16 => {
                let place = self.place().transposed();
                self.products.right(self.weight, place, Threads::This)
            }
        };
        Map {
            weight,
            bias: None,
            inputs: self.outputs,
            outputs: self.inputs,
            products: self.products,
        }
    }
}

/// A way through a linear map.
#[derive(Debug)]
pub(super) struct Map<'a> {
    /// `[inputs, outputs]`.
    weight: Matrix<'a>,
    bias: Option<&'a [f32]>,
    inputs: usize,
    outputs: usize,
    products: Products,
}

impl Map<'_> {
    fn input<'b>(&self, input: &'b [f32]) -> Matrix<'b> {
        let rows = input.len() / self.inputs;
        let place = Place::new(0, rows, self.inputs, self.inputs);
        self.products.left(input, place, Threads::This)
    }

    /// Rows of what is mapped, with the bias.
    pub(super) fn through(&self, input: &[f32]) -> Vec<f32> {
        let input = self.input(input);
        products::new(self.bias, &input, &self.weight, Threads::This)
    }

    /// Adds what is mapped, without the bias.
    pub(super) fn add(&self, output: &mut [f32], input: &[f32]) {
        let rows = output.len() / self.outputs;
        let to = Place::new(0, rows, self.outputs, self.outputs);
        products::add((output, to), (&self.input(input), 0), &self.weight);
    }
}
