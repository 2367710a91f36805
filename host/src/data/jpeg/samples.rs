//! Samples out of coefficients: the accurate integer transform of libjpeg (Loeffler, Ligtenberg, and
//! Moschytz 1989), in its order of operations.

#![expect(
    clippy::needless_range_loop,
    reason = "loops over lanes become vectors; iterators are calls within code for one instruction set"
)]

use std::num::Wrapping;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::entropy::ORDER;
use super::header::{Component, Header};
use crate::data::resize::Region;

/// Blocks that are transformed side by side.
const LANES: usize = 16;

/// Coefficients of blocks side by side, rows of them with columns innermost, before they are multiplied.
/// The last is none of theirs.
pub(super) type Coefficients = [[i16; LANES]; 65];

/// Blocks that wait until there are as many as are transformed side by side.
struct Waiting {
    coefficients: Box<Coefficients>,
    /// Where the samples of each begin.
    begins: [usize; LANES],
    count: usize,
}

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
    /// What coefficients are multiplied by, rows with columns innermost.
    steps: [i16; 64],
    waiting: Waiting,
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
        let mut steps = [0; 64];
        for (place, step) in ORDER.iter().zip(component.steps) {
            // Eight bits, as the header was read.
            steps[usize::from(*place)] = step as i16;
        }
        Self {
            samples: vec![0; columns.len() * rows.len() * 64],
            columns,
            rows,
            across,
            down,
            width,
            height,
            steps,
            waiting: Waiting {
                coefficients: Box::new([[0; LANES]; 65]),
                begins: [0; LANES],
                count: 0,
            },
            arch: Arch::new(),
        }
    }

    /// A row of the component, from the first column that is here on, which is given, too.
    pub(super) fn row(&self, row: usize) -> (&[u8], usize) {
        let length = self.columns.len() * 8;
        let begin = (row - 8 * self.rows.start) * length;
        (&self.samples[begin..begin + length], 8 * self.columns.start)
    }

    /// Where the samples of a block begin; nowhere if it is not needed.
    #[inline(always)]
    pub(super) fn begin(&self, column: usize, row: usize) -> Option<usize> {
        let is_needed = self.columns.contains(&column) && self.rows.contains(&row);
        is_needed.then(|| {
            let stride = self.columns.len() * 8;
            (row - self.rows.start) * 8 * stride + (column - self.columns.start) * 8
        })
    }

    /// Zeros for the coefficients of the next block, in a lane.
    #[inline(always)]
    pub(super) fn next(&mut self) -> (&mut Coefficients, usize) {
        (&mut self.waiting.coefficients, self.waiting.count % LANES)
    }

    /// Takes the coefficients that were put there for the block that begins here.
    #[inline(always)]
    pub(super) fn take(&mut self, begin: usize, only_first: bool) {
        let waiting = &mut self.waiting;
        let lane = waiting.count % LANES;
        if only_first {
            let first = &mut waiting.coefficients[0][lane];
            let sample = limited(descaled(i32::from(first.wrapping_mul(self.steps[0])), 3));
            *first = 0;
            let stride = self.columns.len() * 8;
            for row in 0..8 {
                self.samples[begin + row * stride..][..8].fill(sample);
            }
            return;
        }
        waiting.begins[lane] = begin;
        waiting.count += 1;
        if waiting.count == LANES {
            self.finish();
        }
    }

    /// Transforms the blocks that wait.
    pub(super) fn finish(&mut self) {
        let waiting = &mut self.waiting;
        self.arch.dispatch(Transform {
            coefficients: &waiting.coefficients,
            steps: &self.steps,
            begins: &waiting.begins[..waiting.count],
            samples: &mut self.samples,
            stride: self.columns.len() * 8,
        });
        waiting.coefficients.fill([0; LANES]);
        waiting.count = 0;
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

/// Some blocks, compiled for each instruction set.
struct Transform<'a> {
    coefficients: &'a Coefficients,
    steps: &'a [i16; 64],
    begins: &'a [usize],
    samples: &'a mut [u8],
    stride: usize,
}

impl WithSimd for Transform<'_> {
    type Output = ();

    /// Loops over lanes are innermost and do all at once, for the compiler to make vectors of lanes.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        // Columns, and then rows.
        let mut between = [[[0; LANES]; 8]; 8];
        for column in 0..8 {
            for lane in 0..LANES {
                let mut values = [0; 8];
                for row in 0..8 {
                    let place = 8 * row + column;
                    let coefficient = self.coefficients[place][lane];
                    values[row] = i32::from(coefficient.wrapping_mul(self.steps[place]));
                }
                let values = passed::<11>(values);
                for row in 0..8 {
                    between[row][column][lane] = values[row];
                }
            }
        }
        let mut samples = [[0_u64; LANES]; 8];
        for row in 0..8 {
            for lane in 0..LANES {
                let mut values = [0; 8];
                for column in 0..8 {
                    values[column] = between[row][column][lane];
                }
                let values = passed::<18>(values);
                let mut halves = [0; 2];
                for column in 0..8 {
                    let sample = u32::from(limited(values[column]));
                    halves[column / 4] |= sample << (8 * (column % 4));
                }
                samples[row][lane] = u64::from(halves[0]) | u64::from(halves[1]) << 32;
            }
        }
        for lane in 0..self.begins.len() {
            let target = &mut self.samples[self.begins[lane]..];
            for row in 0..8 {
                if let Some(target) = target[row * self.stride..].first_chunk_mut() {
                    *target = samples[row][lane].to_le_bytes();
                }
            }
        }
    }
}

/// The one-dimensional transform of eight values, without the lowest bits of the results.
#[inline(always)]
fn passed<const BITS: u32>(values: [i32; 8]) -> [i32; 8] {
    // Coefficients that no picture has wrap around, as they do there.
    const fn times(factor: i32) -> Wrapping<i32> {
        Wrapping(factor)
    }
    let [v0, v1, v2, v3, v4, v5, v6, v7] = [
        Wrapping(values[0]),
        Wrapping(values[1]),
        Wrapping(values[2]),
        Wrapping(values[3]),
        Wrapping(values[4]),
        Wrapping(values[5]),
        Wrapping(values[6]),
        Wrapping(values[7]),
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
    [
        descaled((e0 + o3).0, BITS),
        descaled((e1 + o2).0, BITS),
        descaled((e2 + o1).0, BITS),
        descaled((e3 + o0).0, BITS),
        descaled((e3 - o0).0, BITS),
        descaled((e2 - o1).0, BITS),
        descaled((e1 - o2).0, BITS),
        descaled((e0 - o3).0, BITS),
    ]
}
