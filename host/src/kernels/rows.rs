//! Sums over rows and their transposition, on this thread; sums are compiled for each instruction set.

#![expect(clippy::needless_range_loop, reason = "rows are short: see `lanes`")]

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

/// Rows and columns that are exchanged at a time, so that both sides stay in the cache.
const SQUARE: usize = 16;

/// A matrix of `columns` columns with rows and columns exchanged.
pub(super) fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    let mut output = vec![0.0; values.len()];
    for first_row in (0..rows).step_by(SQUARE) {
        for first_column in (0..columns).step_by(SQUARE) {
            for row in first_row..rows.min(first_row + SQUARE) {
                for column in first_column..columns.min(first_column + SQUARE) {
                    output[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    output
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
        for row in 0..self.output.len() / width {
            let input = &self.input[row * width..][..width];
            let output = &mut self.output[row * width..][..width];
            for at in 0..width {
                output[at] = self.bias[at].mul_add(self.factor, input[at]);
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
        let width = self.sums.len();
        for row in 0..self.values.len() / width {
            let values = &self.values[row * width..][..width];
            for at in 0..width {
                self.sums[at] = values[at].mul_add(self.factor, self.sums[at]);
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

    #[test]
    fn rows_become_columns() {
        for (rows, columns) in [(1, 1), (3, 50), (16, 32), (35, 17)] {
            let values: Vec<f32> = (0..rows * columns).map(|value| value as f32).collect();
            let found = transposed(&values, columns);
            for row in 0..rows {
                for column in 0..columns {
                    let value = values[row * columns + column];
                    assert_eq!(found[column * rows + row], value);
                }
            }
        }
    }
}
