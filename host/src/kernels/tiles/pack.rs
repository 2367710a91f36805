//! Numbers in float32 to tiles of bfloat16, with AVX-512.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::{DEPTH, LINES, Row};
use crate::kernels::bfloat16::Side;
use crate::kernels::matrix::Place;

/// The rows of a tile.
type Tile = [__m512i; LINES];

/// Writes the lines of `values`, which are the rows of `from`, to the tiles of whole blocks of lines.
///
/// # Panics
///
/// When lines reach beyond the values, or the matrix has a stride in both directions.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn pack(to: &mut [MaybeUninit<Row>], values: &[f32], from: Place, side: Side) {
    let deep = from.columns.div_ceil(DEPTH);
    let blocks = from.rows.div_ceil(LINES);
    let (to, rest) = to.as_chunks_mut::<LINES>();
    assert!(
        rest.is_empty() && to.len() == blocks * deep,
        "as many tiles as numbers fill"
    );
    let lines = |block: usize| (from.rows - block * LINES).min(LINES);
    let depth = |step: usize| (from.columns - step * DEPTH).min(DEPTH);
    let at = |block: usize, step: usize| {
        from.first + block * LINES * from.row_stride + step * DEPTH * from.column_stride
    };
    if from.column_stride == 1 {
        for block in 0..blocks {
            for step in 0..deep {
                let source = &values[at(block, step)..];
                let (lines, depth) = (lines(block), depth(step));
                let rows = if (lines, depth) == (LINES, DEPTH) {
                    lines_of_pairs(source, from.row_stride, LINES, DEPTH)
                } else {
                    lines_of_pairs(source, from.row_stride, lines, depth)
                };
                let tile = match side {
                    Side::Left => rows,
                    Side::Right => transposed(rows),
                };
                store(&mut to[block * deep + step], tile);
            }
        }
    } else {
        assert_eq!(from.row_stride, 1, "numbers lie apart in both directions");
        // Along the rows of what is read: they are far apart.
        for step in 0..deep {
            for block in 0..blocks {
                let source = &values[at(block, step)..];
                let (lines, depth) = (lines(block), depth(step));
                let rows = if (lines, depth) == (LINES, DEPTH) {
                    pairs_of_lines(source, from.column_stride, LINES, DEPTH)
                } else {
                    pairs_of_lines(source, from.column_stride, lines, depth)
                };
                let tile = match side {
                    Side::Left => transposed(rows),
                    Side::Right => rows,
                };
                store(&mut to[block * deep + step], tile);
            }
        }
    }
}

/// Rows of lines, where the numbers of a line lie side by side and lines are `stride` apart.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn lines_of_pairs(source: &[f32], stride: usize, lines: usize, depth: usize) -> Tile {
    let mut rows = [_mm512_setzero_si512(); LINES];
    for line in 0..lines {
        let numbers = &source[line * stride..][..depth];
        let early = load(&numbers[..depth.min(16)]);
        let late = load(&numbers[depth.min(16)..]);
        rows[line] = rounded(early, late);
    }
    rows
}

/// Rows of pairs, where the same number of all lines lies side by side and numbers are `stride` apart.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn pairs_of_lines(source: &[f32], stride: usize, lines: usize, depth: usize) -> Tile {
    let mut rows = [_mm512_setzero_si512(); LINES];
    for (pair, row) in rows.iter_mut().take(depth.div_ceil(2)).enumerate() {
        let number = |at: usize| {
            if at < depth {
                load(&source[at * stride..][..lines])
            } else {
                _mm512_setzero_ps()
            }
        };
        let both = rounded(number(2 * pair), number(2 * pair + 1));
        *row = _mm512_permutexvar_epi16(alternating(), both);
    }
    rows
}

/// At most 16 numbers, and 0 after them.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(numbers: &[f32]) -> __m512 {
    let mask = ((1_u32 << numbers.len().min(16)) - 1) as __mmask16;
    // SAFETY: no more numbers are read than there are.
    unsafe { _mm512_maskz_loadu_ps(mask, numbers.as_ptr()) }
}

/// 32 numbers, rounded to the nearest bfloat16.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn rounded(early: __m512, late: __m512) -> __m512i {
    let both = _mm512_cvtne2ps_pbh(late, early);
    // SAFETY: both are 64 bytes without a meaning of their own.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(both) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(tile: &mut [MaybeUninit<Row>; LINES], rows: Tile) {
    for (to, row) in tile.iter_mut().zip(rows) {
        // SAFETY: a row is 64 bytes, and lies on a multiple of that.
        unsafe { _mm512_store_si512(to.as_mut_ptr().cast(), row) };
    }
}

/// 0, 16, 1, 17 and so on, in 16 bits: one from the first half and one from the second.
#[inline]
#[target_feature(enable = "avx512f")]
fn alternating() -> __m512i {
    let first = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let second = _mm512_add_epi32(first, _mm512_set1_epi32(16));
    _mm512_or_si512(first, _mm512_slli_epi32::<16>(second))
}

/// Rows and columns of pairs exchanged.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed(rows: Tile) -> Tile {
    let mut twos = rows;
    for at in (0..LINES).step_by(2) {
        twos[at] = _mm512_unpacklo_epi32(rows[at], rows[at + 1]);
        twos[at + 1] = _mm512_unpackhi_epi32(rows[at], rows[at + 1]);
    }
    // Quarter q of fours[4·i + j] is column 4·q + j of the rows from 4·i on.
    let mut fours = twos;
    for at in (0..LINES).step_by(4) {
        fours[at] = _mm512_unpacklo_epi64(twos[at], twos[at + 2]);
        fours[at + 1] = _mm512_unpackhi_epi64(twos[at], twos[at + 2]);
        fours[at + 2] = _mm512_unpacklo_epi64(twos[at + 1], twos[at + 3]);
        fours[at + 3] = _mm512_unpackhi_epi64(twos[at + 1], twos[at + 3]);
    }
    let mut columns = fours;
    for at in 0..4 {
        let quarters = [0, 4, 8, 12].map(|rows| fours[rows + at]);
        let even = _mm512_shuffle_i32x4::<0x88>(quarters[0], quarters[1]);
        let odd = _mm512_shuffle_i32x4::<0xdd>(quarters[0], quarters[1]);
        let even_below = _mm512_shuffle_i32x4::<0x88>(quarters[2], quarters[3]);
        let odd_below = _mm512_shuffle_i32x4::<0xdd>(quarters[2], quarters[3]);
        columns[at] = _mm512_shuffle_i32x4::<0x88>(even, even_below);
        columns[4 + at] = _mm512_shuffle_i32x4::<0x88>(odd, odd_below);
        columns[8 + at] = _mm512_shuffle_i32x4::<0xdd>(even, even_below);
        columns[12 + at] = _mm512_shuffle_i32x4::<0xdd>(odd, odd_below);
    }
    columns
}
