//! `+ - * /` between tensors and with numbers, owned or borrowed, unary `-`, and `+=`.

use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

use crate::Tensor;
use crate::host::Handle;

/// One operator for every combination of owned and borrowed tensors, and with a number on either
/// side.
macro_rules! operator {
    ($trait:ident, $method:ident, |$tensor:ident, $number:ident| $right:expr, $left:expr) => {
        operator!(pair $trait, $method, Tensor, Tensor);
        operator!(pair $trait, $method, Tensor, &Tensor);
        operator!(pair $trait, $method, &Tensor, Tensor);
        operator!(pair $trait, $method, &Tensor, &Tensor);
        operator!(number $trait, $method, Tensor, |$tensor, $number| $right, $left);
        operator!(number $trait, $method, &Tensor, |$tensor, $number| $right, $left);
    };
    (pair $trait:ident, $method:ident, $left:ty, $right:ty) => {
        impl $trait<$right> for $left {
            type Output = Tensor;

            fn $method(self, other: $right) -> Tensor {
                self.two(&other, Handle::$method)
            }
        }
    };
    (
        number $trait:ident, $method:ident, $type:ty,
        |$tensor:ident, $number:ident| $right:expr, $left:expr
    ) => {
        impl $trait<f32> for $type {
            type Output = Tensor;

            fn $method(self, $number: f32) -> Tensor {
                let $tensor = self;
                $right
            }
        }

        impl $trait<$type> for f32 {
            type Output = Tensor;

            fn $method(self, $tensor: $type) -> Tensor {
                let $number = self;
                $left
            }
        }
    };
}

operator!(
    Add,
    add,
    |tensor, number| tensor.affine(1.0, number),
    tensor.affine(1.0, number)
);
operator!(
    Sub,
    sub,
    |tensor, number| tensor.affine(1.0, -number),
    tensor.affine(-1.0, number)
);
operator!(
    Mul,
    mul,
    |tensor, number| tensor.affine(number, 0.0),
    tensor.affine(number, 0.0)
);
operator!(
    Div,
    div,
    |tensor, number| tensor.affine(number.recip(), 0.0),
    tensor.powf(-1.0).affine(number, 0.0)
);

impl Neg for Tensor {
    type Output = Self;

    fn neg(self) -> Self {
        self.affine(-1.0, 0.0)
    }
}

impl Neg for &Tensor {
    type Output = Tensor;

    fn neg(self) -> Tensor {
        self.affine(-1.0, 0.0)
    }
}

impl AddAssign for Tensor {
    fn add_assign(&mut self, other: Self) {
        *self = &*self + other;
    }
}

impl AddAssign<&Self> for Tensor {
    fn add_assign(&mut self, other: &Self) {
        *self = &*self + other;
    }
}
