//! Photographs from JPEG files, to the bit as libjpeg-turbo (and so Pillow) decodes them, and only the
//! part that is wanted: all is read, and of the rest nothing is computed.
//!
//! Decoded here is what nearly all photographs are: one scan, Huffman codes, eight bits, grey or
//! luminance with colours at full, halved, or quartered resolution. Everything else, and everything
//! that is damaged, is left to a decoder that knows all of it and says what is wrong.

mod colour;
mod entropy;
mod header;
mod samples;
#[cfg(test)]
mod tests;

use pulp::{Arch, Simd, WithSimd};

use super::picture::Picture;
use super::resize::Region;
use entropy::Entropy;
use header::Header;
use samples::Plane;

/// A file whose header says that it can be decoded here.
pub(super) struct Jpeg<'a> {
    header: Header,
    scan: &'a [u8],
}

impl<'a> Jpeg<'a> {
    /// Reads the header; `None` if this file is for another decoder.
    pub(super) fn open(bytes: &'a [u8]) -> Option<Self> {
        let (header, scan) = Header::read(bytes)?;
        Some(Self { header, scan })
    }

    /// Width and height.
    pub(super) fn dimensions(&self) -> (usize, usize) {
        (self.header.width, self.header.height)
    }

    /// A region of the picture in red, green, and blue; `None` if the file is damaged.
    ///
    /// # Panics
    ///
    /// When the region does not lie in the picture.
    pub(super) fn decode(&self, region: Region) -> Option<Picture> {
        let header = &self.header;
        assert!(
            region.left + region.width <= header.width,
            "a region beyond the picture"
        );
        assert!(
            region.top + region.height <= header.height,
            "a region beyond the picture"
        );
        let mut planes: Vec<Plane> = header
            .components
            .iter()
            .map(|component| Plane::new(header, component, region))
            .collect();
        let entropy = Entropy::new(header, self.scan)?;
        Arch::new().dispatch(Blocks {
            header,
            planes: &mut planes,
            entropy,
        })?;
        Some(Picture {
            width: region.width,
            height: region.height,
            channels: 3,
            pixels: colour::pixels(&planes, region),
        })
    }
}

/// All blocks, compiled for each instruction set, since some shift by a number of bits at no cost.
struct Blocks<'a> {
    header: &'a Header,
    planes: &'a mut [Plane],
    entropy: Entropy<'a>,
}

#[expect(
    clippy::needless_range_loop,
    reason = "iterators are calls within code for one instruction set"
)]
impl WithSimd for Blocks<'_> {
    type Output = Option<()>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Option<()> {
        let Self {
            header,
            planes,
            mut entropy,
        } = self;
        for row in 0..header.units_down {
            for column in 0..header.units_across {
                entropy.begin_unit()?;
                for index in 0..planes.len() {
                    let (plane, component) = (&mut planes[index], &header.components[index]);
                    for y in 0..component.down {
                        for x in 0..component.across {
                            let (column, row) =
                                (column * component.across + x, row * component.down + y);
                            let Some(begin) = plane.begin(column, row) else {
                                entropy.pass(index)?;
                                continue;
                            };
                            let (coefficients, lane) = plane.next();
                            let only_first = entropy.block(index, coefficients, lane)?;
                            plane.take(begin, only_first);
                        }
                    }
                }
            }
        }
        entropy.end()?;
        for plane in planes {
            plane.finish();
        }
        Some(())
    }
}
