//! The gradients of a block: those of the residual stream a few pictures at a time, then those of the
//! matrices, a part of a matrix at a time.

use rayon::prelude::*;

use super::Factors;
use super::forward::Kept;
use super::sizes::{Linear, Reversed, Sizes, Weights};
use crate::kernels::gelu::activate_again;
use crate::kernels::layer_norm::{add_gradients, normalise_in_place};
use crate::kernels::matrix::{Place, Threads, add_product};
use crate::kernels::rows::{add_columns, scale};

/// Rows of a matrix's gradient that one thread takes at a time.
const TILE: usize = 192;

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
    /// What went into the four maps, in their order, and the gradients of what came out; the gradient of
    /// what came out of the last is that of the block.
    sources: [Vec<f32>; 4],
    gradients: [Vec<f32>; 3],
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
    let maps = [weights.qkv, weights.proj, weights.fc1, weights.fc2];
    let reversed: Vec<Reversed> = maps.par_iter().map(Linear::reversed).collect();
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
                reversed: &reversed,
                input,
                factors: sizes.branches(factors, group),
            };
            pictures.backward(kept, of_input, gradient, wanted.weights)
        })
        .collect();
    let shares: Vec<Shares> = shares.into_iter().flatten().collect();
    let of_weights = if wanted.weights {
        of_weights(sizes, weights, gradient, shares)
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
    reversed: &'a [Reversed],
    input: &'a [f32],
    /// Of the two branches, one for every picture.
    factors: [Vec<f32>; 2],
}

impl Pictures<'_> {
    /// Writes the gradient of the input, and answers what the weights are to get, if they are to.
    fn backward(
        &self,
        kept: Kept,
        of_input: &mut [f32],
        gradient: &[f32],
        shared: bool,
    ) -> Option<Shares> {
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

        let mut of_hidden = reversed[3].back(gradient);
        let values = sizes.tokens * sizes.hidden;
        let pictures = hidden
            .chunks_exact_mut(values)
            .zip(of_hidden.chunks_exact_mut(values));
        for ((hidden, of_hidden), factor) in pictures.zip(perceptron) {
            activate_again(hidden, of_hidden, *factor);
        }
        let of_normal = reversed[2].back(&of_hidden);
        let mut of_middle = gradient.to_vec();
        add_gradients(
            &mut of_middle,
            shared.then_some(&mut of_norms[1]),
            &of_normal,
            &middle,
            weights.norm2.weight,
            sizes.epsilon,
        );

        let mut of_gathered = reversed[1].back(&of_middle);
        let mut room = sizes.attention.room();
        let pictures = joint
            .chunks_exact_mut(3 * picture)
            .zip(of_gathered.chunks_exact_mut(picture));
        for ((joint, of_gathered), factor) in pictures.zip(attention) {
            scale(of_gathered, *factor);
            sizes.attention.gradients(joint, of_gathered, &mut room);
        }
        let of_joint = joint;
        let of_normal = reversed[0].back(&of_joint);
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
        Some(Shares {
            vectors: [
                weight1, bias1, of_qkv, of_proj, weight2, bias2, of_fc1, of_fc2,
            ],
            sources: [normal, gathered, middle, hidden],
            gradients: [of_joint, of_middle, of_hidden],
        })
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
    gradient: &[f32],
    shares: Vec<Shares>,
) -> Vec<Vec<f32>> {
    let maps = [weights.qkv, weights.proj, weights.fc1, weights.fc2];
    let last: Vec<&[f32]> = gradient.chunks(sizes.group()).collect();
    let sources = [0, 1, 2, 3].map(|map| {
        let pairs = shares.iter().zip(&last).map(|(share, last)| {
            let gradient = share.gradients.get(map).map_or(*last, Vec::as_slice);
            (share.sources[map].as_slice(), gradient)
        });
        pairs.collect::<Vec<_>>()
    });
    let mut matrices = maps.map(|map| vec![0.0; map.inputs * map.outputs]);
    let mut tiles = Vec::new();
    for ((matrix, map), sources) in matrices.iter_mut().zip(maps).zip(&sources) {
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
