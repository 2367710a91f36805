//! The segments before the scan: sizes, tables, and what is in which component.

/// Codes of Huffman, and what they stand for, as a file gives them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Codes {
    /// How many codes there are of each length, from 1 bit on.
    pub(super) counts: [u8; 16],
    /// What they stand for, in the order of the codes.
    pub(super) symbols: Vec<u8>,
}

/// One of luminance and the two colours.
#[derive(Clone, Debug)]
pub(super) struct Component {
    /// Blocks in a unit, in each direction.
    pub(super) across: usize,
    pub(super) down: usize,
    /// What coefficients are multiplied by, in the order of the file.
    pub(super) steps: [u16; 64],
    /// The codes of the first and of the other coefficients.
    pub(super) first_codes: Codes,
    pub(super) other_codes: Codes,
}

/// What there is to know before the scan.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) components: Vec<Component>,
    /// Units of the whole picture: each has blocks of all components.
    pub(super) units_across: usize,
    pub(super) units_down: usize,
    /// After so many units the codes begin anew; 0 is never.
    pub(super) restart: usize,
}

/// What a frame says of a component.
struct Described {
    name: u8,
    across: usize,
    down: usize,
    table: usize,
}

/// How the three components are meant.
#[derive(Default)]
struct Meaning {
    /// A JFIF segment: luminance and colours.
    jfif: bool,
    /// Adobe's segment: whether they are not red, green, and blue.
    adobe: Option<u8>,
}

/// The segments so far.
#[derive(Default)]
struct Segments {
    steps: [Option<[u16; 64]>; 4],
    first_codes: [Option<Codes>; 4],
    other_codes: [Option<Codes>; 4],
    size: Option<(usize, usize)>,
    described: Vec<Described>,
    restart: usize,
    meaning: Meaning,
}

impl Header {
    /// The header and what follows it; `None` for a file that is not decoded here.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
        let mut segments = Segments::default();
        loop {
            let [0xff, marker, ..] = *rest else {
                return None;
            };
            if marker == 0xff {
                rest = &rest[1..];
                continue;
            }
            let length = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
            let segment = rest.get(4..2 + length)?;
            rest = &rest[2 + length..];
            match marker {
                0xdb => segments.read_steps(segment)?,
                0xc4 => segments.read_codes(segment)?,
                0xdd => {
                    let [high, low] = *segment else { return None };
                    segments.restart = usize::from(u16::from_be_bytes([high, low]));
                }
                0xc0 | 0xc1 => segments.read_frame(segment)?,
                0xda => return Some((segments.read_scan(segment)?, rest)),
                0xe0 if segment.starts_with(b"JFIF\0") => segments.meaning.jfif = true,
                0xee if segment.starts_with(b"Adobe") => {
                    segments.meaning.adobe = Some(*segment.get(11)?);
                }
                0xe0..=0xef | 0xfe => {}
                // Other processes, and what stands before none.
                _ => return None,
            }
        }
    }
}

impl Segments {
    fn read_steps(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = segment {
            let table = self.steps.get_mut(usize::from(kind & 15))?;
            let mut steps = [0; 64];
            let wide = match kind >> 4 {
                0 => false,
                1 => true,
                _ => return None,
            };
            let bytes = if wide { 128 } else { 64 };
            for (index, step) in steps.iter_mut().enumerate() {
                *step = if wide {
                    u16::from_be_bytes([*rest.get(2 * index)?, *rest.get(2 * index + 1)?])
                } else {
                    u16::from(*rest.get(index)?)
                };
                // Larger ones belong to samples of twelve bits.
                if !(1..=255).contains(step) {
                    return None;
                }
            }
            *table = Some(steps);
            segment = &rest[bytes..];
        }
        Some(())
    }

    fn read_codes(&mut self, mut segment: &[u8]) -> Option<()> {
        while let [kind, rest @ ..] = segment {
            let tables = match kind >> 4 {
                0 => &mut self.first_codes,
                1 => &mut self.other_codes,
                _ => return None,
            };
            let table = tables.get_mut(usize::from(kind & 15))?;
            let counts: [u8; 16] = rest.get(..16)?.try_into().ok()?;
            let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
            let symbols = rest.get(16..16 + total)?.to_vec();
            *table = Some(Codes { counts, symbols });
            segment = &rest[16 + total..];
        }
        Some(())
    }

    fn read_frame(&mut self, segment: &[u8]) -> Option<()> {
        let [8, h1, h0, w1, w0, count, rest @ ..] = segment else {
            return None;
        };
        if self.size.is_some() || rest.len() != 3 * usize::from(*count) {
            return None;
        }
        let (height, width) = (
            u16::from_be_bytes([*h1, *h0]),
            u16::from_be_bytes([*w1, *w0]),
        );
        if width == 0 || height == 0 {
            return None;
        }
        self.size = Some((usize::from(width), usize::from(height)));
        for part in rest.chunks_exact(3) {
            self.described.push(Described {
                name: part[0],
                across: usize::from(part[1] >> 4),
                down: usize::from(part[1] & 15),
                table: usize::from(part[2]),
            });
        }
        match self.described.as_mut_slice() {
            // A single component has one block in a unit, whatever is said.
            [grey] => {
                (grey.across, grey.down) = (1, 1);
                Some(())
            }
            [luminance, one, other] => {
                let names = [luminance.name, one.name, other.name];
                let rgb = match (self.meaning.jfif, self.meaning.adobe) {
                    (true, _) | (false, Some(1)) => false,
                    (false, Some(_)) => true,
                    (false, None) => names == *b"RGB",
                };
                let sampled =
                    matches!((luminance.across, luminance.down), (1, 1) | (2, 1) | (2, 2));
                let colours = [one, other]
                    .iter()
                    .all(|part| (part.across, part.down) == (1, 1));
                // Narrower colours are not interpolated.
                let wide = luminance.across == 1 || width > 4;
                (!rgb && sampled && colours && wide).then_some(())
            }
            _ => None,
        }
    }

    fn read_scan(self, segment: &[u8]) -> Option<Header> {
        let (width, height) = self.size?;
        let [count, rest @ ..] = segment else {
            return None;
        };
        let (parts, end) = rest.split_at_checked(2 * self.described.len())?;
        // All components at once, all coefficients, all bits.
        if usize::from(*count) != self.described.len() || *end != [0, 63, 0] {
            return None;
        }
        let components: Option<Vec<Component>> = self
            .described
            .iter()
            .zip(parts.as_chunks::<2>().0)
            .map(|(described, [name, tables])| {
                if *name != described.name {
                    return None;
                }
                let codes =
                    |all: &[Option<Codes>; 4], index: u8| all.get(usize::from(index))?.clone();
                Some(Component {
                    across: described.across,
                    down: described.down,
                    steps: (*self.steps.get(described.table)?)?,
                    first_codes: codes(&self.first_codes, tables >> 4)?,
                    other_codes: codes(&self.other_codes, tables & 15)?,
                })
            })
            .collect();
        let components = components?;
        let unit = |blocks: fn(&Component) -> usize| components.iter().map(blocks).max();
        Some(Header {
            width,
            height,
            units_across: width.div_ceil(8 * unit(|one| one.across)?),
            units_down: height.div_ceil(8 * unit(|one| one.down)?),
            components,
            restart: self.restart,
        })
    }
}
