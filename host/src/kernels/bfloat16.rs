//! Products of matrices whose numbers are rounded to bfloat16 before; sums and results are float32.
//!
//! Where the processor multiplies bfloat16 by itself (`tiles`), it does. Elsewhere the rounded numbers are
//! multiplied as float32: the same products, added up in another order.

use rayon::prelude::*;

use super::count;
use super::matrix::{self, Place, Threads};
use super::tiles::{self, Tiles};

/// Rows of an output that one thread takes at a time, where threads share the work.
const ROWS: usize = 64;

/// On which side of a product a matrix stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Its rows are lines: each is multiplied with every line of the other side.
    Left,
    /// Its columns are lines.
    Right,
}

/// What a product is added to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start<'a> {
    /// Nothing.
    Zero,
    /// What stands in the output.
    Output,
    /// The same numbers in every row.
    Row(&'a [f32]),
}

/// A matrix for one side of products.
#[derive(Clone, Debug)]
pub(super) struct Rounded {
    lines: usize,
    depth: usize,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Tiles(Tiles),
    /// `[lines, depth]`.
    Numbers(Vec<f32>),
}

impl Rounded {
    /// A matrix without numbers, to be filled.
    pub(super) fn new(side: Side) -> Self {
        Self {
            lines: 0,
            depth: 0,
            form: match Tiles::new(side) {
                Some(tiles) => Form::Tiles(tiles),
                None => Form::Numbers(Vec::new()),
            },
        }
    }

    /// A matrix for the left side.
    ///
    /// # Panics
    ///
    /// When it is empty, or reaches beyond its slice.
    pub(super) fn left((values, place): (&[f32], Place), threads: Threads) -> Self {
        let mut left = Self::new(Side::Left);
        left.fill(values, place, threads);
        left
    }

    /// A matrix for the right side.
    ///
    /// # Panics
    ///
    /// When it is empty, or reaches beyond its slice.
    pub(super) fn right((values, place): (&[f32], Place), threads: Threads) -> Self {
        let mut right = Self::new(Side::Right);
        right.fill(values, place.transposed(), threads);
        right
    }

    /// Takes up other values, whose lines are the rows of `from`.
    fn fill(&mut self, values: &[f32], from: Place, threads: Threads) {
        (self.lines, self.depth) = (from.rows, from.columns);
        match &mut self.form {
            Form::Tiles(tiles) => tiles.fill(values, from, threads),
            Form::Numbers(numbers) => {
                from.check(values.len());
                numbers.clear();
                numbers.reserve(from.rows * from.columns);
                for line in 0..from.rows {
                    let first = from.first + line * from.row_stride;
                    let line = values[first..].iter().step_by(from.column_stride);
                    numbers.extend(line.take(from.columns).copied().map(rounded));
                }
            }
        }
    }

    fn numbers(&self, first: usize, lines: usize) -> Place {
        Place::new(first * self.depth, lines, self.depth, self.depth)
    }
}

/// The nearest bfloat16 number, the even one of two; what is not a number stays so.
fn rounded(value: f32) -> f32 {
    /// The bits that float32 has more.
    const MORE: u32 = 16;
    if value.is_nan() {
        return value;
    }
    let bits = value.to_bits();
    let even = (bits >> MORE) & 1;
    f32::from_bits((bits + (1 << (MORE - 1)) - 1 + even) & (u32::MAX << MORE))
}

/// Writes `start` plus the lines of `left` from `first` on, as many as `to` has rows, times `right` to
/// `output`. The first line is a multiple of 16.
///
/// # Panics
///
/// When the matrices do not fit each other, `to` reaches beyond its slice, or rows of it lie in each other.
pub(super) fn write(
    (output, to): (&mut [f32], Place),
    start: Start<'_>,
    (left, first): (&Rounded, usize),
    right: &Rounded,
    threads: Threads,
) {
    match (&left.form, &right.form) {
        (Form::Tiles(one), Form::Tiles(other)) => {
            count::add(to.rows, left.depth, to.columns);
            if threads == Threads::This || to.rows <= ROWS {
                tiles::write(output, to, start, (one, first), other);
                return;
            }
            to.check(output.len());
            output[to.first..]
                .par_chunks_mut(ROWS * to.row_stride)
                .take(to.rows.div_ceil(ROWS))
                .enumerate()
                .for_each(|(at, output)| {
                    let rows = (to.rows - at * ROWS).min(ROWS);
                    let part = Place {
                        first: 0,
                        rows,
                        ..to
                    };
                    tiles::write(output, part, start, (one, first + at * ROWS), other);
                });
        }
        (Form::Numbers(one), Form::Numbers(other)) => {
            let of = (one.as_slice(), left.numbers(first, to.rows));
            let by = right.numbers(0, right.lines).transposed();
            match start {
                Start::Zero => matrix::product((output, to), 1.0, of, (other, by)),
                Start::Output => matrix::add_product((output, to), of, (other, by), threads),
                Start::Row(row) => {
                    for line in output[to.first..].chunks_mut(to.row_stride).take(to.rows) {
                        line[..to.columns].copy_from_slice(row);
                    }
                    matrix::add_product((output, to), of, (other, by), threads);
                }
            }
        }
        _ => unreachable!("all matrices of a process have one form"),
    }
}

/// `row` in every row, or 0, plus `left` times `right`, row by row.
///
/// # Panics
///
/// When the matrices do not fit each other.
pub(super) fn new(
    row: Option<&[f32]>,
    left: &Rounded,
    right: &Rounded,
    threads: Threads,
) -> Vec<f32> {
    match (&left.form, &right.form, threads) {
        (Form::Tiles(one), Form::Tiles(other), Threads::This) => {
            count::add(left.lines, left.depth, right.lines);
            tiles::new(row, (one, 0), left.lines, other)
        }
        _ => {
            let to = Place::new(0, left.lines, right.lines, right.lines);
            let mut output = vec![0.0; to.rows * to.columns];
            let start = row.map_or(Start::Output, Start::Row);
            write((&mut output, to), start, (left, 0), right, threads);
            output
        }
    }
}

/// Products one after the other, with room for their operands.
#[derive(Debug)]
pub(super) struct Room {
    left: Rounded,
    right: Rounded,
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            left: Rounded::new(Side::Left),
            right: Rounded::new(Side::Right),
        }
    }

    /// Writes `scale` times `left` times `right` to `output`, on this thread.
    ///
    /// # Panics
    ///
    /// As [`write`] does.
    pub(super) fn product(
        &mut self,
        (output, to): (&mut [f32], Place),
        scale: f32,
        (left, of): (&[f32], Place),
        (right, by): (&[f32], Place),
    ) {
        self.left.fill(left, of, Threads::This);
        self.right.fill(right, by.transposed(), Threads::This);
        write(
            (&mut *output, to),
            Start::Zero,
            (&self.left, 0),
            &self.right,
            Threads::This,
        );
        if scale != 1.0 {
            for row in output[to.first..].chunks_mut(to.row_stride).take(to.rows) {
                for value in &mut row[..to.columns] {
                    *value *= scale;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
