//! The arithmetic of shapes: broadcasting, dimensions counted from the end, and sizes.
//!
//! Every shape that leaves this file has at most [`RANK_MAX`] dimensions and from 1 to
//! [`ELEMENTS_MAX`] elements.

use super::TensorError;

/// The most dimensions of a tensor.
pub const RANK_MAX: usize = 6;

/// The most elements of a tensor: 8 GiB of floats, far above any limit that a caller sets.
pub const ELEMENTS_MAX: usize = 1 << 31;

/// The number of elements of a shape that was checked; 1 for a scalar.
pub(super) fn elements(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// Returns `shape` if it is one that a tensor may have.
pub(super) fn checked(
    operation: &'static str,
    shape: Vec<usize>,
) -> Result<Vec<usize>, TensorError> {
    if shape.len() > RANK_MAX {
        return Err(TensorError::Rank {
            operation,
            rank: shape.len(),
        });
    }
    let count = shape
        .iter()
        .try_fold(1_usize, |count, &size| count.checked_mul(size));
    match count {
        Some(1..=ELEMENTS_MAX) => Ok(shape),
        _ => Err(TensorError::Elements {
            operation,
            shape,
            limit: ELEMENTS_MAX,
        }),
    }
}

/// The position from 0 of dimension `dim`, which counts from the end when it is negative.
pub(super) fn position(
    operation: &'static str,
    dim: i32,
    shape: &[usize],
) -> Result<usize, TensorError> {
    let rank = shape.len() as i64;
    let from_start = if dim < 0 {
        i64::from(dim) + rank
    } else {
        i64::from(dim)
    };
    if (0..rank).contains(&from_start) {
        Ok(from_start as usize)
    } else {
        Err(TensorError::Dimension {
            operation,
            dim,
            shape: shape.to_vec(),
            allowed: if rank == 0 {
                "none, it is a scalar".to_owned()
            } else {
                format!("{} to {}", -rank, rank - 1)
            },
        })
    }
}

/// The shape to which two shapes are stretched; `None` when they do not fit.
pub(super) fn broadcast(left: &[usize], right: &[usize]) -> Option<Vec<usize>> {
    let rank = left.len().max(right.len());
    let size = |shape: &[usize], dim: usize| {
        (dim + shape.len())
            .checked_sub(rank)
            .map_or(1, |own| shape[own])
    };
    (0..rank)
        .map(|dim| match (size(left, dim), size(right, dim)) {
            (left, right) if left == right => Some(left),
            (1, other) | (other, 1) => Some(other),
            _ => None,
        })
        .collect()
}

/// `shape` with sizes of 1 in front until it has `rank` dimensions.
pub(super) fn padded(shape: &[usize], rank: usize) -> Vec<usize> {
    let mut padded = vec![1; rank.saturating_sub(shape.len())];
    padded.extend_from_slice(shape);
    padded
}
