//! Products of matrices whose numbers are rounded to bfloat16, by the tile registers of AMX.
//!
//! A tile is 16 rows of 64 bytes. One instruction multiplies a tile of 16 lines with 32 numbers each by one
//! of 16 lines that lies the other way, and adds the result to a tile of 16 times 16 sums in float32. The
//! instructions of the standard library for it are not stable yet, so they are written out; the crates for
//! matrix products have none.
//!
//! Every sum runs over its numbers in their order, whatever is computed beside it.

mod pack;

use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, _xgetbv};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use rayon::prelude::*;

use super::bfloat16::{Side, Start};
use super::matrix::{Place, Threads};

/// Lines that lie together.
const LINES: usize = 16;

/// Numbers of each of them that lie together.
const DEPTH: usize = 32;

/// Blocks of lines that a thread packs at a time, where threads share the work.
const BLOCKS: usize = 4;

/// A row of a tile: 16 pairs of numbers, the earlier one in the lower half.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Row(#[expect(dead_code, reason = "rows are written and read by their address")] [u32; 16]);

/// A matrix in tiles, rounded to bfloat16 (the nearest number, the even one of two; numbers too small
/// to be normal are 0). Tiles along the lines follow each other; what is missing in the last one of a
/// line is 0.
#[derive(Clone, Debug)]
pub(super) struct Tiles {
    side: Side,
    lines: usize,
    depth: usize,
    rows: Vec<Row>,
}

impl Tiles {
    /// No lines yet; nothing where the processor or the system has no such registers.
    pub(super) fn new(side: Side) -> Option<Self> {
        available().then(|| Self {
            side,
            lines: 0,
            depth: 0,
            rows: Vec::new(),
        })
    }

    /// Takes up `values`, whose lines are the rows of `from`, in place of what was there.
    ///
    /// # Panics
    ///
    /// When the matrix is empty, reaches beyond its slice, or has a stride in both directions.
    pub(super) fn fill(&mut self, values: &[f32], from: Place, threads: Threads) {
        from.check(values.len());
        (self.lines, self.depth) = (from.rows, from.columns);
        let block = self.deep() * LINES;
        let count = self.lines.div_ceil(LINES) * block;
        self.rows.clear();
        self.rows.reserve(count);
        let rows = &mut self.rows.spare_capacity_mut()[..count];
        let part = |at: usize, rows: &mut [MaybeUninit<Row>]| {
            let first = at * BLOCKS * LINES;
            let lines = (from.rows - first).min(rows.len() / block * LINES);
            let part = Place {
                first: from.first + first * from.row_stride,
                rows: lines,
                ..from
            };
            // SAFETY: tiles are made only where `available` found the instructions.
            unsafe { pack::pack(rows, values, part, self.side) };
        };
        match threads {
            Threads::This => rows
                .chunks_mut(BLOCKS * block)
                .enumerate()
                .for_each(|(at, rows)| part(at, rows)),
            Threads::Pool => rows
                .par_chunks_mut(BLOCKS * block)
                .enumerate()
                .for_each(|(at, rows)| part(at, rows)),
        }
        // SAFETY: there is room for them, and every part has written all of its rows.
        unsafe { self.rows.set_len(count) };
    }

    /// Tiles along a line.
    const fn deep(&self) -> usize {
        self.depth.div_ceil(DEPTH)
    }

    /// The rows of the tiles from this line on, the first of a block.
    fn from(&self, line: usize) -> *const Row {
        self.rows[line * self.deep()..].as_ptr()
    }
}

/// Writes `start` plus lines of `left`, from the given one on, times `right` to `output`, on this thread.
///
/// # Panics
///
/// When the matrices do not fit each other, or `to` reaches beyond its slice.
pub(super) fn write(
    output: &mut [f32],
    to: Place,
    start: Start<'_>,
    left: (&Tiles, usize),
    right: &Tiles,
) {
    to.check(output.len());
    // SAFETY: all of `to` is inside of the output, which is borrowed exclusively.
    unsafe { multiply(output.as_mut_ptr(), to, start, left, right) };
}

/// `row` in every row, or 0, plus `rows` lines of `left`, from the given one on, times `right`, row by row,
/// on this thread.
///
/// # Panics
///
/// When the matrices do not fit each other.
pub(super) fn new(
    row: Option<&[f32]>,
    left: (&Tiles, usize),
    rows: usize,
    right: &Tiles,
) -> Vec<f32> {
    let to = Place::new(0, rows, right.lines, right.lines);
    let count = rows * right.lines;
    let mut output: Vec<f32> = Vec::with_capacity(count);
    let start = row.map_or(Start::Zero, Start::Row);
    // SAFETY: `to` are exactly the first `count` elements, for which there is room; they are not read,
    // and all of them are written before the length says so.
    unsafe {
        multiply(output.as_mut_ptr(), to, start, left, right);
        output.set_len(count);
    }
    output
}

/// Whether the processor has the instructions, and the system lets this process use them: asked once,
/// for all of its threads.
fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| processor_has_tiles() && system_allows_tiles())
}

/// AMX with bfloat16, AVX-512 to pack for it, and a system that saves the registers.
fn processor_has_tiles() -> bool {
    /// Of leaf 7, register EDX.
    const INSTRUCTIONS: u32 = (1 << 22) | (1 << 24);
    /// The configuration of the tiles, and what is in them.
    const STATE: u64 = (1 << 17) | (1 << 18);

    #[target_feature(enable = "xsave")]
    fn saved() -> u64 {
        // SAFETY: register 0 is there wherever the instruction is.
        unsafe { _xgetbv(0) }
    }
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16")
        && is_x86_feature_detected!("xsave")
        && __cpuid_count(7, 0).edx & INSTRUCTIONS == INSTRUCTIONS
        // SAFETY: the instruction is there, as was asked before.
        && unsafe { saved() } & STATE == STATE
}

/// Asks the system for the registers, which it makes room for when a thread uses them.
fn system_allows_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and touches no memory of ours; an old system refuses it.
    unsafe {
        libc::syscall(
            libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILEDATA,
        ) == 0
    }
}

/// What `ldtilecfg` reads: the sizes of the eight registers.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

/// Lines of the two blocks on either side; a second block may have none.
///
/// Registers 0 to 3 have the sums, 4 and 5 the left blocks, 6 and 7 the right ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    left: [u8; 2],
    right: [u8; 2],
}

impl Shape {
    fn new(left: usize, right: usize) -> Self {
        let blocks = |lines: usize| [lines.min(LINES) as u8, lines.saturating_sub(LINES) as u8];
        Self {
            left: blocks(left),
            right: blocks(right),
        }
    }

    fn configuration(self) -> Configuration {
        let mut configuration = Configuration {
            palette: 1,
            ..Configuration::default()
        };
        let mut set = |register: usize, rows: u8, numbers: u8| {
            // A register without rows must be without columns, and the other way round.
            if rows > 0 && numbers > 0 {
                configuration.rows[register] = rows;
                configuration.bytes[register] = 4 * u16::from(numbers);
            }
        };
        for (at, rows) in self.left.into_iter().enumerate() {
            for (beside, columns) in self.right.into_iter().enumerate() {
                set(2 * at + beside, rows, columns);
            }
            set(4 + at, rows, 16);
        }
        for (at, columns) in self.right.into_iter().enumerate() {
            set(6 + at, 16, columns);
        }
        configuration
    }
}

/// Up to two times two blocks of a product.
#[derive(Clone, Copy, Debug)]
struct Block {
    output: *mut f32,
    /// Bytes from row to row.
    stride: usize,
    /// What it is added to; nothing, if null.
    start: *const f32,
    /// Bytes from row to row.
    start_stride: usize,
    left: [*const Row; 2],
    right: [*const Row; 2],
    /// Tiles along the lines.
    deep: usize,
}

/// A kernel for one number of blocks: how sums begin, what is done for every tile along the lines, how
/// sums are written.
macro_rules! kernel {
    ($name:ident, zero: $zero:literal, load: $load:literal, step: $step:literal, store: $store:literal) => {
        /// # Safety
        ///
        /// The registers must have the sizes of the block, and all that it points to must be there: rows
        /// of tiles to read, the output to write, and what it starts with, which may be the output.
        unsafe fn $name(block: Block) {
            // SAFETY: the caller answers for what is read and written. Nothing but these functions uses
            // the registers, which keep their sizes from `configure` on.
            unsafe {
                asm!(
                    "test {start0}, {start0}",
                    "jz 3f",
                    $load,
                    "jmp 2f",
                    "3:",
                    $zero,
                    "2:",
                    $step,
                    "add {left0}, 1024",
                    "add {left1}, 1024",
                    "add {right0}, 1024",
                    "add {right1}, 1024",
                    "dec {deep}",
                    "jnz 2b",
                    $store,
                    start0 = in(reg) block.start,
                    start1 = in(reg) block.start.wrapping_byte_add(LINES * block.start_stride),
                    start_stride = in(reg) block.start_stride,
                    left0 = inout(reg) block.left[0] => _,
                    left1 = inout(reg) block.left[1] => _,
                    right0 = inout(reg) block.right[0] => _,
                    right1 = inout(reg) block.right[1] => _,
                    row = in(reg) size_of::<Row>(),
                    deep = inout(reg) block.deep => _,
                    output0 = in(reg) block.output,
                    output1 = in(reg) block.output.wrapping_byte_add(LINES * block.stride),
                    stride = in(reg) block.stride,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

kernel!(
    two_by_two,
    zero: "tilezero tmm0
        tilezero tmm1
        tilezero tmm2
        tilezero tmm3",
    load: "tileloadd tmm0, [{start0} + {start_stride}]
        tileloadd tmm1, [{start0} + {start_stride} + 64]
        tileloadd tmm2, [{start1} + {start_stride}]
        tileloadd tmm3, [{start1} + {start_stride} + 64]",
    step: "tileloadd tmm6, [{right0} + {row}]
        tileloadd tmm4, [{left0} + {row}]
        tdpbf16ps tmm0, tmm4, tmm6
        tileloadd tmm7, [{right1} + {row}]
        tdpbf16ps tmm1, tmm4, tmm7
        tileloadd tmm5, [{left1} + {row}]
        tdpbf16ps tmm2, tmm5, tmm6
        tdpbf16ps tmm3, tmm5, tmm7",
    store: "tilestored [{output0} + {stride}], tmm0
        tilestored [{output0} + {stride} + 64], tmm1
        tilestored [{output1} + {stride}], tmm2
        tilestored [{output1} + {stride} + 64], tmm3"
);

kernel!(
    one_by_two,
    zero: "tilezero tmm0
        tilezero tmm1",
    load: "tileloadd tmm0, [{start0} + {start_stride}]
        tileloadd tmm1, [{start0} + {start_stride} + 64]
        /* {start1} */",
    step: "tileloadd tmm6, [{right0} + {row}]
        tileloadd tmm4, [{left0} + {row}]
        tdpbf16ps tmm0, tmm4, tmm6
        tileloadd tmm7, [{right1} + {row}]
        tdpbf16ps tmm1, tmm4, tmm7",
    store: "tilestored [{output0} + {stride}], tmm0
        tilestored [{output0} + {stride} + 64], tmm1
        /* {output1} */"
);

kernel!(
    two_by_one,
    zero: "tilezero tmm0
        tilezero tmm2",
    load: "tileloadd tmm0, [{start0} + {start_stride}]
        tileloadd tmm2, [{start1} + {start_stride}]",
    step: "tileloadd tmm6, [{right0} + {row}]
        tileloadd tmm4, [{left0} + {row}]
        tdpbf16ps tmm0, tmm4, tmm6
        tileloadd tmm5, [{left1} + {row}]
        tdpbf16ps tmm2, tmm5, tmm6",
    store: "tilestored [{output0} + {stride}], tmm0
        tilestored [{output1} + {stride}], tmm2"
);

kernel!(
    one_by_one,
    zero: "tilezero tmm0",
    load: "tileloadd tmm0, [{start0} + {start_stride}]
        /* {start1} */",
    step: "tileloadd tmm6, [{right0} + {row}]
        tileloadd tmm4, [{left0} + {row}]
        tdpbf16ps tmm0, tmm4, tmm6",
    store: "tilestored [{output0} + {stride}], tmm0
        /* {output1} */"
);

/// Gives the registers their sizes.
///
/// # Safety
///
/// Tiles must be available.
unsafe fn configure(shape: Shape) {
    let configuration = shape.configuration();
    // SAFETY: the instruction is there and reads 64 bytes. The sizes are at most 16 rows of 64 bytes.
    unsafe {
        asm!(
            "ldtilecfg [{}]",
            in(reg) &raw const configuration,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, readonly, preserves_flags),
        );
    }
}

/// Empties the registers, so that the system need not save them when it stops the thread.
///
/// # Safety
///
/// Tiles must be available.
unsafe fn release() {
    // SAFETY: the instruction is there.
    unsafe {
        asm!(
            "tilerelease",
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, nomem, preserves_flags),
        );
    }
}

/// Writes `start` plus lines of `left`, from the given one on, times `right`.
///
/// # Safety
///
/// All of `to` must lie inside of the allocation that `output` begins, and nobody else may use it. It must
/// be initialised if the product is added to it.
unsafe fn multiply(
    output: *mut f32,
    to: Place,
    start: Start<'_>,
    (left, first): (&Tiles, usize),
    right: &Tiles,
) {
    assert_eq!((left.side, right.side), (Side::Left, Side::Right), "sides");
    assert_eq!(
        (left.depth, right.lines),
        (right.depth, to.columns),
        "matrices do not fit"
    );
    assert!(
        first.is_multiple_of(LINES) && first + to.rows <= left.lines,
        "no such lines"
    );
    assert!(
        to.column_stride == 1 && (to.row_stride >= to.columns || to.rows == 1),
        "rows of the output lie apart"
    );
    if let Start::Row(row) = start {
        assert_eq!(row.len(), to.columns, "a row of another length");
    }
    let deep = left.deep();
    let mut configured = None;
    // Pairs of whole blocks first, so that the sizes of the registers seldom change.
    let even = to.rows - to.rows % (2 * LINES);
    for rows in [0..even, even..to.rows] {
        for column in (0..to.columns).step_by(2 * LINES) {
            let wide = (to.columns - column).min(2 * LINES);
            for row in rows.clone().step_by(2 * LINES) {
                let high = (rows.end - row).min(2 * LINES);
                let shape = Shape::new(high, wide);
                if configured != Some(shape) {
                    // SAFETY: there are tiles, so they are available.
                    unsafe { configure(shape) };
                    configured = Some(shape);
                }
                let output = output.wrapping_add(to.first + row * to.row_stride + column);
                let (start, start_stride) = match start {
                    Start::Zero => (ptr::null(), 0),
                    Start::Output => (output.cast_const(), to.row_stride),
                    Start::Row(row) => (row[column..].as_ptr(), 0),
                };
                let two = |tiles: *const Row| [tiles, tiles.wrapping_add(deep * LINES)];
                let block = Block {
                    output,
                    stride: to.row_stride * size_of::<f32>(),
                    start,
                    start_stride: start_stride * size_of::<f32>(),
                    left: two(left.from(first + row)),
                    right: two(right.from(column)),
                    deep,
                };
                // SAFETY: the registers have the sizes of this block, which are those of the output that is
                // left; both sides have rows for all lines there, `deep` tiles along each, as `fill` made
                // them; and a second block is touched only where there are lines for it.
                unsafe {
                    match (high > LINES, wide > LINES) {
                        (true, true) => two_by_two(block),
                        (false, true) => one_by_two(block),
                        (true, false) => two_by_one(block),
                        (false, false) => one_by_one(block),
                    }
                }
            }
        }
    }
    // SAFETY: there are tiles, so they are available.
    unsafe { release() };
}
