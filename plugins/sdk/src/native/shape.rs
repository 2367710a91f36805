//! The arithmetic of shapes: the rules of the host and its words.

use crate::Fault;

/// The most dimensions of a tensor.
const RANK_MAX: usize = 6;

/// The most elements of a tensor.
const ELEMENTS_MAX: usize = 1 << 31;

/// `shape` if it is one that a tensor may have.
pub(super) fn checked(operation: &str, shape: Vec<usize>) -> Result<Vec<usize>, Fault> {
    if shape.len() > RANK_MAX {
        return Err(Fault::shape(format!(
            "`{operation}` would give {} dimensions (at most {RANK_MAX} are supported)",
            shape.len()
        )));
    }
    let count = shape
        .iter()
        .try_fold(1_usize, |count, &size| count.checked_mul(size));
    match count {
        Some(1..=ELEMENTS_MAX) => Ok(shape),
        _ => Err(Fault::shape(format!(
            "`{operation}` would give the shape {shape:?} (it needs from 1 to {ELEMENTS_MAX} elements)"
        ))),
    }
}

/// The position from 0 of dimension `dim`, which counts from the end when it is negative.
pub(super) fn position(operation: &str, dim: i32, shape: &[usize]) -> Result<usize, Fault> {
    let rank = shape.len() as i64;
    let from_start = i64::from(dim) + if dim < 0 { rank } else { 0 };
    if (0..rank).contains(&from_start) {
        return Ok(from_start as usize);
    }
    let allowed = if rank == 0 {
        "none, it is a scalar".to_owned()
    } else {
        format!("{} to {}", -rank, rank - 1)
    };
    Err(Fault::shape(format!(
        "`{operation}` was asked for dimension {dim} of a tensor of shape {shape:?} (allowed: {allowed})"
    )))
}

/// The shape to which two shapes are stretched; `None` when they do not fit.
pub(super) fn broadcast(left: &[usize], right: &[usize]) -> Option<Vec<usize>> {
    let rank = left.len().max(right.len());
    padded(left, rank)
        .into_iter()
        .zip(padded(right, rank))
        .map(|sizes| match sizes {
            (left, right) if left == right => Some(left),
            (1, other) | (other, 1) => Some(other),
            _ => None,
        })
        .collect()
}

/// For every element of `shape` in row-major order, the place of the element of `own`, stretched to
/// `shape`, that belongs to it. The shapes broadcast to `shape`.
pub(super) fn places(own: &[usize], shape: &[usize]) -> Vec<usize> {
    let own = padded(own, shape.len());
    let mut strides = vec![0; shape.len()];
    let mut stride = 1;
    for (dim, &size) in own.iter().enumerate().rev() {
        if size > 1 {
            strides[dim] = stride;
        }
        stride *= size;
    }
    strided(shape, &strides)
}

/// For every element of `shape` in row-major order, the sum of its indices times `strides`.
pub(super) fn strided(shape: &[usize], strides: &[usize]) -> Vec<usize> {
    shape
        .iter()
        .zip(strides)
        .fold(vec![0], |places, (&size, stride)| {
            places
                .iter()
                .flat_map(|place| (0..size).map(move |index| place + index * stride))
                .collect()
        })
}

fn padded(shape: &[usize], rank: usize) -> Vec<usize> {
    let mut padded = vec![1; rank - shape.len()];
    padded.extend_from_slice(shape);
    padded
}
