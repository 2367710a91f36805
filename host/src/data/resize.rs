//! Regions of pictures as pictures of another size, to the bit as Pillow makes them: first along the
//! rows, then along the columns, in fixed-point numbers, with the kernel widened when a picture
//! becomes smaller.
//!
//! Only the pixels that are asked for are computed, so that the cost of a cut picture is bounded for
//! every aspect ratio.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use serde::{Deserialize, Serialize};

use super::picture::Picture;

/// How pixels between pixels are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Interpolation {
    /// Cubic convolution over two pixels to each side.
    #[default]
    Bicubic,
    /// Linear between neighbours.
    Bilinear,
}

impl Interpolation {
    /// How far the kernel reaches when the scale is 1, in pixels.
    fn support(self) -> f64 {
        match self {
            Self::Bicubic => 2.0,
            Self::Bilinear => 1.0,
        }
    }

    /// The kernel: Keys' cubic with a = -1/2, or a triangle.
    fn kernel(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
            Self::Bilinear if x < 1.0 => 1.0 - x,
            _ => 0.0,
        }
    }
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Region {
    /// Columns to its left.
    pub left: usize,
    /// Rows above it.
    pub top: usize,
    /// Columns in it.
    pub width: usize,
    /// Rows in it.
    pub height: usize,
}

impl Region {
    /// All of a picture.
    pub(super) const fn whole(picture: &Picture) -> Self {
        Self::of_size(picture.width, picture.height)
    }

    /// All of a picture of this size.
    pub const fn of_size(width: usize, height: usize) -> Self {
        Self {
            left: 0,
            top: 0,
            width,
            height,
        }
    }
}

/// A region of a picture with `size` pixels in each direction.
pub(super) fn region_to_square(
    picture: &Picture,
    region: Region,
    size: usize,
    interpolation: Interpolation,
) -> Picture {
    let across = Taps::new(region.width, size, 0..size, interpolation);
    let down = Taps::new(region.height, size, 0..size, interpolation);
    resample(picture, region, &across, &down)
}

/// The way of a picture to `size` pixels in each direction: it is resampled so that the shorter side
/// has `size / kept` of them (rounded down), and then cut to the centre.
pub(super) struct Square {
    /// The part of the picture that is needed.
    pub(super) region: Region,
    /// From that part on; none where nothing is resampled or cut.
    taps: Option<[Taps; 2]>,
}

impl Square {
    /// Of a picture of `width` times `height` pixels.
    pub(super) fn new(width: usize, height: usize, size: usize, kept: f64) -> Self {
        let shorter = width.min(height);
        let resized = ((size as f64 / kept).floor() as usize).max(size);
        let whole = Region::of_size(width, height);
        if (width, height) == (size, size) && resized == size {
            return Self {
                region: whole,
                taps: None,
            };
        }
        let centre = |length: usize| {
            let whole = if length == shorter {
                resized
            } else {
                (resized as f64 * length as f64 / shorter as f64) as usize
            };
            // As torchvision cuts: half a pixel to the even side.
            let skipped = ((whole - size) as f64 / 2.0).round_ties_even() as usize;
            let wanted = skipped..skipped + size;
            let taps = Taps::new(length, whole, wanted, Interpolation::Bicubic);
            let needed = taps.needed.clone();
            (taps.beginning_at(needed.start), needed)
        };
        let ((across, columns), (down, rows)) = (centre(width), centre(height));
        Self {
            region: Region {
                left: columns.start,
                top: rows.start,
                width: columns.len(),
                height: rows.len(),
            },
            taps: Some([across, down]),
        }
    }

    /// The square out of that part of a picture.
    pub(super) fn of(&self, part: Picture) -> Picture {
        match &self.taps {
            Some([across, down]) => resample(&part, Region::whole(&part), across, down),
            None => part,
        }
    }
}

/// The square of a picture, as [`Square`] says.
pub(super) fn to_square(picture: Picture, size: usize, kept: f64) -> Picture {
    let square = Square::new(picture.width, picture.height, size, kept);
    square.of(picture.part(square.region))
}

/// Bits after the point of a weight: eight bits of a pixel, a sign, and one bit for sums of weights
/// above 1 remain of 32.
const FRACTION_BITS: u32 = 22;
const HALF: i32 = 1 << (FRACTION_BITS - 1);

/// The pixels of one side that each resampled pixel is a weighted sum of.
struct Taps {
    /// The first pixel of each sum.
    firsts: Vec<usize>,
    /// The weights of all sums, `reach` for each, padded with zeros.
    weights: Vec<i32>,
    reach: usize,
    /// The pixels that any sum needs.
    needed: Range<usize>,
}

impl Taps {
    /// For the pixels `wanted` of a side of `length` pixels that gets `resized`.
    fn new(
        length: usize,
        resized: usize,
        wanted: Range<usize>,
        interpolation: Interpolation,
    ) -> Self {
        let scale = length as f64 / resized as f64;
        let stretch = scale.max(1.0);
        let support = interpolation.support() * stretch;
        // No sum has more pixels than the side.
        let reach = (support.ceil() as usize * 2 + 1).min(length);
        let mut firsts = Vec::with_capacity(wanted.len());
        let mut weights = vec![0; wanted.len() * reach];
        let mut values = Vec::with_capacity(reach);
        let mut needed = length..0;
        for (position, weights) in wanted.zip(weights.chunks_exact_mut(reach)) {
            let centre = (position as f64 + 0.5) * scale;
            // The conversion is to zero and up, like a cast in C after a test for negatives.
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(length);
            values.clear();
            values.extend((first..end).map(|pixel| {
                let distance = (pixel as f64 - centre + 0.5) * (1.0 / stretch);
                interpolation.kernel(distance)
            }));
            let sum: f64 = values.iter().sum();
            for (weight, value) in weights.iter_mut().zip(&values) {
                let scaled = value / sum * f64::from(1 << FRACTION_BITS);
                *weight = (scaled + 0.5_f64.copysign(scaled)) as i32;
            }
            // Padding must not reach over the end of the side.
            let moved = first.min(length - reach);
            weights.rotate_right(first - moved);
            firsts.push(moved);
            needed = needed.start.min(moved)..needed.end.max(moved + reach);
        }
        Self {
            firsts,
            weights,
            reach,
            needed,
        }
    }

    /// The same of a side that begins at this pixel.
    fn beginning_at(mut self, begin: usize) -> Self {
        for first in &mut self.firsts {
            *first -= begin;
        }
        self.needed = self.needed.start - begin..self.needed.end - begin;
        self
    }

    /// For each resampled pixel, where its sum begins and the weights of it.
    #[inline(always)]
    fn sums(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let weights = self.weights.chunks_exact(self.reach);
        self.firsts.iter().copied().zip(weights)
    }
}

/// The number of a pixel from a sum.
#[inline(always)]
fn pixel(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

fn resample(picture: &Picture, region: Region, across: &Taps, down: &Taps) -> Picture {
    let (width, height) = (across.firsts.len(), down.firsts.len());
    let arch = Arch::new();
    let pixels = match picture.channels {
        1 => arch.dispatch(Resampling::<1, 1> {
            picture,
            region,
            across,
            down,
        }),
        3 => arch.dispatch(Resampling::<3, 4> {
            picture,
            region,
            across,
            down,
        }),
        channels => unreachable!("a picture has 1 or 3 channels, not {channels}"),
    };
    Picture {
        width,
        height,
        channels: picture.channels,
        pixels,
    }
}

/// Bytes of a row that are summed side by side.
const SIDE_BY_SIDE: usize = 32;

/// Both passes, compiled for each instruction set. Pixels are read as `LANES` bytes, those of the next
/// pixel among them, since vectors have a power of two.
struct Resampling<'a, const CHANNELS: usize, const LANES: usize> {
    picture: &'a Picture,
    region: Region,
    across: &'a Taps,
    down: &'a Taps,
}

#[expect(
    clippy::needless_range_loop,
    reason = "iterators are calls within code for one instruction set"
)]
impl<const CHANNELS: usize, const LANES: usize> WithSimd for Resampling<'_, CHANNELS, LANES> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Vec<u8> {
        let row_bytes = self.across.firsts.len() * CHANNELS;
        let (narrowed, stride) = (self.narrowed(), self.stride());
        let first_row = self.down.needed.start;
        let mut pixels = vec![0; self.down.firsts.len() * row_bytes];
        let rows = pixels.chunks_exact_mut(row_bytes);
        for (target, (first, weights)) in rows.zip(self.down.sums()) {
            let sources = &narrowed[(first - first_row) * stride..];
            let (chunks, rest) = target.as_chunks_mut::<SIDE_BY_SIDE>();
            for number in 0..chunks.len() {
                let begin = number * SIDE_BY_SIDE;
                let mut sums = [HALF; SIDE_BY_SIDE];
                for step in 0..weights.len() {
                    let weight = weights[step];
                    let source = &sources[step * stride + begin..][..SIDE_BY_SIDE];
                    for lane in 0..SIDE_BY_SIDE {
                        sums[lane] += weight * i32::from(source[lane]);
                    }
                }
                let chunk = &mut chunks[number];
                for lane in 0..SIDE_BY_SIDE {
                    chunk[lane] = pixel(sums[lane]);
                }
            }
            let begin = chunks.len() * SIDE_BY_SIDE;
            for (place, target) in rest.iter_mut().enumerate() {
                let values = sources[begin + place..].iter().step_by(stride);
                let products = weights.iter().zip(values);
                let sum: i32 = products
                    .map(|(weight, value)| weight * i32::from(*value))
                    .sum();
                *target = pixel(HALF + sum);
            }
        }
        pixels
    }
}

#[expect(
    clippy::manual_memcpy,
    reason = "a copy of few bytes is a call within code for one instruction set"
)]
impl<const CHANNELS: usize, const LANES: usize> Resampling<'_, CHANNELS, LANES> {
    /// Bytes of a narrowed row: with room for what is written beyond its last pixel.
    #[inline(always)]
    fn stride(&self) -> usize {
        self.across.firsts.len() * CHANNELS + LANES - CHANNELS
    }

    /// The rows that are needed, resampled, some at a time.
    #[inline(always)]
    fn narrowed(&self) -> Vec<u8> {
        let rows = self.down.needed.clone();
        let (reach, stride) = (self.across.reach, self.stride());
        // The last row is made as often as it takes to have no remainder.
        let together = SIDE_BY_SIDE / LANES;
        let mut narrowed = vec![0; rows.len().next_multiple_of(together) * stride];
        // For each column the pixels of some rows, before and after.
        let mut columns = vec![[0; SIDE_BY_SIDE]; self.region.width];
        let mut resampled = vec![[0; SIDE_BY_SIDE]; self.across.firsts.len()];
        for group in 0..rows.len().div_ceil(together) {
            for row in 0..together {
                let y = (rows.start + group * together + row).min(rows.end - 1);
                self.spread(y, row, &mut columns);
            }
            for position in 0..resampled.len() {
                let columns = &columns[self.across.firsts[position]..][..reach];
                let weights = &self.across.weights[position * reach..][..reach];
                let mut sums = [HALF; SIDE_BY_SIDE];
                for step in 0..reach {
                    let (column, weight) = (&columns[step], weights[step]);
                    for lane in 0..SIDE_BY_SIDE {
                        sums[lane] += weight * i32::from(column[lane]);
                    }
                }
                let target = &mut resampled[position];
                for lane in 0..SIDE_BY_SIDE {
                    target[lane] = pixel(sums[lane]);
                }
            }
            for row in 0..together {
                let target = &mut narrowed[(group * together + row) * stride..][..stride];
                // What is too much is overwritten by the next pixel.
                for position in 0..resampled.len() {
                    let source = &resampled[position][row * LANES..][..LANES];
                    let target = &mut target[position * CHANNELS..][..LANES];
                    for lane in 0..LANES {
                        target[lane] = source[lane];
                    }
                }
            }
        }
        narrowed
    }

    /// Puts the pixels of row `y` of the region into the columns, as their pixel `row`.
    #[inline(always)]
    fn spread(&self, y: usize, row: usize, columns: &mut [[u8; SIDE_BY_SIDE]]) {
        let last = self.region.width - 1;
        let begin = (self.region.top + y) * self.picture.width + self.region.left;
        let source = &self.picture.pixels[begin * CHANNELS..][..(last + 1) * CHANNELS];
        // The first byte of the next pixel goes along, where there is one.
        for x in 0..last {
            let pixel = &source[x * CHANNELS..][..LANES];
            let target = &mut columns[x][row * LANES..][..LANES];
            for lane in 0..LANES {
                target[lane] = pixel[lane];
            }
        }
        for channel in 0..CHANNELS {
            columns[last][row * LANES + channel] = source[last * CHANNELS + channel];
        }
    }
}

#[cfg(test)]
mod tests {
    use image::imageops::{self, FilterType};
    use image::{GrayImage, RgbImage};
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::data::reference::{REFERENCE, pixels, source};

    fn picture(width: usize, height: usize, value: impl Fn(usize, usize) -> u8) -> Picture {
        let pixels = (0..width * height)
            .map(|index| value(index % width, index / width))
            .collect();
        Picture {
            width,
            height,
            channels: 1,
            pixels,
        }
    }

    #[derive(Deserialize)]
    struct Resize {
        source: String,
        r#box: [usize; 4],
        size: usize,
        filter: Interpolation,
        pixels: String,
    }

    #[test]
    fn regions_agree_with_pillow() {
        let cases: Vec<Resize> = REFERENCE.cases("resizes");
        assert_eq!(cases.len(), 14);
        for case in cases {
            let [left, top, right, bottom] = case.r#box;
            let region = Region {
                left,
                top,
                width: right - left,
                height: bottom - top,
            };
            let found = region_to_square(&source(&case.source), region, case.size, case.filter);
            assert_eq!(
                found.pixels,
                pixels(&case.pixels),
                "{} {region:?} {:?}",
                case.source,
                case.filter
            );
        }
    }

    #[derive(Deserialize)]
    struct Evaluation {
        source: String,
        size: usize,
        crop: f64,
        pixels: String,
    }

    #[test]
    fn the_evaluation_transform_agrees_with_torchvision() {
        let cases: Vec<Evaluation> = REFERENCE.cases("evaluations");
        assert_eq!(cases.len(), 28);
        for case in cases {
            let found = to_square(source(&case.source), case.size, case.crop);
            let expected = pixels(&case.pixels);
            assert_eq!(
                found.pixels, expected,
                "{} {} {}",
                case.source, case.size, case.crop
            );
        }
    }

    #[test]
    fn the_shorter_side_of_the_recipe_is_exact() {
        // int(256 / 224 * size) of the recipe, for its four sizes.
        for (size, resized) in [(224, 256), (384, 438), (392, 448), (518, 592)] {
            assert_eq!((f64::from(size) / 0.875).floor() as usize, resized);
        }
    }

    #[test]
    fn a_picture_that_fits_stays() {
        let fitting = picture(3, 3, |x, y| (3 * y + x) as u8);
        assert_eq!(to_square(fitting.clone(), 3, 1.0), fitting);
    }

    #[test]
    fn the_centre_is_cut_out() {
        // Only the centre is white: wide and tall pictures both become all white.
        let wide = picture(12, 4, |x, _| if (4..8).contains(&x) { 255 } else { 0 });
        let tall = picture(4, 12, |_, y| if (4..8).contains(&y) { 255 } else { 0 });
        for cut in [wide, tall] {
            assert_eq!(to_square(cut, 4, 1.0).pixels, vec![255; 16]);
        }
    }

    #[test]
    fn extreme_aspect_ratios_cost_little() {
        let line = to_square(picture(1, 60_000, |_, y| (y % 251) as u8), 512, 1.0);
        assert_eq!(line.pixels.len(), 512 * 512);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against another implementation, which does not round between rows and columns; nothing is
        /// so bright or dark that it would be cut off there.
        #[test]
        fn resampling_agrees_with_another_implementation(
            width in 1_usize..40,
            height in 1_usize..40,
            size in 1_usize..24,
            colour: bool,
            noise in prop::collection::vec(any::<u8>(), 40 * 40 * 3),
        ) {
            let channels = if colour { 3 } else { 1 };
            let pixels: Vec<u8> = noise[..width * height * channels]
                .iter()
                .map(|byte| 96 + byte / 4)
                .collect();
            let (w, h, side) = (width as u32, height as u32, size as u32);
            let expected = if colour {
                let whole = RgbImage::from_raw(w, h, pixels.clone()).unwrap();
                imageops::resize(&whole, side, side, FilterType::CatmullRom).into_raw()
            } else {
                let whole = GrayImage::from_raw(w, h, pixels.clone()).unwrap();
                imageops::resize(&whole, side, side, FilterType::CatmullRom).into_raw()
            };
            let picture = Picture { width, height, channels, pixels };
            let region = Region::whole(&picture);
            let found = region_to_square(&picture, region, size, Interpolation::Bicubic);
            for (found, expected) in found.pixels.iter().zip(&expected) {
                prop_assert!(found.abs_diff(*expected) <= 2, "{found} {expected}");
            }
        }
    }
}
