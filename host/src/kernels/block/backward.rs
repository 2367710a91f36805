//! The gradients of a block: those of the residual stream a few pictures at a time, then those of the
//! matrices, a part of a matrix at a time.

use rayon::prelude::*;

use super::Factors;
use super::forward::Kept;
use super::sizes::{Sizes, Weights};
use crate::kernels::gelu::activate_again;
use crate::kernels::layer_norm::{add_gradients, normalise};
use crate::kernels::matrix::{Place, Threads, add_product};
use crate::kernels::rows::{add_columns, scale};

/// Rows of a matrix's gradient that one thread takes at a time.
const TILE: usize = 96;

/// Which gradients are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) input: bool,
    pub(super) weights: bool,
}

/// What pictures that go together contribute to the gradients of the weights.
#[derive(Debug)]
struct Shares {
    /// Of the vectors, in the order of the parameters.
    vectors: [Vec<f32>; 8],
    /// The inputs of the maps from the norms, `[rows, width]`.
    normal: [Vec<f32>; 2],
    /// The input of the perceptron's second map, times the factor of the branch, `[rows, hidden]`.
    active: Vec<f32>,
    /// Gradients of queries, keys and values, of the sum after attention, and of the hidden layer.
    of_joint: Vec<f32>,
    of_middle: Vec<f32>,
    of_hidden: Vec<f32>,
}

/// The gradient of the input, if it is wanted, and those of the weights in the order of the
/// parameters, if they are.
pub(super) fn backward(
    sizes: &Sizes,
    weights: &Weights<'_>,
    input: &[f32],
    factors: Option<&Factors>,
    kept: &[Kept],
    gradient: &[f32],
    wanted: Wanted,
) -> (Option<Vec<f32>>, Vec<Vec<f32>>) {
    let mut of_input = vec![0.0; input.len()];
    let group = sizes.group();
    let shares: Vec<Option<Shares>> = of_input
        .par_chunks_mut(group)
        .zip(input.par_chunks(group))
        .zip(gradient.par_chunks(group))
        .zip(kept)
        .enumerate()
        .map(|(group, (((of_input, input), gradient), kept))| {
            let pictures = Pictures {
                sizes,
                weights,
                input,
                factors: sizes.branches(factors, group),
                kept,
            };
            pictures.backward(of_input, gradient, wanted.weights)
        })
        .collect();
    let shares: Vec<Shares> = shares.into_iter().flatten().collect();
    let of_weights = if wanted.weights {
        of_weights(sizes, weights, kept, gradient, shares)
    } else {
        Vec::new()
    };
    (wanted.input.then_some(of_input), of_weights)
}

/// Pictures that go together.
struct Pictures<'a> {
    sizes: &'a Sizes,
    weights: &'a Weights<'a>,
    input: &'a [f32],
    /// Of the two branches, one for every picture.
    factors: [Vec<f32>; 2],
    kept: &'a Kept,
}

impl Pictures<'_> {
    /// Writes the gradient of the input, and answers what the weights are to get, if they are to.
    fn backward(&self, of_input: &mut [f32], gradient: &[f32], shared: bool) -> Option<Shares> {
        let Self {
            sizes,
            weights,
            input,
            factors: [attention, perceptron],
            kept,
        } = self;
        let picture = sizes.tokens * sizes.width;
        let mut of_norms = [vec![0.0; 2 * sizes.width], vec![0.0; 2 * sizes.width]];

        let mut of_hidden = weights.fc2.back(gradient);
        let mut active = vec![0.0; of_hidden.len()];
        let values = sizes.tokens * sizes.hidden;
        let pictures = active
            .chunks_exact_mut(values)
            .zip(of_hidden.chunks_exact_mut(values));
        for (((active, of_hidden), hidden), factor) in pictures
            .zip(kept.hidden.chunks_exact(values))
            .zip(perceptron)
        {
            activate_again(active, of_hidden, hidden, *factor);
        }
        let of_normal = weights.fc1.back(&of_hidden);
        let mut of_middle = gradient.to_vec();
        add_gradients(
            &mut of_middle,
            shared.then_some(&mut of_norms[1]),
            &of_normal,
            &kept.middle,
            weights.norm2.weight,
            sizes.epsilon,
        );

        let of_joint = self.through_attention(&of_middle, attention);
        let of_normal = weights.qkv.back(&of_joint);
        of_input.copy_from_slice(&of_middle);
        add_gradients(
            of_input,
            shared.then_some(&mut of_norms[0]),
            &of_normal,
            input,
            weights.norm1.weight,
            sizes.epsilon,
        );
        if !shared {
            return None;
        }

        let mut normal = [vec![0.0; input.len()], vec![0.0; input.len()]];
        normalise(&mut normal[0], input, weights.norm1.both(), sizes.epsilon);
        normalise(
            &mut normal[1],
            &kept.middle,
            weights.norm2.both(),
            sizes.epsilon,
        );
        let mut of_proj = vec![0.0; sizes.width];
        for (of_middle, factor) in of_middle.chunks_exact(picture).zip(attention) {
            add_columns(&mut of_proj, of_middle, *factor);
        }
        let mut of_fc2 = vec![0.0; sizes.width];
        for (gradient, factor) in gradient.chunks_exact(picture).zip(perceptron) {
            add_columns(&mut of_fc2, gradient, *factor);
        }
        let mut of_qkv = vec![0.0; 3 * sizes.width];
        add_columns(&mut of_qkv, &of_joint, 1.0);
        let mut of_fc1 = vec![0.0; sizes.hidden];
        add_columns(&mut of_fc1, &of_hidden, 1.0);
        let [[weight1, bias1], [weight2, bias2]] = of_norms.map(|mut both| {
            let bias = both.split_off(sizes.width);
            [both, bias]
        });
        Some(Shares {
            vectors: [
                weight1, bias1, of_qkv, of_proj, weight2, bias2, of_fc1, of_fc2,
            ],
            normal,
            active,
            of_joint,
            of_middle,
            of_hidden,
        })
    }

    /// The gradient of queries, keys and values from that of the sum after attention.
    fn through_attention(&self, of_middle: &[f32], factors: &[f32]) -> Vec<f32> {
        let sizes = self.sizes;
        let picture = sizes.tokens * sizes.width;
        let mut of_gathered = self.weights.proj.back(of_middle);
        let mut of_joint = vec![0.0; self.kept.joint.len()];
        let (mut shares, mut scores) = (sizes.attention.scores(), sizes.attention.scores());
        let pictures = of_joint
            .chunks_exact_mut(3 * picture)
            .zip(self.kept.joint.chunks_exact(3 * picture));
        for (((of_joint, joint), of_gathered), factor) in pictures
            .zip(of_gathered.chunks_exact_mut(picture))
            .zip(factors)
        {
            scale(of_gathered, *factor);
            for head in 0..sizes.heads {
                sizes.attention.gradient(
                    head,
                    of_joint,
                    joint,
                    of_gathered,
                    &mut shares,
                    &mut scores,
                );
            }
        }
        of_joint
    }
}

/// Part of a matrix's gradient.
struct Tile<'a> {
    /// Rows of the gradient, `[inputs of these, outputs]`.
    rows: &'a mut [f32],
    /// The first of them.
    first: usize,
    inputs: usize,
    outputs: usize,
    /// For every group of pictures, what went into the map and the gradient of what came out.
    sources: &'a [(&'a [f32], &'a [f32])],
}

impl Tile<'_> {
    fn add_all(self) {
        let count = self.rows.len() / self.outputs;
        let to = Place::new(0, count, self.outputs, self.outputs);
        // In the order of the pictures: the same bits on any number of threads.
        for (input, gradient) in self.sources {
            let rows = gradient.len() / self.outputs;
            let part = Place::new(self.first, rows, count, self.inputs);
            add_product(
                (self.rows, to),
                (input, part.transposed()),
                (gradient, Place::new(0, rows, self.outputs, self.outputs)),
                Threads::This,
            );
        }
    }
}

/// The gradients of the weights, in the order of the parameters.
fn of_weights(
    sizes: &Sizes,
    weights: &Weights<'_>,
    kept: &[Kept],
    gradient: &[f32],
    shares: Vec<Shares>,
) -> Vec<Vec<f32>> {
    let qkv: Vec<_> = shares
        .iter()
        .map(|share| (&share.normal[0][..], &share.of_joint[..]))
        .collect();
    let proj: Vec<_> = shares
        .iter()
        .zip(kept)
        .map(|(share, kept)| (&kept.gathered[..], &share.of_middle[..]))
        .collect();
    let fc1: Vec<_> = shares
        .iter()
        .map(|share| (&share.normal[1][..], &share.of_hidden[..]))
        .collect();
    let fc2: Vec<_> = shares
        .iter()
        .zip(gradient.chunks(sizes.group()))
        .map(|(share, gradient)| (&share.active[..], gradient))
        .collect();
    let maps = [weights.qkv, weights.proj, weights.fc1, weights.fc2];
    let mut matrices = maps.map(|map| vec![0.0; map.inputs * map.outputs]);
    let mut tiles = Vec::new();
    for ((matrix, map), sources) in matrices.iter_mut().zip(maps).zip([&qkv, &proj, &fc1, &fc2]) {
        for (index, rows) in matrix.chunks_mut(TILE * map.outputs).enumerate() {
            tiles.push(Tile {
                rows,
                first: index * TILE,
                inputs: map.inputs,
                outputs: map.outputs,
                sources,
            });
        }
    }
    tiles.into_par_iter().for_each(Tile::add_all);

    let [qkv, proj, fc1, fc2] = matrices;
    let mut rest = shares.into_iter().map(|share| share.vectors);
    let mut vectors = rest.next().unwrap_or_default();
    for more in rest {
        for (sum, more) in vectors.iter_mut().flatten().zip(more.iter().flatten()) {
            *sum += more;
        }
    }
    let [
        weight1,
        bias1,
        of_qkv,
        of_proj,
        weight2,
        bias2,
        of_fc1,
        of_fc2,
    ] = vectors;
    let mut found = vec![weight1, bias1, qkv];
    found.extend(weights.qkv.bias.map(|_| of_qkv));
    found.extend([proj, of_proj, weight2, bias2, fc1, of_fc1, fc2, of_fc2]);
    found
}
