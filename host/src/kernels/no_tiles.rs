//! Where there are no tile registers: no product has tiles, and so none is multiplied.

use super::bfloat16::{Side, Start};
use super::matrix::{Place, Threads};

/// There are none.
#[derive(Clone, Debug)]
pub(super) enum Tiles {}

impl Tiles {
    /// Nothing.
    pub(super) const fn new(_side: Side) -> Option<Self> {
        None
    }

    /// Cannot be called, for want of tiles.
    pub(super) const fn fill(&mut self, _values: &[f32], _from: Place, _threads: Threads) {
        match *self {}
    }
}

/// Cannot be called, for want of tiles.
pub(super) const fn write(
    _output: &mut [f32],
    _to: Place,
    _start: Start<'_>,
    (left, _first): (&Tiles, usize),
    _right: &Tiles,
) {
    match *left {}
}

/// Cannot be called, for want of tiles.
pub(super) const fn new(
    _row: Option<&[f32]>,
    (left, _first): (&Tiles, usize),
    _rows: usize,
    _right: &Tiles,
) -> Vec<f32> {
    match *left {}
}
