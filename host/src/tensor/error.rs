//! Why an operation on tensors is refused: each error names operation, value, and what is allowed.

use super::{ElementType, RANK_MAX};

/// An operation that was refused; nothing was computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TensorError {
    /// More dimensions than are supported.
    #[error("`{operation}` would give {rank} dimensions (at most {RANK_MAX} are supported)")]
    Rank {
        /// The operation.
        operation: &'static str,
        /// The dimensions asked for.
        rank: usize,
    },
    /// A shape without elements, or with more than can be counted.
    #[error("`{operation}` would give the shape {shape:?} (it needs from 1 to {limit} elements)")]
    Elements {
        /// The operation.
        operation: &'static str,
        /// The shape asked for.
        shape: Vec<usize>,
        /// The most elements that are supported.
        limit: usize,
    },
    /// A dimension that the tensor does not have.
    #[error(
        "`{operation}` was asked for dimension {dim} of a tensor of shape {shape:?} (allowed: {allowed})"
    )]
    Dimension {
        /// The operation.
        operation: &'static str,
        /// The dimension as it was given.
        dim: i32,
        /// The shape of the tensor.
        shape: Vec<usize>,
        /// The range that is allowed.
        allowed: String,
    },
    /// The same dimension twice in a list.
    #[error("`{operation}` was given dimension {dim} twice (name each dimension once)")]
    Repeated {
        /// The operation.
        operation: &'static str,
        /// The dimension, from 0.
        dim: usize,
    },
    /// Two shapes that do not broadcast.
    #[error(
        "`{operation}` does not fit the shapes {left:?} and {right:?} (aligned at the last dimension, sizes must be equal or 1)"
    )]
    Broadcast {
        /// The operation.
        operation: &'static str,
        /// The shape of the tensor itself.
        left: Vec<usize>,
        /// The shape of the other tensor.
        right: Vec<usize>,
    },
    /// Two shapes without a matrix product.
    #[error(
        "`matmul` does not fit the shapes {left:?} and {right:?} (it needs [.., m, k] and [.., k, n])"
    )]
    MatrixProduct {
        /// The shape of the tensor itself.
        left: Vec<usize>,
        /// The shape of the other tensor.
        right: Vec<usize>,
    },
    /// A new shape of another size.
    #[error(
        "`reshape` cannot turn the shape {from:?} into {to:?} (the number of elements differs)"
    )]
    Reshape {
        /// The shape of the tensor.
        from: Vec<usize>,
        /// The shape asked for.
        to: Vec<usize>,
    },
    /// A range outside the dimension, or without elements.
    #[error(
        "`slice` was asked for the elements {start} to {end} of a dimension of size {size} (it needs start < end <= {size})"
    )]
    Range {
        /// The first element.
        start: u32,
        /// One after the last element.
        end: u32,
        /// The size of the dimension.
        size: usize,
    },
    /// An operation that is not defined for the element type.
    #[error("`{operation}` is not defined for elements of type {found} (it needs {wanted})")]
    ElementType {
        /// The operation.
        operation: &'static str,
        /// The type of the tensor.
        found: ElementType,
        /// The type that is needed.
        wanted: ElementType,
    },
    /// A number that cannot be used.
    #[error("`{operation}` was given {argument} = {value} ({allowed})")]
    Argument {
        /// The operation.
        operation: &'static str,
        /// The name of the argument.
        argument: &'static str,
        /// The number.
        value: f64,
        /// What is allowed.
        allowed: &'static str,
    },
    /// Values that do not fill a shape.
    #[error("{values} values do not fill the shape {shape:?} (give one value for every element)")]
    Data {
        /// How many values were given.
        values: usize,
        /// The shape asked for.
        shape: Vec<usize>,
    },
    /// A tensor that is not a single number.
    #[error("a tensor of shape {shape:?} is not a single number (sum or average it first)")]
    NotScalar {
        /// The shape of the tensor.
        shape: Vec<usize>,
    },
    /// The device could not answer.
    #[error("the device could not give the values: {reason}")]
    Read {
        /// What the device said.
        reason: String,
    },
}
