//! Coefficients out of Huffman codes.

use super::header::{Codes, Component, Header};

/// Bits that are looked up at once.
const LOOKED_UP: u32 = 10;

/// Where the coefficients of a file belong: rows, columns innermost.
const ORDER: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// A run to the end of the block.
const END: u8 = 64;

/// What some bits begin with.
#[derive(Clone, Copy, Default)]
struct Entry {
    /// The number that follows the code, where it lies within the bits, too.
    value: i16,
    /// Coefficients that are 0 before it.
    run: u8,
    /// Bits of both; 0 where the bits hold no whole code, or not all of its number.
    bits: u8,
}

/// Codes, made for finding them.
struct Lookup {
    entries: Box<[Entry; 1 << LOOKED_UP]>,
    /// The symbol and the length of the code that some bits begin with; a length of 0 is none.
    symbols: Vec<(u8, u8)>,
    /// For each length, the code after the last one, and what leads from a code to its symbol.
    ends: [(i32, i32); 17],
    of_symbols: Vec<u8>,
}

impl Lookup {
    fn new(codes: &Codes, first: bool) -> Option<Self> {
        let size = 1 << LOOKED_UP;
        let mut symbols = vec![(0, 0); size];
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
        let entry = |bits: usize| {
            let (symbol, length) = &symbols[bits];
            let (run, size) = (symbol >> 4, symbol & 15);
            let whole = u32::from(length + size);
            if *length == 0 || whole > LOOKED_UP {
                return Entry::default();
            }
            let run = match (first, *symbol) {
                (true, _) => 0,
                // The end of the block.
                (false, 0) => END,
                (false, 0xf0) => 15,
                // An end in another process.
                (false, _) if size == 0 => return Entry::default(),
                (false, _) => run,
            };
            let number = (bits as u32 >> (LOOKED_UP - whole)) & ((1 << size) - 1);
            Entry {
                value: extended(number, u32::from(size)),
                run,
                bits: whole as u8,
            }
        };
        Some(Self {
            entries: Box::new(std::array::from_fn(entry)),
            symbols,
            ends,
            of_symbols: codes.symbols.clone(),
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
    /// The byte that is read next.
    next: usize,
    /// Bits that were read, the next one on top, and how many there are.
    bits: u64,
    count: u32,
    lookups: Vec<[Lookup; 2]>,
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
                let first = Lookup::new(&component.first_codes, true)?;
                Some([first, Lookup::new(&component.other_codes, false)?])
            })
            .collect();
        let mut entropy = Self {
            rest: scan,
            codes: Vec::new(),
            length: 0,
            next: 0,
            bits: 0,
            count: 0,
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
        (self.next, self.bits, self.count) = (0, 0, 0);
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
        let read = 8 * self.next - self.count as usize;
        let there = 8 * self.length;
        (read <= there && there - read < 8).then_some(())
    }

    /// The coefficients of the next block, which come to zeros; answers the last place in the order of
    /// the file at which there is one.
    #[inline(always)]
    pub(super) fn block(
        &mut self,
        index: usize,
        component: &Component,
        coefficients: &mut [i16; 64],
    ) -> Option<usize> {
        let [first, others] = &self.lookups[index];
        let mut bits = Bits {
            codes: &self.codes,
            next: self.next,
            bits: self.bits,
            count: self.count,
        };
        bits.fill()?;
        let entry = first.entries[bits.looked_up()];
        let difference = if entry.bits > 0 {
            bits.skip(u32::from(entry.bits));
            entry.value
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
        coefficients[0] = level.wrapping_mul(i32::from(component.steps[0])) as i16;
        let (mut place, mut last) = (1, 0);
        while place < 64 {
            if bits.count < 32 {
                bits.fill()?;
            }
            let entry = others.entries[bits.looked_up()];
            let value = if entry.bits > 0 {
                bits.skip(u32::from(entry.bits));
                place += usize::from(entry.run);
                entry.value
            } else {
                let (symbol, length) = others.symbol(bits.bits)?;
                bits.skip(length);
                match symbol {
                    0 => break,
                    0xf0 => {}
                    _ if symbol & 15 == 0 => return None,
                    _ => {}
                }
                place += usize::from(symbol >> 4);
                bits.number(u32::from(symbol & 15))
            };
            if place >= 64 {
                // Beyond the end, but for the sign of the end itself.
                if entry.run != END {
                    return None;
                }
                break;
            }
            coefficients[usize::from(ORDER[place] & 63)] =
                i32::from(value).wrapping_mul(i32::from(component.steps[place])) as i16;
            last = place;
            place += 1;
        }
        (self.next, self.bits, self.count) = (bits.next, bits.bits, bits.count);
        Some(last)
    }
}

/// The next bits, in registers.
struct Bits<'a> {
    codes: &'a [u8],
    next: usize,
    bits: u64,
    count: u32,
}

impl Bits<'_> {
    /// Reads until there are at least 56 bits.
    #[inline(always)]
    fn fill(&mut self) -> Option<()> {
        let bytes = self.codes.get(self.next..)?.first_chunk::<8>()?;
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
