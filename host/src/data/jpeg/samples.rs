//! Samples out of coefficients: the accurate integer transform of libjpeg (Loeffler, Ligtenberg, and
//! Moschytz 1989), in its order of operations.

use std::num::Wrapping;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::header::{Component, Header};
use crate::data::resize::Region;

/// The samples of a component that a region needs, in whole blocks.
pub(super) struct Plane {
    /// Blocks of it, in each direction.
    columns: Range<usize>,
    rows: Range<usize>,
    samples: Vec<u8>,
    /// How many times fewer samples than pixels there are, in each direction.
    pub(super) across: usize,
    pub(super) down: usize,
    /// Samples of the whole component.
    pub(super) width: usize,
    pub(super) height: usize,
    arch: Arch,
}

impl Plane {
    pub(super) fn new(header: &Header, component: &Component, region: Region) -> Self {
        let most = |blocks: fn(&Component) -> usize| {
            header.components.iter().map(blocks).max().unwrap_or(1)
        };
        let across = most(|one| one.across) / component.across;
        let down = most(|one| one.down) / component.down;
        // One more sample to each side, between which is interpolated.
        let blocks = |begin: usize, length: usize, times: usize, all: usize| {
            let margin = usize::from(times > 1);
            let first = (begin / times).saturating_sub(margin);
            let last = ((begin + length - 1) / times + margin).min(all - 1);
            first / 8..last / 8 + 1
        };
        let (width, height) = (header.width.div_ceil(across), header.height.div_ceil(down));
        let columns = blocks(region.left, region.width, across, width);
        let rows = blocks(region.top, region.height, down, height);
        Self {
            samples: vec![0; columns.len() * rows.len() * 64],
            columns,
            rows,
            across,
            down,
            width,
            height,
            arch: Arch::new(),
        }
    }

    /// A row of the component, from the first column that is here on, which is given, too.
    pub(super) fn row(&self, row: usize) -> (&[u8], usize) {
        let length = self.columns.len() * 8;
        let begin = (row - 8 * self.rows.start) * length;
        (&self.samples[begin..begin + length], 8 * self.columns.start)
    }

    /// Takes the coefficients of a block, of which none lies behind the place `last`, and leaves zeros.
    #[inline(always)]
    pub(super) fn take(
        &mut self,
        (column, row): (usize, usize),
        coefficients: &mut [i16; 64],
        last: usize,
    ) {
        if self.columns.contains(&column) && self.rows.contains(&row) {
            let stride = self.columns.len() * 8;
            let begin = (row - self.rows.start) * 8 * stride + (column - self.columns.start) * 8;
            let target = &mut self.samples[begin..];
            if last == 0 {
                let sample = limited(descaled(i32::from(coefficients[0]), 3));
                for row in target.chunks_mut(stride).take(8) {
                    row[..8].fill(sample);
                }
            } else {
                self.arch.dispatch(Transform {
                    coefficients,
                    target,
                    stride,
                });
            }
        }
        if last == 0 {
            coefficients[0] = 0;
        } else {
            coefficients.fill(0);
        }
    }
}

/// A sample around zero as a byte.
#[inline(always)]
fn limited(value: i32) -> u8 {
    value.wrapping_add(128).clamp(0, 255) as u8
}

/// Without its lowest bits, rounded.
#[inline(always)]
fn descaled(value: i32, bits: u32) -> i32 {
    value.wrapping_add(1 << (bits - 1)) >> bits
}

/// One block, compiled for each instruction set.
struct Transform<'a> {
    coefficients: &'a [i16; 64],
    target: &'a mut [u8],
    stride: usize,
}

impl WithSimd for Transform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let mut values = [[0; 8]; 8];
        let rows = self.coefficients.as_chunks::<8>().0;
        for (values, row) in values.iter_mut().zip(rows) {
            for column in 0..8 {
                values[column] = i32::from(row[column]);
            }
        }
        let columns = passed::<18>(&transposed(&passed::<11>(&values)));
        let mut bytes = [0; 8];
        for (bytes, column) in bytes.iter_mut().zip(&columns) {
            let mut limited_column = [0; 8];
            for row in 0..8 {
                limited_column[row] = limited(column[row]);
            }
            *bytes = u64::from_le_bytes(limited_column);
        }
        for (row, bytes) in transposed_bytes(bytes).into_iter().enumerate() {
            self.target[row * self.stride..][..8].copy_from_slice(&bytes.to_le_bytes());
        }
    }
}

/// Rows of eight bytes as columns: halves, quarters, and eighths of the square change places.
#[inline(always)]
fn transposed_bytes(mut rows: [u64; 8]) -> [u64; 8] {
    for (distance, kept) in [
        (4, 0x0000_0000_ffff_ffff_u64),
        (2, 0x0000_ffff_0000_ffff),
        (1, 0x00ff_00ff_00ff_00ff),
    ] {
        let bits = 8 * distance;
        for first in 0..8 {
            if first & distance == 0 {
                let (upper, lower) = (rows[first], rows[first + distance]);
                rows[first] = (upper & kept) | ((lower & kept) << bits);
                rows[first + distance] = ((upper >> bits) & kept) | (lower & !kept);
            }
        }
    }
    rows
}

#[inline(always)]
fn transposed(values: &[[i32; 8]; 8]) -> [[i32; 8]; 8] {
    let mut turned = [[0; 8]; 8];
    for (row, values) in values.iter().enumerate() {
        for (column, value) in values.iter().enumerate() {
            turned[column][row] = *value;
        }
    }
    turned
}

/// The one-dimensional transform of eight columns, without the lowest bits of the results.
#[inline(always)]
fn passed<const BITS: u32>(values: &[[i32; 8]; 8]) -> [[i32; 8]; 8] {
    // Coefficients that no picture has wrap around, as they do there.
    const fn times(factor: i32) -> Wrapping<i32> {
        Wrapping(factor)
    }
    let mut results = [[0; 8]; 8];
    for lane in 0..8 {
        let [v0, v1, v2, v3, v4, v5, v6, v7] = [
            Wrapping(values[0][lane]),
            Wrapping(values[1][lane]),
            Wrapping(values[2][lane]),
            Wrapping(values[3][lane]),
            Wrapping(values[4][lane]),
            Wrapping(values[5][lane]),
            Wrapping(values[6][lane]),
            Wrapping(values[7][lane]),
        ];
        // The even part.
        let z1 = (v2 + v6) * times(4433);
        let (even2, even3) = (z1 - v6 * times(15137), z1 + v2 * times(6270));
        let (even0, even1) = ((v0 + v4) << 13, (v0 - v4) << 13);
        let (e0, e3) = (even0 + even3, even0 - even3);
        let (e1, e2) = (even1 + even2, even1 - even2);
        // The odd part.
        let (z1, z2, z3, z4) = (v7 + v1, v5 + v3, v7 + v3, v5 + v1);
        let z5 = (z3 + z4) * times(9633);
        let (z1, z2) = (z1 * times(-7373), z2 * times(-20995));
        let (z3, z4) = (z3 * times(-16069) + z5, z4 * times(-3196) + z5);
        let o0 = v7 * times(2446) + z1 + z3;
        let o1 = v5 * times(16819) + z2 + z4;
        let o2 = v3 * times(25172) + z2 + z3;
        let o3 = v1 * times(12299) + z1 + z4;
        results[0][lane] = descaled((e0 + o3).0, BITS);
        results[7][lane] = descaled((e0 - o3).0, BITS);
        results[1][lane] = descaled((e1 + o2).0, BITS);
        results[6][lane] = descaled((e1 - o2).0, BITS);
        results[2][lane] = descaled((e2 + o1).0, BITS);
        results[5][lane] = descaled((e2 - o1).0, BITS);
        results[3][lane] = descaled((e3 + o0).0, BITS);
        results[4][lane] = descaled((e3 - o0).0, BITS);
    }
    results
}
