//! The pass through a block, a few pictures at a time.

use rayon::prelude::*;

use super::Factors;
use super::sizes::{Map, Sizes, Weights};
use crate::kernels::attention;
use crate::kernels::gelu::activate;
use crate::kernels::layer_norm::normalise;
use crate::kernels::rows::{residual, scale};

/// What stays of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    /// What the backward pass wants.
    ForGradients,
    /// The output alone.
    Nothing,
}

/// What stays of the pictures that go together, in rows of tokens.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Queries, keys and values, `[rows, 3·width]`.
    pub(super) joint: Vec<f32>,
    /// What attention gathered, times the factor of the branch, `[rows, width]`.
    pub(super) gathered: Vec<f32>,
    /// The sum after attention, `[rows, width]`.
    pub(super) middle: Vec<f32>,
    /// The perceptron's hidden layer before its activation, `[rows, hidden]`.
    pub(super) hidden: Vec<f32>,
}

/// The output for `input`, `[batch, tokens, width]`, and what is kept, in the order of the pictures.
pub(super) fn forward(
    sizes: &Sizes,
    weights: &Weights<'_>,
    input: &[f32],
    factors: Option<&Factors>,
    keeping: Keeping,
) -> (Vec<f32>, Vec<Kept>) {
    let mut output = vec![0.0; input.len()];
    let maps = weights.maps();
    let maps: Vec<Map<'_>> = maps.par_iter().map(|map| map.ahead()).collect();
    let kept: Vec<Option<Kept>> = output
        .par_chunks_mut(sizes.group())
        .zip(input.par_chunks(sizes.group()))
        .enumerate()
        .map_init(
            || Room::new(sizes),
            |room, (group, (output, input))| {
                let branches = sizes.branches(factors, group);
                let kept = together(sizes, weights, &maps, output, input, &branches, room);
                (keeping == Keeping::ForGradients).then_some(kept)
            },
        )
        .collect();
    (output, kept.into_iter().flatten().collect())
}

/// What a thread needs for pictures that go together, and again for the next ones.
#[derive(Debug)]
struct Room {
    normal: Vec<f32>,
    active: Vec<f32>,
    attention: attention::Room,
}

impl Room {
    fn new(sizes: &Sizes) -> Self {
        Self {
            normal: Vec::new(),
            active: Vec::new(),
            attention: sizes.attention.room(),
        }
    }
}

/// The pass of pictures that go together.
fn together(
    sizes: &Sizes,
    weights: &Weights<'_>,
    maps: &[Map<'_>],
    output: &mut [f32],
    input: &[f32],
    [attention, perceptron]: &[Vec<f32>; 2],
    Room {
        normal,
        active,
        attention: room,
    }: &mut Room,
) -> Kept {
    let picture = sizes.tokens * sizes.width;
    normal.resize(input.len(), 0.0);
    normalise(normal, input, weights.norm1.both(), sizes.epsilon);
    let joint = maps[0].through(normal);

    let mut gathered = vec![0.0; input.len()];
    let pictures = gathered.chunks_exact_mut(picture);
    for ((gathered, joint), factor) in pictures.zip(joint.chunks_exact(3 * picture)).zip(attention)
    {
        sizes.attention.gather(room, gathered, joint);
        scale(gathered, *factor);
    }
    let mut middle = vec![0.0; input.len()];
    let pictures = middle.chunks_exact_mut(picture);
    for ((middle, input), factor) in pictures.zip(input.chunks_exact(picture)).zip(attention) {
        residual(middle, input, weights.proj.bias, *factor);
    }
    maps[1].add(&mut middle, &gathered);

    normalise(normal, &middle, weights.norm2.both(), sizes.epsilon);
    let hidden = maps[2].through(normal);
    active.resize(hidden.len(), 0.0);
    let values = sizes.tokens * sizes.hidden;
    let pictures = active.chunks_exact_mut(values);
    for ((active, hidden), factor) in pictures.zip(hidden.chunks_exact(values)).zip(perceptron) {
        activate(active, hidden, *factor);
    }
    let pictures = output.chunks_exact_mut(picture);
    for ((output, middle), factor) in pictures.zip(middle.chunks_exact(picture)).zip(perceptron) {
        residual(output, middle, weights.fc2.bias, *factor);
    }
    maps[3].add(output, active);
    Kept {
        joint,
        gathered,
        middle,
        hidden,
    }
}
