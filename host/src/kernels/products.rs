//! Products of matrices that are multiplied several times, in float32 or in bfloat16.

use std::borrow::Cow;

use burn::backend::{BackendTensor, DispatchTensorKind};
use burn::tensor::{DType, Tensor};

use super::bfloat16::{self, Rounded, Start};
use super::matrix::{self, Place, Threads};

/// In what the kernels of the CPU multiply matrices of float32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Products {
    /// The numbers as they are.
    #[default]
    Float32,
    /// The numbers of both sides rounded to bfloat16; sums and results are float32.
    BFloat16,
}

impl Products {
    /// A matrix for the left side of products.
    ///
    /// # Panics
    ///
    /// When it is empty, or reaches beyond its slice.
    pub(super) fn left<'a>(
        self,
        values: impl Into<Cow<'a, [f32]>>,
        place: Place,
        threads: Threads,
    ) -> Matrix<'a> {
        self.matrix(values.into(), place, |matrix| {
            Rounded::left(matrix, threads)
        })
    }

    /// A matrix for the right side of products.
    ///
    /// # Panics
    ///
    /// When it is empty, or reaches beyond its slice.
    pub(super) fn right<'a>(
        self,
        values: impl Into<Cow<'a, [f32]>>,
        place: Place,
        threads: Threads,
    ) -> Matrix<'a> {
        self.matrix(values.into(), place, |matrix| {
            Rounded::right(matrix, threads)
        })
    }

    /// A matrix where it lies, or as `round` makes it ready.
    fn matrix<'a>(
        self,
        values: Cow<'a, [f32]>,
        place: Place,
        round: impl FnOnce((&[f32], Place)) -> Rounded,
    ) -> Matrix<'a> {
        match self {
            Self::Float32 => Matrix::Float32(values, place),
            Self::BFloat16 => Matrix::BFloat16(round((&values, place))),
        }
    }
}

/// Whether the kernels of the CPU compute with a tensor: one of float32 there, recording or not.
pub(crate) fn computed_here<const D: usize>(tensor: &Tensor<D>) -> bool {
    if tensor.dtype() != DType::F32 {
        return false;
    }
    let flex = |kind: &DispatchTensorKind| {
        matches!(
            kind,
            DispatchTensorKind::Flex(BackendTensor::Float(_) | BackendTensor::Autodiff(_))
        )
    };
    match &tensor.clone().into_dispatch().kind {
        DispatchTensorKind::Autodiff(kind) => flex(kind),
        kind => flex(kind),
    }
}

/// A matrix on one side of products.
#[derive(Debug)]
pub(super) enum Matrix<'a> {
    /// Where it lies.
    Float32(Cow<'a, [f32]>, Place),
    /// In the order in which it is multiplied.
    BFloat16(Rounded),
}

/// Adds the rows of `left` from `first` on, as many as `to` has, times `right` to `output`, on this thread.
/// The first row is a multiple of 16.
///
/// # Panics
///
/// When the matrices do not fit each other or are not of one kind, or `to` reaches beyond its slice.
pub(super) fn add(
    (output, to): (&mut [f32], Place),
    (left, first): (&Matrix<'_>, usize),
    right: &Matrix<'_>,
) {
    match (left, right) {
        (Matrix::Float32(left, of), Matrix::Float32(right, by)) => {
            let of = Place {
                first: of.first + first * of.row_stride,
                rows: to.rows,
                ..*of
            };
            matrix::add_product((output, to), (left, of), (right, *by), Threads::This);
        }
        (Matrix::BFloat16(left), Matrix::BFloat16(right)) => {
            let target = (output, to);
            bfloat16::write(target, Start::Output, (left, first), right, Threads::This);
        }
        _ => panic!("matrices of two kinds"),
    }
}

/// `bias` in every row, if there is one, plus `left` times `right`, row by row.
///
/// # Panics
///
/// When the matrices do not fit each other or are not of one kind.
pub(super) fn new(
    bias: Option<&[f32]>,
    left: &Matrix<'_>,
    right: &Matrix<'_>,
    threads: Threads,
) -> Vec<f32> {
    match (left, right) {
        (Matrix::Float32(left, of), Matrix::Float32(right, by)) => match bias {
            Some(bias) => {
                let mut output = bias.repeat(of.rows);
                let to = Place::new(0, of.rows, by.columns, by.columns);
                matrix::add_product((&mut output, to), (left, *of), (right, *by), threads);
                output
            }
            None => matrix::new_product((left, *of), (right, *by), threads),
        },
        (Matrix::BFloat16(left), Matrix::BFloat16(right)) => {
            bfloat16::new(bias, left, right, threads)
        }
        _ => panic!("matrices of two kinds"),
    }
}

/// Products on this thread, one after the other.
#[derive(Debug)]
pub(super) enum Multiplier {
    Float32,
    BFloat16(bfloat16::Room),
}

impl Multiplier {
    pub(super) fn new(products: Products) -> Self {
        match products {
            Products::Float32 => Self::Float32,
            Products::BFloat16 => Self::BFloat16(bfloat16::Room::new()),
        }
    }

    /// Writes `scale` times `left` times `right` to `output`.
    ///
    /// # Panics
    ///
    /// When a matrix reaches beyond its slice, is empty, or does not fit the others.
    pub(super) fn product(
        &mut self,
        output: (&mut [f32], Place),
        scale: f32,
        left: (&[f32], Place),
        right: (&[f32], Place),
    ) {
        match self {
            Self::Float32 => matrix::product(output, scale, left, right),
            Self::BFloat16(room) => room.product(output, scale, left, right),
        }
    }
}
