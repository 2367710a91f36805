//! Multi-head self-attention between its two linear maps, softmax(Q·Kᵀ/√w)·V for every head, fused
//! and threaded on the CPU.
//!
//! Queries, keys and values are read where the linear map wrote them, and the heads' results are
//! written side by side, so that nothing is permuted or copied. Only the input is kept for the
//! backward pass, which computes the probabilities again: no `[batch, heads, tokens, tokens]` is ever
//! stored. Values and gradients agree with the composition of burn's operations to 1e-5, and are the
//! same bits whatever the number of threads.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Shape, Slice, Tensor};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::exponential::exponential;
use super::lanes;
use super::matrix::Place;
use super::products::{Multiplier, Products};
use super::storage::{in_order, tensor};

/// `[batch, tokens, 3·width]`, queries, keys and values of all heads one after the other, to
/// `[batch, tokens, width]`. The width is a multiple of `heads`. Kernels multiply as `products` says;
/// without a kernel, in the type of the tensor.
pub fn attention(joint: Tensor<3>, heads: usize, products: Products) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as AttentionOps>::fused_attention(
        joint.into_dispatch(),
        heads,
        products,
    ))
}

/// Attention and its gradient as operations of a backend; without a kernel, compositions.
#[backend_extension(Flex, Cube: cfg(feature = "wgpu"), Fusion: cfg(feature = "wgpu"), Autodiff)]
pub trait AttentionOps: Backend {
    /// What every token gathers from the others.
    #[fusion(default)]
    fn fused_attention(
        joint: FloatTensor<Self>,
        heads: usize,
        _products: Products,
    ) -> FloatTensor<Self> {
        composed::<Self>(joint, heads)
    }

    /// The gradient of the queries, keys and values.
    #[fusion(default)]
    fn fused_attention_gradient(
        joint: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        heads: usize,
        _products: Products,
    ) -> FloatTensor<Self> {
        composed_gradient::<Self>(joint, gradient, heads)
    }
}

/// Queries (scaled), keys, and values, `[batch, heads, tokens, head width]`, and the scale.
fn parts<B: Backend>(joint: FloatTensor<B>, heads: usize) -> ([FloatTensor<B>; 3], f64) {
    let shape = joint.shape();
    let [batch, tokens, width] = [shape[0], shape[1], shape[2] / 3];
    let head = width / heads;
    let split = B::float_reshape(joint, Shape::from([batch, tokens, 3, heads, head]));
    let split = B::float_permute(split, &[2, 0, 3, 1, 4]);
    let part = |index: usize| {
        let one = B::float_slice(split.clone(), &[Slice::from(index..index + 1)]);
        B::float_reshape(one, Shape::from([batch, heads, tokens, head]))
    };
    let scale = (head as f64).powf(-0.5);
    let query = B::float_mul_scalar(part(0), scale.into());
    ([query, part(1), part(2)], scale)
}

fn probabilities<B: Backend>(query: FloatTensor<B>, key: FloatTensor<B>) -> FloatTensor<B> {
    B::softmax(B::float_matmul(query, B::float_swap_dims(key, 2, 3)), 3)
}

fn composed<B: Backend>(joint: FloatTensor<B>, heads: usize) -> FloatTensor<B> {
    let shape = joint.shape();
    let ([query, key, value], _) = parts::<B>(joint, heads);
    let mixed = B::float_matmul(probabilities::<B>(query, key), value);
    let joined = B::float_swap_dims(mixed, 1, 2);
    B::float_reshape(joined, Shape::from([shape[0], shape[1], shape[2] / 3]))
}

fn composed_gradient<B: Backend>(
    joint: FloatTensor<B>,
    gradient: FloatTensor<B>,
    heads: usize,
) -> FloatTensor<B> {
    let shape = joint.shape();
    let [batch, tokens, width] = [shape[0], shape[1], shape[2] / 3];
    let ([query, key, value], scale) = parts::<B>(joint, heads);
    let gradient = B::float_reshape(gradient, Shape::from([batch, tokens, heads, width / heads]));
    let gradient = B::float_swap_dims(gradient, 1, 2);
    let shares = probabilities::<B>(query.clone(), key.clone());
    let of_value = B::float_matmul(B::float_swap_dims(shares.clone(), 2, 3), gradient.clone());
    let of_shares = B::float_matmul(gradient, B::float_swap_dims(value, 2, 3));
    let level = B::float_sum_dim(B::float_mul(shares.clone(), of_shares.clone()), 3);
    let of_scores = B::float_mul(shares, B::float_sub(of_shares, level));
    let of_key = B::float_matmul(B::float_swap_dims(of_scores.clone(), 2, 3), query);
    let of_query = B::float_mul_scalar(B::float_matmul(of_scores, key), scale.into());
    let parts = [of_query, of_key, of_value]
        .map(|part| {
            let part = B::float_swap_dims(part, 1, 2);
            B::float_reshape(part, Shape::from([batch, tokens, width]))
        })
        .to_vec();
    B::float_cat(parts, 2)
}

#[cfg(feature = "wgpu")]
impl AttentionOps for burn::backend::Cube {}

impl AttentionOps for Flex {
    fn fused_attention(
        joint: FloatTensor<Self>,
        heads: usize,
        products: Products,
    ) -> FloatTensor<Self> {
        if joint.dtype() != DType::F32 {
            return composed::<Self>(joint, heads);
        }
        let joint = in_order(joint);
        let shape = joint.shape();
        let sizes = Sizes::new(shape[1], shape[2] / 3, heads, products);
        let mut output = vec![0.0; shape[0] * sizes.tokens * sizes.width];
        output
            .par_chunks_exact_mut(sizes.tokens * sizes.width)
            .zip(
                joint
                    .storage::<f32>()
                    .par_chunks_exact(3 * sizes.tokens * sizes.width),
            )
            .for_each_init(
                || sizes.room(),
                |room, (output, joint)| sizes.gather(room, output, joint),
            );
        tensor(output, [shape[0], sizes.tokens, sizes.width])
    }

    fn fused_attention_gradient(
        joint: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        heads: usize,
        products: Products,
    ) -> FloatTensor<Self> {
        if joint.dtype() != DType::F32 {
            return composed_gradient::<Self>(joint, gradient, heads);
        }
        let (joint, gradient) = (in_order(joint), in_order(gradient));
        let shape = joint.shape();
        let sizes = Sizes::new(shape[1], shape[2] / 3, heads, products);
        let picture = sizes.tokens * sizes.width;
        let mut output = joint.storage::<f32>().to_vec();
        output
            .par_chunks_exact_mut(3 * picture)
            .zip(gradient.storage::<f32>().par_chunks_exact(picture))
            .for_each_init(
                || sizes.room(),
                |room, (output, gradient)| sizes.gradients(output, gradient, room),
            );
        tensor(output, shape)
    }
}

impl<B: AttentionOps, C: CheckpointStrategy> AttentionOps for Autodiff<B, C> {
    fn fused_attention(
        joint: FloatTensor<Self>,
        heads: usize,
        products: Products,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Attention;

        impl<B: AttentionOps> Backward<B, 1> for Attention {
            type State = (FloatTensor<B>, usize, Products);

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                gradients: &mut Gradients,
                _checkpointer: &mut Checkpointer,
            ) {
                let (joint, heads, products) = ops.state;
                unary::<B, _>(ops.parents, ops.node, gradients, |gradient| {
                    B::fused_attention_gradient(joint, gradient, heads, products)
                });
            }
        }

        let (joint, node) = joint.into_parts();
        match Attention.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let output = B::fused_attention(joint.clone(), heads, products);
                prepared.finish((joint, heads, products), output)
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::fused_attention(joint, heads, products))
            }
        }
    }
}

/// Sizes of one picture's attention.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    tokens: usize,
    width: usize,
    head: usize,
    scale: f32,
    products: Products,
}

impl Sizes {
    pub(super) fn new(tokens: usize, width: usize, heads: usize, products: Products) -> Self {
        let head = width / heads;
        Self {
            tokens,
            width,
            head,
            scale: (head as f64).powf(-0.5) as f32,
            products,
        }
    }

    /// Room for one number for every pair of tokens.
    fn scores(&self) -> Vec<f32> {
        vec![0.0; self.tokens * self.tokens]
    }

    const fn square(&self) -> Place {
        Place::new(0, self.tokens, self.tokens, self.tokens)
    }

    /// Queries (0), keys (1), or values (2) of a head, `[tokens, head]`.
    const fn part(&self, part: usize, head: usize) -> Place {
        let first = part * self.width + head * self.head;
        Place::new(first, self.tokens, self.head, 3 * self.width)
    }

    /// The result of a head, `[tokens, head]`.
    const fn output(&self, head: usize) -> Place {
        Place::new(head * self.head, self.tokens, self.head, self.width)
    }

    /// How much every token takes of every other, `[tokens, tokens]`: rows that sum to 1.
    fn shares(&self, multiplier: &mut Multiplier, scores: &mut [f32], joint: &[f32], head: usize) {
        multiplier.product(
            (scores, self.square()),
            self.scale,
            (joint, self.part(0, head)),
            (joint, self.part(1, head).transposed()),
        );
        Arch::new().dispatch(Softmax {
            scores,
            tokens: self.tokens,
        });
    }

    /// What the tokens of a picture gather in all heads, `[tokens, width]`, from its queries, keys and
    /// values, `[tokens, 3·width]`.
    pub(super) fn gather(&self, room: &mut Room, output: &mut [f32], joint: &[f32]) {
        let Room {
            scores, multiplier, ..
        } = room;
        for head in 0..self.width / self.head {
            self.shares(multiplier, scores, joint, head);
            multiplier.product(
                (output, self.output(head)),
                1.0,
                (scores, self.square()),
                (joint, self.part(2, head)),
            );
        }
    }

    /// Room for a picture, and again for the next one.
    pub(super) fn room(&self) -> Room {
        Room {
            shares: self.scores(),
            scores: self.scores(),
            query: vec![0.0; self.tokens * self.head],
            key: vec![0.0; self.tokens * self.head],
            multiplier: Multiplier::new(self.products),
        }
    }

    /// Turns a picture's queries, keys and values, `[tokens, 3·width]`, into their gradients, given that of
    /// what was gathered, `[tokens, width]`.
    pub(super) fn gradients(&self, joint: &mut [f32], gradient: &[f32], room: &mut Room) {
        for head in 0..self.width / self.head {
            self.gradients_of_head(head, joint, gradient, room);
        }
    }

    fn gradients_of_head(
        &self,
        head: usize,
        joint: &mut [f32],
        gradient: &[f32],
        Room {
            shares,
            scores,
            query,
            key,
            multiplier,
        }: &mut Room,
    ) {
        self.shares(multiplier, shares, joint, head);
        for (part, values) in [(0, &mut *query), (1, &mut *key)] {
            let first = part * self.width + head * self.head;
            let rows = joint.chunks_exact(3 * self.width);
            for (copy, row) in values.chunks_exact_mut(self.head).zip(rows) {
                copy.copy_from_slice(&row[first..first + self.head]);
            }
        }
        let square = self.square();
        let copied = Place::new(0, self.tokens, self.head, self.head);
        let gathered = self.output(head);
        multiplier.product(
            (scores, square),
            1.0,
            (gradient, gathered),
            (joint, self.part(2, head).transposed()),
        );
        multiplier.product(
            (joint, self.part(2, head)),
            1.0,
            (shares, square.transposed()),
            (gradient, gathered),
        );
        Arch::new().dispatch(SoftmaxGradient {
            gradient: scores,
            shares,
            tokens: self.tokens,
        });
        multiplier.product(
            (joint, self.part(0, head)),
            self.scale,
            (scores, square),
            (key, copied),
        );
        multiplier.product(
            (joint, self.part(1, head)),
            self.scale,
            (scores, square.transposed()),
            (query, copied),
        );
    }
}

/// What is needed for a head, and again for the next one.
#[derive(Debug)]
pub(super) struct Room {
    shares: Vec<f32>,
    scores: Vec<f32>,
    query: Vec<f32>,
    key: Vec<f32>,
    multiplier: Multiplier,
}

/// Softmax of every row.
struct Softmax<'a> {
    scores: &'a mut [f32],
    tokens: usize,
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for row in self.scores.chunks_exact_mut(self.tokens) {
            let largest = lanes::maximum(row);
            for score in row {
                *score -= largest;
            }
        }
        // All rows at once: a row of a few tokens leaves most of a vector unused.
        for score in self.scores.iter_mut() {
            *score = exponential(*score);
        }
        for row in self.scores.chunks_exact_mut(self.tokens) {
            let factor = 1.0 / lanes::sum(row, row, |value, _| value);
            for score in row {
                *score *= factor;
            }
        }
    }
}

/// Turns gradients of shares into those of scores: p·(g − Σ p·g) for every row.
struct SoftmaxGradient<'a> {
    gradient: &'a mut [f32],
    shares: &'a [f32],
    tokens: usize,
}

impl WithSimd for SoftmaxGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for (row, gradient) in self.gradient.chunks_exact_mut(self.tokens).enumerate() {
            let shares = &self.shares[row * self.tokens..][..self.tokens];
            let level = lanes::sum(gradient, shares, |gradient, share| gradient * share);
            for at in 0..self.tokens {
                gradient[at] = (gradient[at] - level) * shares[at];
            }
        }
    }
}

#[cfg(test)]
mod tests;
