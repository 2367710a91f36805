//! Position embeddings for pictures of another size: the grid of patches is resampled, and the
//! class token keeps its place and values.
//!
//! The interpolation is PyTorch's `interpolate(mode="bicubic", align_corners=False)` without
//! antialiasing, which the reference implementation and timm's of its time use: cubic convolution
//! (Keys, 1981) with a = -3/4 over the four nearest cells, the cells at the border repeated.

/// The parameter of the cubic kernel.
const A: f64 = -0.75;

/// What one new cell along a side takes from four old ones.
struct Taps {
    cells: [usize; 4],
    weights: [f64; 4],
}

/// `values` are `[1 + old_side², width]`, the class token first; the result is
/// `[1 + new_side², width]`.
pub(in crate::model) fn interpolate(
    values: &[f32],
    width: usize,
    old_side: usize,
    new_side: usize,
) -> Vec<f32> {
    let (class, grid) = values.split_at(width);
    let taps: Vec<Taps> = (0..new_side)
        .map(|cell| taps(cell, old_side, new_side))
        .collect();
    let mut result = class.to_vec();
    result.reserve(new_side * new_side * width);
    for down in &taps {
        for across in &taps {
            result.extend((0..width).map(|channel| {
                let rows = down.cells.iter().zip(down.weights).map(|(row, weight)| {
                    let columns = across.cells.iter().zip(across.weights);
                    let sum: f64 = columns
                        .map(|(column, weight)| {
                            let cell = row * old_side + column;
                            weight * f64::from(grid[cell * width + channel])
                        })
                        .sum();
                    weight * sum
                });
                rows.sum::<f64>() as f32
            }));
        }
    }
    result
}

/// The old cells whose centres are nearest to the centre of new cell `cell`.
fn taps(cell: usize, old_side: usize, new_side: usize) -> Taps {
    let centre = (cell as f64 + 0.5) * old_side as f64 / new_side as f64 - 0.5;
    let before = centre.floor();
    let part = centre - before;
    let last = old_side as i64 - 1;
    let near = |distance: f64| ((A + 2.0) * distance - (A + 3.0)) * distance * distance + 1.0;
    let far = |distance: f64| ((A * distance - 5.0 * A) * distance + 8.0 * A) * distance - 4.0 * A;
    Taps {
        cells: [-1, 0, 1, 2].map(|step| (before as i64 + step).clamp(0, last) as usize),
        weights: [
            far(1.0 + part),
            near(part),
            near(1.0 - part),
            far(2.0 - part),
        ],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::interpolate;

    /// Written by `tests/position/make.py` with PyTorch.
    const EXPECTED: &str = include_str!("../../../../tests/position/expected.json");

    #[test]
    fn it_is_what_pytorch_computes() {
        let expected: Value = serde_json::from_str(EXPECTED).unwrap();
        let cases = expected["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 7);
        for case in cases {
            let numbers = |key: &str| -> Vec<f32> {
                let list = case[key].as_array().unwrap();
                list.iter()
                    .map(|one| one.as_f64().unwrap() as f32)
                    .collect()
            };
            let size = |key: &str| case[key].as_u64().unwrap() as usize;
            let (old_side, new_side) = (size("old_side"), size("new_side"));
            let found = interpolate(&numbers("values"), size("width"), old_side, new_side);
            let expected = numbers("interpolated");
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{old_side} to {new_side}: {found} and {expected}"
                );
            }
        }
    }
}
