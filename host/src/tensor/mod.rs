//! Tensors without a compile-time rank: the operations that loss hooks compose.
//!
//! A compile-time rank cannot follow shapes that a program chooses while it runs. [`AnyTensor`]
//! keeps the shape as a value, checks every [`Operation`] before the tensor library sees it, and
//! never panics on any input; what it computes is recorded for differentiation like anything else.

mod any;
mod error;
mod operation;
mod shape;
#[cfg(test)]
mod tests;

pub use any::{AnyTensor, ElementType};
pub use error::TensorError;
pub use operation::{Operation, Prepared};
pub use shape::{ELEMENTS_MAX, RANK_MAX};
