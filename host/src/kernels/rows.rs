//! Sums over rows, on this thread, compiled for each instruction set.

use pulp::{Arch, Simd, WithSimd};

/// Writes rows of `input` plus `factor` times `bias`, which is as long as a row; without a bias, the
/// input.
pub(super) fn residual(output: &mut [f32], input: &[f32], bias: Option<&[f32]>, factor: f32) {
    match bias {
        Some(bias) => Arch::new().dispatch(Residual {
            output,
            input,
            bias,
            factor,
        }),
        None => output.copy_from_slice(input),
    }
}

/// Multiplies every value; by 1, nothing is done.
pub(super) fn scale(values: &mut [f32], factor: f32) {
    if factor != 1.0 {
        for value in values {
            *value *= factor;
        }
    }
}

/// Adds `factor` times every row of `values` to `sums`, which is as long as a row.
pub(super) fn add_columns(sums: &mut [f32], values: &[f32], factor: f32) {
    Arch::new().dispatch(Columns {
        sums,
        values,
        factor,
    });
}

struct Residual<'a> {
    output: &'a mut [f32],
    input: &'a [f32],
    bias: &'a [f32],
    factor: f32,
}

impl WithSimd for Residual<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let width = self.bias.len();
        let rows = self.output.chunks_exact_mut(width);
        for (output, input) in rows.zip(self.input.chunks_exact(width)) {
            for ((output, input), bias) in output.iter_mut().zip(input).zip(self.bias) {
                *output = bias.mul_add(self.factor, *input);
            }
        }
    }
}

struct Columns<'a> {
    sums: &'a mut [f32],
    values: &'a [f32],
    factor: f32,
}

impl WithSimd for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for row in self.values.chunks_exact(self.sums.len()) {
            for (sum, value) in self.sums.iter_mut().zip(row) {
                *sum = value.mul_add(self.factor, *sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_added_up() {
        let values: Vec<f32> = (0..12).map(|value| value as f32).collect();
        let mut sums = [1.0, 2.0, 3.0];
        add_columns(&mut sums, &values, 0.5);
        assert_eq!(sums, [10.0, 13.0, 16.0]);
        let mut output = vec![0.0; 12];
        residual(&mut output, &values, Some(&[1.0, 2.0, 3.0]), 2.0);
        assert_eq!(output[..4], [2.0, 5.0, 8.0, 5.0]);
        residual(&mut output, &values, None, 2.0);
        assert_eq!(output, values);
        scale(&mut output, 2.0);
        assert_eq!(output[11], 22.0);
    }
}
