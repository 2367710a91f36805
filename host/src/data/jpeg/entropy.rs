//! Coefficients out of Huffman codes.

use std::cell::RefCell;
use std::rc::Rc;

use super::header::{Codes, Header};
use super::samples::Coefficients;

/// Bits that are looked up at once.
const LOOKED_UP: u32 = 11;
const SIZE: usize = 1 << LOOKED_UP;

/// Lookups for which the bits that are read at once are enough.
const AT_ONCE: u32 = 56 / LOOKED_UP;

/// Places in the order of the file up to which a lookup can lead: beyond a block by two runs.
const PLACES: usize = 128;

/// Where the coefficients of a file belong: rows, columns innermost. What lies beyond a block belongs
/// behind it.
pub(super) const ORDER: [u8; PLACES] = {
    const BLOCK: [u8; 64] = [
        0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27,
        20, 13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
        58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
    ];
    let mut order = [64; PLACES];
    let mut place = 0;
    while place < 64 {
        order[place] = BLOCK[place];
        place += 1;
    }
    order
};

/// Added to how far a lookup leads where it ends the block.
const END: u8 = 128;

/// How far a lookup leads that finds nothing: beyond every block, and to no end.
const NOWHERE: u8 = 64;

/// What some bits begin with: up to two coefficients, and the end of the block if it follows them.
#[derive(Clone, Copy)]
struct Entry {
    /// The numbers that follow the codes; 0 for the second if there is only one.
    values: [i16; 2],
    /// How many places after the current one they belong.
    steps: [u8; 2],
    /// Places up to the next coefficient, with [`END`] where none follows; [`NOWHERE`] where the bits
    /// hold no whole code, or not all of its number.
    advance: u8,
    /// Bits of all.
    bits: u8,
}

/// What some bits begin with, as far as it takes to pass over it: as many coefficients as are in them.
#[derive(Clone, Copy)]
struct Passed {
    /// As of an [`Entry`].
    advance: u8,
    bits: u8,
}

/// Codes, made for finding them.
struct Lookup {
    entries: Box<[Entry; SIZE]>,
    passed: Box<[Passed; SIZE]>,
    /// The symbol and the length of the code that some bits begin with; a length of 0 is none.
    symbols: Vec<(u8, u8)>,
    /// For each length, the code after the last one, and what leads from a code to its symbol.
    ends: [(i32, i32); 17],
    of_symbols: Vec<u8>,
}

impl Lookup {
    fn new(codes: &Codes, first: bool) -> Option<Self> {
        let mut symbols = vec![(0, 0); SIZE];
        let mut ends = [(0, 0); 17];
        let (mut code, mut index) = (0_u32, 0);
        for (length, count) in (1_u32..).zip(codes.counts) {
            ends[length as usize].1 = index as i32 - code as i32;
            for _ in 0..count {
                let symbol = codes.symbols[index];
                // More codes than there can be, or numbers of more bits than there can be.
                if code >> length != 0
                    || symbol & 15 > if first { 11 } else { 10 }
                    || first && symbol > 15
                {
                    return None;
                }
                if length <= LOOKED_UP {
                    let begin = (code << (LOOKED_UP - length)) as usize;
                    let many = 1 << (LOOKED_UP - length);
                    symbols[begin..begin + many].fill((symbol, length as u8));
                }
                code += 1;
                index += 1;
            }
            ends[length as usize].0 = code as i32;
            code <<= 1;
        }
        let singles: Vec<Entry> = (0_u32..)
            .zip(&symbols)
            .map(|(bits, (symbol, length))| single(bits, *symbol, u32::from(*length), first))
            .collect();
        // Bits that are not known are zeros, and no part of an entry that counts.
        let after = |bits: usize, used: u8| {
            let next = singles[(bits << used) & (SIZE - 1)];
            let whole = next.advance != NOWHERE && u32::from(used + next.bits) <= LOOKED_UP;
            whole.then_some(next)
        };
        let together = |bits: usize| {
            let mut entry = singles[bits];
            // A second coefficient, and the end after one or two.
            for second in [true, false] {
                if first || entry.advance >= NOWHERE {
                    break;
                }
                match after(bits, entry.bits) {
                    Some(next) if next.advance == END || second => {
                        if next.advance != END {
                            entry.values[1] = next.values[0];
                            entry.steps[1] = entry.advance + next.steps[0];
                        }
                        entry.advance += next.advance;
                        entry.bits += next.bits;
                    }
                    _ => break,
                }
            }
            entry
        };
        let passed = |bits: usize| {
            // First coefficients are not passed over.
            if first {
                let (advance, bits) = (NOWHERE, 0);
                return Passed { advance, bits };
            }
            let Entry {
                mut advance,
                bits: mut used,
                ..
            } = singles[bits];
            // Then there is room for one more.
            while advance < NOWHERE - 16
                && let Some(next) = after(bits, used)
            {
                advance += next.advance;
                used += next.bits;
            }
            Passed {
                advance,
                bits: used,
            }
        };
        Some(Self {
            entries: Box::new(std::array::from_fn(together)),
            passed: Box::new(std::array::from_fn(passed)),
            symbols,
            ends,
            of_symbols: codes.symbols.clone(),
        })
    }

    /// The same, kept from file to file, of which most have the same codes.
    fn kept(codes: &Codes, first: bool) -> Option<Rc<Self>> {
        type Kept = (Codes, bool, Rc<Lookup>);
        /// Those of luminance and colours, of two kinds of files.
        const MOST: usize = 8;
        thread_local! {
            static KEPT: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
        }
        KEPT.with_borrow_mut(|kept| {
            let found = kept
                .iter()
                .find(|(of, of_first, _)| of == codes && *of_first == first);
            if let Some((.., lookup)) = found {
                return Some(Rc::clone(lookup));
            }
            let lookup = Rc::new(Self::new(codes, first)?);
            kept.truncate(MOST - 1);
            kept.insert(0, (codes.clone(), first, Rc::clone(&lookup)));
            Some(lookup)
        })
    }

    /// The symbol of the code that these bits begin with, and its length.
    #[inline(never)]
    fn symbol(&self, bits: u64) -> Option<(u8, u32)> {
        let (symbol, length) = self.symbols[(bits >> (64 - LOOKED_UP)) as usize];
        if length > 0 {
            return Some((symbol, u32::from(length)));
        }
        (LOOKED_UP + 1..=16).find_map(|length| {
            let code = (bits >> (64 - length)) as i32;
            let (end, offset) = self.ends[length as usize];
            let index = usize::try_from(code + offset).ok()?;
            let symbol = *self.of_symbols.get(index)?;
            (code < end).then_some((symbol, length))
        })
    }

    /// Zeros before the next coefficient, and the coefficient, or the end of the block.
    #[inline(always)]
    fn next(&self, bits: &mut Bits) -> Option<Option<(usize, i16)>> {
        let (symbol, length) = self.symbol(bits.bits)?;
        bits.skip(length);
        match symbol {
            0 => return Some(None),
            0xf0 => {}
            _ if symbol & 15 == 0 => return None,
            _ => {}
        }
        let value = bits.number(u32::from(symbol & 15));
        Some(Some((usize::from(symbol >> 4), value)))
    }
}

/// The one coefficient that some bits begin with, or the end, where this is their first symbol.
fn single(bits: u32, symbol: u8, length: u32, first: bool) -> Entry {
    let (run, size) = (symbol >> 4, symbol & 15);
    let whole = length + u32::from(size);
    let nothing = length == 0 || whole > LOOKED_UP;
    let advance = match (first, symbol) {
        _ if nothing => NOWHERE,
        (true, _) => 1,
        // The end of the block.
        (false, 0) => END,
        // An end in another process.
        (false, _) if size == 0 && symbol != 0xf0 => NOWHERE,
        (false, _) => run + 1,
    };
    if advance == NOWHERE {
        return Entry {
            values: [0; 2],
            steps: [0; 2],
            advance,
            bits: 0,
        };
    }
    let number = (bits >> (LOOKED_UP - whole)) & ((1 << size) - 1);
    Entry {
        values: [extended(number, u32::from(size)), 0],
        steps: [run, run + 1],
        advance,
        bits: whole as u8,
    }
}

/// The number that is written in so many bits.
fn extended(bits: u32, size: u32) -> i16 {
    if size == 0 {
        return 0;
    }
    let negative = bits >> (size - 1) == 0;
    (bits as i32 - if negative { (1 << size) - 1 } else { 0 }) as i16
}

/// How many bytes there are before the first of a marker. Most are passed some at a time.
fn without_marker(bytes: &[u8]) -> Option<usize> {
    let mut passed = 0;
    for chunk in bytes.as_chunks::<32>().0 {
        let mut found = false;
        for byte in chunk {
            found |= *byte == 0xff;
        }
        if found {
            break;
        }
        passed += chunk.len();
    }
    let place = bytes[passed..].iter().position(|byte| *byte == 0xff)?;
    Some(passed + place)
}

/// The scan on its way.
pub(super) struct Entropy<'a> {
    /// What is left of the file, from the codes that come next on.
    rest: &'a [u8],
    /// Codes up to the next marker without what is stuffed between them, and zeros after them.
    codes: Vec<u8>,
    /// Bytes of it that are codes.
    length: usize,
    bits: Bits,
    /// For the first and the other coefficients of each component.
    lookups: Vec<[Rc<Lookup>; 2]>,
    /// The first coefficient of the last block of every component.
    levels: Vec<i32>,
    restart: usize,
    /// Units until the codes begin anew.
    left: usize,
    /// The number of the marker that is due then.
    marker: u8,
}

/// Zeros after the codes: what is read at most before it is seen that they have ended.
const PADDING: usize = 1024;

impl<'a> Entropy<'a> {
    pub(super) fn new(header: &Header, scan: &'a [u8]) -> Option<Self> {
        let lookups: Option<Vec<_>> = header
            .components
            .iter()
            .map(|component| {
                let first = Lookup::kept(&component.first_codes, true)?;
                Some([first, Lookup::kept(&component.other_codes, false)?])
            })
            .collect();
        let mut entropy = Self {
            rest: scan,
            codes: Vec::new(),
            length: 0,
            bits: Bits::default(),
            lookups: lookups?,
            levels: vec![0; header.components.len()],
            restart: header.restart,
            left: header.restart,
            marker: 0,
        };
        entropy.take_codes()?;
        Some(entropy)
    }

    /// Takes the codes up to the next marker.
    fn take_codes(&mut self) -> Option<()> {
        self.codes.clear();
        self.codes.reserve(self.rest.len() + PADDING);
        loop {
            let end = without_marker(self.rest)?;
            self.codes.extend_from_slice(&self.rest[..end]);
            self.rest = &self.rest[end..];
            if *self.rest.get(1)? != 0 {
                break;
            }
            self.codes.push(0xff);
            self.rest = &self.rest[2..];
        }
        self.length = self.codes.len();
        self.codes.resize(self.length + PADDING, 0);
        self.bits = Bits::default();
        self.levels.fill(0);
        Some(())
    }

    /// Before every unit: where the codes begin anew, the marker has to be there.
    pub(super) fn begin_unit(&mut self) -> Option<()> {
        if self.restart == 0 {
            return Some(());
        }
        if self.left == 0 {
            self.check_used()?;
            let [0xff, marker, rest @ ..] = self.rest else {
                return None;
            };
            if *marker != 0xd0 + self.marker {
                return None;
            }
            self.rest = rest;
            self.marker = (self.marker + 1) % 8;
            self.left = self.restart;
            self.take_codes()?;
        }
        self.left -= 1;
        Some(())
    }

    /// After the last unit: the end of the file has to be there.
    pub(super) fn end(&self) -> Option<()> {
        self.check_used()?;
        matches!(self.rest, [0xff, 0xd9, ..]).then_some(())
    }

    /// No codes may be left, nor may more have been read than there were.
    fn check_used(&self) -> Option<()> {
        let read = 8 * self.bits.next - self.bits.count as usize;
        let there = 8 * self.length;
        (read <= there && there - read < 8).then_some(())
    }

    /// The coefficients of the next block, which come to zeros in a lane and are not multiplied yet;
    /// answers whether there is only the first.
    #[inline(always)]
    pub(super) fn block(
        &mut self,
        index: usize,
        coefficients: &mut Coefficients,
        lane: usize,
    ) -> Option<bool> {
        let mut bits = self.bits;
        coefficients[0][lane] = self.level(index, &mut bits)?;
        let others = &*self.lookups[index][1];
        let (entries, codes) = (&*others.entries, &*self.codes);
        let mut place = 1;
        'block: while place < 64 {
            bits.fill(codes)?;
            for _ in 0..AT_ONCE {
                let entry = entries[bits.looked_up()];
                // What is not there is a zero on zeros.
                for one in 0..2 {
                    let place = place + usize::from(entry.steps[one]);
                    coefficients[usize::from(ORDER[place % PLACES])][lane] = entry.values[one];
                }
                let next = place + usize::from(entry.advance);
                if next < 64 {
                    bits.skip(u32::from(entry.bits));
                    place = next;
                } else if let Some(end) = end(next) {
                    bits.skip(u32::from(entry.bits));
                    place = end;
                    break 'block;
                } else {
                    bits.fill(codes)?;
                    let Some((run, value)) = others.next(&mut bits)? else {
                        break 'block;
                    };
                    place += run;
                    if place >= 64 {
                        return None;
                    }
                    coefficients[usize::from(ORDER[place])][lane] = value;
                    place += 1;
                    break;
                }
            }
        }
        self.bits = bits;
        Some(place == 1)
    }

    /// Passes over the next block.
    #[inline(always)]
    pub(super) fn pass(&mut self, index: usize) -> Option<()> {
        let mut bits = self.bits;
        self.level(index, &mut bits)?;
        let others = &*self.lookups[index][1];
        let (all_passed, codes) = (&*others.passed, &*self.codes);
        let mut place = 1;
        'block: while place < 64 {
            bits.fill(codes)?;
            for _ in 0..AT_ONCE {
                let passed = all_passed[bits.looked_up()];
                let next = place + usize::from(passed.advance);
                if next < 64 {
                    bits.skip(u32::from(passed.bits));
                    place = next;
                } else if end(next).is_some() {
                    bits.skip(u32::from(passed.bits));
                    break 'block;
                } else {
                    bits.fill(codes)?;
                    let Some((run, _)) = others.next(&mut bits)? else {
                        break 'block;
                    };
                    place += run + 1;
                    if place > 64 {
                        return None;
                    }
                    break;
                }
            }
        }
        self.bits = bits;
        Some(())
    }

    /// The first coefficient of the next block, before it is multiplied.
    #[inline(always)]
    fn level(&mut self, index: usize, bits: &mut Bits) -> Option<i16> {
        let first = &self.lookups[index][0];
        bits.fill(&self.codes)?;
        let entry = first.entries[bits.looked_up()];
        let difference = if entry.bits > 0 {
            bits.skip(u32::from(entry.bits));
            entry.values[0]
        } else {
            let (size, length) = first.symbol(bits.bits)?;
            bits.skip(length);
            bits.number(u32::from(size))
        };
        let level = self.levels[index] + i32::from(difference);
        // More than eight bits can make.
        if !(-2048..2048).contains(&level) {
            return None;
        }
        self.levels[index] = level;
        Some(level as i16)
    }
}

/// Where the block ends, if a lookup has led to its last place or to an end that is in it.
#[inline(always)]
fn end(next: usize) -> Option<usize> {
    const END_OF_FIRST: usize = END as usize;
    match next {
        64 => Some(64),
        END_OF_FIRST.. if next < END_OF_FIRST + 64 => Some(next - END_OF_FIRST),
        _ => None,
    }
}

/// The next bits.
#[derive(Clone, Copy, Default)]
struct Bits {
    /// The byte of the codes that is read next.
    next: usize,
    /// Bits that were read, the next one on top, and how many there are.
    bits: u64,
    count: u32,
}

impl Bits {
    /// Reads until there are at least 56 bits.
    #[inline(always)]
    fn fill(&mut self, codes: &[u8]) -> Option<()> {
        let bytes = codes.get(self.next..)?.first_chunk::<8>()?;
        self.bits |= u64::from_be_bytes(*bytes) >> self.count;
        self.next += ((63 - self.count) >> 3) as usize;
        self.count |= 56;
        Some(())
    }

    /// As many as are looked up.
    #[inline(always)]
    fn looked_up(&self) -> usize {
        (self.bits >> (64 - LOOKED_UP)) as usize
    }

    #[inline(always)]
    fn skip(&mut self, bits: u32) {
        self.bits <<= bits;
        self.count -= bits;
    }

    /// The number in the next bits, which are there.
    #[inline(always)]
    fn number(&mut self, size: u32) -> i16 {
        if size == 0 {
            return 0;
        }
        let number = (self.bits >> (64 - size)) as u32;
        self.skip(size);
        extended(number, size)
    }
}
