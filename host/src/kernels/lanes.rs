//! Sums over slices in a fixed order that vector instructions of every width can follow, so that they
//! give the same bits with each.
//!
//! Rows are short, so places are counted: iterators that are zipped are made anew for every row, which
//! takes as long as the row.

/// Partial sums that run side by side.
const LANES: usize = 16;

/// The sum of `term` over the pairs of two slices of equal length.
#[inline(always)]
pub(super) fn sum(left: &[f32], right: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    sum3(left, right, right, |left, right, _| term(left, right))
}

/// The sum of `term` over what stands at the same place of three slices of equal length.
#[inline(always)]
pub(super) fn sum3(
    first: &[f32],
    second: &[f32],
    third: &[f32],
    term: impl Fn(f32, f32, f32) -> f32,
) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (first, first_rest) = first.as_chunks::<LANES>();
    let (second, second_rest) = second.as_chunks::<LANES>();
    let (third, third_rest) = third.as_chunks::<LANES>();
    let (second, third) = (&second[..first.len()], &third[..first.len()]);
    for chunk in 0..first.len() {
        let (first, second, third) = (&first[chunk], &second[chunk], &third[chunk]);
        for lane in 0..LANES {
            lanes[lane] += term(first[lane], second[lane], third[lane]);
        }
    }
    if !first_rest.is_empty() {
        // Apart, so that the partial sums can stay in a register: its lanes cannot be counted.
        let mut rest = [0.0_f32; LANES];
        for lane in 0..first_rest.len() {
            rest[lane] = term(first_rest[lane], second_rest[lane], third_rest[lane]);
        }
        for lane in 0..LANES {
            lanes[lane] += rest[lane];
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The largest value; NaN where there is one, so that it is not lost.
#[inline(always)]
pub(super) fn maximum(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let larger = |a: f32, b: f32| if b > a || b.is_nan() { b } else { a };
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    if !rest.is_empty() {
        let mut last = [f32::NEG_INFINITY; LANES];
        last[..rest.len()].copy_from_slice(rest);
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], last[lane]);
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = larger(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_summed_and_searched() {
        for count in 0..70 {
            let values: Vec<f32> = (0..count).map(|index| index as f32 - 30.0).collect();
            let squares: f32 = values.iter().map(|value| value * value).sum();
            assert_eq!(sum(&values, &values, |a, b| a * b), squares);
            let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(maximum(&values), largest);
            for place in 0..count {
                let mut values = values.clone();
                values[place] = f32::NAN;
                assert!(maximum(&values).is_nan());
            }
        }
    }
}
