//! The gradients of a block: those of the residual stream a few pictures at a time, then those of the
//! matrices, a part of a matrix at a time.

use std::borrow::Cow;

use rayon::prelude::*;

use super::Factors;
use super::forward::Kept;
use super::sizes::{Linear, Map, Sizes, Weights};
use crate::kernels::gelu::activate_again;
use crate::kernels::layer_norm::{add_gradients, normalise_in_place};
use crate::kernels::matrix::{Place, Threads};
use crate::kernels::products::{self, Matrix};
use crate::kernels::rows::{add_columns, scale};

/// Rows of a matrix's gradient that one thread takes at a time, a multiple of 16.
const TILE: usize = 192;

/// Which gradients are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) input: bool,
    pub(super) weights: bool,
}

/// What pictures that go together contribute to the gradients of the weights.
#[derive(Debug)]
struct Shares<'a> {
    /// Of the vectors, in the order of the parameters.
    vectors: [Vec<f32>; 8],
    /// What went into the four maps, in their order, `[inputs, rows]`.
    sources: [Matrix<'a>; 4],
    /// The gradients of what came out, `[rows, outputs]`.
    gradients: [Matrix<'a>; 4],
}

/// The gradient of the input, if it is wanted, and those of the weights in the order of the
/// parameters, if they are. What was kept is used up: gradients are written over it.
pub(super) fn backward(
    sizes: &Sizes,
    weights: &Weights<'_>,
    input: &[f32],
    factors: Option<&Factors>,
    kept: Vec<Kept>,
    gradient: &[f32],
    wanted: Wanted,
) -> (Option<Vec<f32>>, Vec<Vec<f32>>) {
    let mut of_input = vec![0.0; input.len()];
    let group = sizes.group();
    let maps = weights.maps();
    let reversed: Vec<Map<'_>> = maps.par_iter().map(Linear::reversed).collect();
    let shares: Vec<Option<Shares<'_>>> = of_input
        .par_chunks_mut(group)
        .zip(input.par_chunks(group))
        .zip(gradient.par_chunks(group))
        .zip(kept)
        .enumerate()
        .map(|(group, (((of_input, input), gradient), kept))| {
            let pictures = Pictures {
                sizes,
                weights,
                reversed: &reversed,
                input,
                factors: sizes.branches(factors, group),
            };
            pictures.backward(kept, of_input, gradient, wanted.weights)
        })
        .collect();
    let shares: Vec<Shares<'_>> = shares.into_iter().flatten().collect();
    let of_weights = if wanted.weights {
        of_weights(weights, shares)
    } else {
        Vec::new()
    };
    (wanted.input.then_some(of_input), of_weights)
}

/// Pictures that go together.
struct Pictures<'a> {
    sizes: &'a Sizes,
    weights: &'a Weights<'a>,
    /// The ways back through the four maps, in their order.
    reversed: &'a [Map<'a>],
    input: &'a [f32],
    /// Of the two branches, one for every picture.
    factors: [Vec<f32>; 2],
}

impl<'a> Pictures<'a> {
    /// Writes the gradient of the input, and answers what the weights are to get, if they are to.
    fn backward(
        &self,
        kept: Kept,
        of_input: &mut [f32],
        gradient: &'a [f32],
        shared: bool,
    ) -> Option<Shares<'a>> {
        let Self {
            sizes,
            weights,
            reversed,
            input,
            factors: [attention, perceptron],
        } = self;
        let Kept {
            mut joint,
            gathered,
            mut middle,
            mut hidden,
        } = kept;
        let picture = sizes.tokens * sizes.width;
        let mut of_norms = [vec![0.0; 2 * sizes.width], vec![0.0; 2 * sizes.width]];

        let mut of_hidden = reversed[3].through(gradient);
        let values = sizes.tokens * sizes.hidden;
        let pictures = hidden
            .chunks_exact_mut(values)
            .zip(of_hidden.chunks_exact_mut(values));
        for ((hidden, of_hidden), factor) in pictures.zip(perceptron) {
            activate_again(hidden, of_hidden, *factor);
        }
        let of_normal = reversed[2].through(&of_hidden);
        let mut of_middle = gradient.to_vec();
        add_gradients(
            &mut of_middle,
            shared.then_some(&mut of_norms[1]),
            &of_normal,
            &middle,
            weights.norm2.weight,
            sizes.epsilon,
        );

        let mut of_gathered = reversed[1].through(&of_middle);
        let mut room = sizes.attention.room();
        let pictures = joint
            .chunks_exact_mut(3 * picture)
            .zip(of_gathered.chunks_exact_mut(picture));
        for ((joint, of_gathered), factor) in pictures.zip(attention) {
            scale(of_gathered, *factor);
            sizes.attention.gradients(joint, of_gathered, &mut room);
        }
        let of_joint = joint;
        let of_normal = reversed[0].through(&of_joint);
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

        let mut normal = input.to_vec();
        normalise_in_place(&mut normal, weights.norm1.both(), sizes.epsilon);
        normalise_in_place(&mut middle, weights.norm2.both(), sizes.epsilon);
        let columns = |values: &[f32], width: usize, factors: Option<&[f32]>| {
            let mut sums = vec![0.0; width];
            match factors {
                Some(factors) => {
                    for (values, factor) in values.chunks_exact(picture).zip(factors) {
                        add_columns(&mut sums, values, *factor);
                    }
                }
                None => add_columns(&mut sums, values, 1.0),
            }
            sums
        };
        let of_proj = columns(&of_middle, sizes.width, Some(attention));
        let of_fc2 = columns(gradient, sizes.width, Some(perceptron));
        let of_qkv = columns(&of_joint, 3 * sizes.width, None);
        let of_fc1 = columns(&of_hidden, sizes.hidden, None);
        let [[weight1, bias1], [weight2, bias2]] = of_norms.map(|mut both| {
            let bias = both.split_off(sizes.width);
            [both, bias]
        });
        let rows = input.len() / sizes.width;
        let source = |values: Vec<f32>, width| {
            let place = Place::new(0, rows, width, width).transposed();
            sizes.products.left(values, place, Threads::This)
        };
        let result = |values: Cow<'a, [f32]>, width| {
            let place = Place::new(0, rows, width, width);
            sizes.products.right(values, place, Threads::This)
        };
        Some(Shares {
            vectors: [
                weight1, bias1, of_qkv, of_proj, weight2, bias2, of_fc1, of_fc2,
            ],
            sources: [
                source(normal, sizes.width),
                source(gathered, sizes.width),
                source(middle, sizes.width),
                source(hidden, sizes.hidden),
            ],
            gradients: [
                result(of_joint.into(), 3 * sizes.width),
                result(of_middle.into(), sizes.width),
                result(of_hidden.into(), sizes.hidden),
                result(gradient.into(), sizes.width),
            ],
        })
    }
}

/// Part of a matrix's gradient.
struct Tile<'a> {
    /// Rows of the gradient, `[inputs of these, outputs]`.
    rows: &'a mut [f32],
    /// The first of them.
    first: usize,
    outputs: usize,
    /// For every group of pictures, what went into the map and the gradient of what came out.
    sources: &'a [(&'a Matrix<'a>, &'a Matrix<'a>)],
}

impl Tile<'_> {
    fn add_all(self) {
        let count = self.rows.len() / self.outputs;
        let to = Place::new(0, count, self.outputs, self.outputs);
        // In the order of the pictures: the same bits on any number of threads.
        for (input, gradient) in self.sources {
            products::add((self.rows, to), (input, self.first), gradient);
        }
    }
}

/// The gradients of the weights, in the order of the parameters.
fn of_weights(weights: &Weights<'_>, shares: Vec<Shares<'_>>) -> Vec<Vec<f32>> {
    let maps = weights.maps();
    let sources = [0, 1, 2, 3].map(|map| {
        let pairs = shares
            .iter()
            .map(|share| (&share.sources[map], &share.gradients[map]));
        pairs.collect::<Vec<_>>()
    });
    let mut matrices = maps.map(|map| vec![0.0; map.inputs * map.outputs]);
    let mut tiles = Vec::new();
    for ((matrix, map), sources) in matrices.iter_mut().zip(maps).zip(&sources) {
        for (index, rows) in matrix.chunks_mut(TILE * map.outputs).enumerate() {
            tiles.push(Tile {
                rows,
                first: index * TILE,
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
