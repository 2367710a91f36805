//! Rotation, shearing, and translation: every pixel is taken from another place of the picture, or
//! is the fill colour where that lies outside.
//!
//! The cubic is Pillow's for transformations, Keys' with a = -1, which is sharper than the one for
//! resizing, and decimals are cut off.

use std::marker::PhantomData;

use pulp::{Arch, Simd, WithSimd};

use super::super::Picture;
use super::super::resize::Interpolation;

/// Rotates around the centre, counter-clockwise.
pub(super) fn rotate(
    picture: &mut Picture,
    degrees: f64,
    fill: [u8; 3],
    interpolation: Interpolation,
) {
    let degrees = degrees.rem_euclid(360.0);
    if degrees == 0.0 {
        return;
    }
    let (sine, cosine) = (-degrees.to_radians()).sin_cos();
    // Fifteen decimals, so that the picture does not depend on the last bit of a sine.
    let rounded = |value: f64| (value * 1e15).round_ties_even() / 1e15;
    let (sine, cosine) = (rounded(sine), rounded(cosine));
    let (x, y) = (picture.width as f64 / 2.0, picture.height as f64 / 2.0);
    let right = cosine * -x + sine * -y + x;
    let down = -sine * -x + cosine * -y + y;
    transform(
        picture,
        [cosine, sine, right, -sine, cosine, down],
        fill,
        interpolation,
    );
}

/// Takes the pixel at (x, y) from (a x + b y + c, d x + e y + f), where the centre of the first
/// pixel is (1/2, 1/2).
pub(super) fn transform(
    picture: &mut Picture,
    matrix: [f64; 6],
    fill: [u8; 3],
    interpolation: Interpolation,
) {
    let (channels, fill) = (picture.channels, &fill);
    match (channels, interpolation) {
        (1, Interpolation::Bicubic) => sample::<1, 1, 4, Cubic>(picture, matrix, fill),
        (1, Interpolation::Bilinear) => sample::<1, 1, 2, Linear>(picture, matrix, fill),
        (3, Interpolation::Bicubic) => sample::<3, 4, 4, Cubic>(picture, matrix, fill),
        (3, Interpolation::Bilinear) => sample::<3, 4, 2, Linear>(picture, matrix, fill),
        (channels, _) => unreachable!("a picture has 1 or 3 channels, not {channels}"),
    }
}

/// How values between `REACH` neighbours are computed, side by side.
trait Between<const REACH: usize> {
    fn between<const LANES: usize>(values: &[[f64; LANES]; REACH], part: f64) -> [f64; LANES];
}

/// Between the second and the third of four values.
struct Cubic;

impl Between<4> for Cubic {
    #[inline(always)]
    fn between<const LANES: usize>(values: &[[f64; LANES]; 4], part: f64) -> [f64; LANES] {
        let [before, first, second, after] = values;
        let mut found = [0.0; LANES];
        for lane in 0..LANES {
            let [before, first, second, after] =
                [before[lane], first[lane], second[lane], after[lane]];
            let p1 = first;
            let p2 = -before + second;
            let p3 = 2.0 * (before - first) + second - after;
            let p4 = -before + first - second + after;
            found[lane] = p1 + part * (p2 + part * (p3 + part * p4));
        }
        found
    }
}

/// Between two values.
struct Linear;

impl Between<2> for Linear {
    #[inline(always)]
    fn between<const LANES: usize>([first, second]: &[[f64; LANES]; 2], part: f64) -> [f64; LANES] {
        let mut found = [0.0; LANES];
        for lane in 0..LANES {
            found[lane] = first[lane] + (second[lane] - first[lane]) * part;
        }
        found
    }
}

/// Numbers from 0 to 2^51 plus this have their whole part, rounded to the nearest, in their lowest bits.
/// Conversions in this way are vector instructions, and those of the language are not.
const UNIT: f64 = (1_u64 << 52) as f64;

/// A whole number that is not negative.
#[inline(always)]
fn whole(number: f64) -> usize {
    (number + UNIT).to_bits() as u32 as usize
}

/// A byte without its decimals; what is less or more than there is becomes the least or the most.
#[inline(always)]
fn byte(value: f64) -> u8 {
    let value = if value > 0.0 { value } else { 0.0 };
    let value = if value < 255.0 { value } else { 255.0 };
    let rounded = value + UNIT;
    let above = if rounded - UNIT > value { 1.0 } else { 0.0 };
    (rounded - above).to_bits() as u8
}

/// Fills the picture from itself.
fn sample<const CHANNELS: usize, const LANES: usize, const REACH: usize, B: Between<REACH>>(
    picture: &mut Picture,
    matrix: [f64; 6],
    fill: &[u8],
) {
    picture.pixels = Arch::new().dispatch(Sampling::<CHANNELS, LANES, REACH, B> {
        picture,
        matrix,
        fill,
        between: PhantomData,
    });
}

/// The loop over all pixels, compiled for each instruction set, for which all that it calls has to be
/// inlined. A pixel has `LANES` values in it, since vectors have a power of two.
struct Sampling<'a, const CHANNELS: usize, const LANES: usize, const REACH: usize, B> {
    picture: &'a Picture,
    matrix: [f64; 6],
    fill: &'a [u8],
    between: PhantomData<B>,
}

impl<const CHANNELS: usize, const LANES: usize, const REACH: usize, B: Between<REACH>>
    Sampling<'_, CHANNELS, LANES, REACH, B>
{
    /// Pixels around the picture: outside of it, its border goes on.
    const BORDER: usize = REACH / 2;
    /// Where the pixel at the place itself is among its neighbours.
    const OWN: usize = REACH / 2 - 1;

    /// The picture with its border, `LANES` bytes a pixel.
    #[inline(always)]
    fn bordered(&self) -> Vec<u8> {
        let (width, height) = (self.picture.width, self.picture.height);
        let stride = (width + 2 * Self::BORDER) * LANES;
        let mut bordered = vec![0; (height + 2 * Self::BORDER) * stride];
        for (y, target) in bordered.chunks_exact_mut(stride).enumerate() {
            let y = y.saturating_sub(Self::BORDER).min(height - 1);
            let source = &self.picture.pixels[y * width * CHANNELS..][..width * CHANNELS];
            let pixels = source.as_chunks::<CHANNELS>().0;
            let targets = target.as_chunks_mut::<LANES>().0;
            let (before, targets) = targets.split_at_mut(Self::BORDER);
            let (targets, after) = targets.split_at_mut(width);
            for (target, pixel) in targets.iter_mut().zip(pixels) {
                target[..CHANNELS].copy_from_slice(pixel);
            }
            before.fill(targets[0]);
            after.fill(targets[width - 1]);
        }
        bordered
    }

    /// Where the pixel in a column and a row comes from.
    #[inline(always)]
    fn origin(&self, column: usize, row: usize) -> [f64; 2] {
        let [a, b, c, d, e, f] = self.matrix;
        let (x, y) = (column as f64 + 0.5, row as f64 + 0.5);
        [a * x + b * y + c, d * x + e * y + f]
    }

    /// Whether that is in the picture.
    #[inline(always)]
    fn is_inside(&self, [x, y]: [f64; 2]) -> bool {
        let (width, height) = (self.picture.width as f64, self.picture.height as f64);
        x >= 0.0 && x < width && y >= 0.0 && y < height
    }

    /// Between the pixels that begin here.
    #[inline(always)]
    fn across(pixels: &[u8], part: f64) -> [f64; LANES] {
        let pixels = &pixels[..REACH * LANES];
        let mut neighbours = [[0.0; LANES]; REACH];
        for step in 0..REACH {
            for lane in 0..LANES {
                neighbours[step][lane] = f64::from(pixels[step * LANES + lane]);
            }
        }
        B::between(&neighbours, part)
    }

    /// One pixel.
    #[inline(always)]
    fn pixel(pixels: &[u8]) -> [f64; LANES] {
        let pixels = &pixels[..LANES];
        let mut values = [0.0; LANES];
        for lane in 0..LANES {
            values[lane] = f64::from(pixels[lane]);
        }
        values
    }
}

impl<const CHANNELS: usize, const LANES: usize, const REACH: usize, B: Between<REACH>> WithSimd
    for Sampling<'_, CHANNELS, LANES, REACH, B>
{
    type Output = Vec<u8>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Vec<u8> {
        let (width, height) = (self.picture.width, self.picture.height);
        let stride = (width + 2 * Self::BORDER) * LANES;
        let source = self.bordered();
        // Room for what is written beyond the last pixel.
        let mut pixels = vec![0; width * height * CHANNELS + LANES - CHANNELS];
        for row in 0..height {
            // What lies inside is in one piece, since a row's places are on a line.
            let mut columns = 0..width;
            while !columns.is_empty() && !self.is_inside(self.origin(columns.start, row)) {
                columns.start += 1;
            }
            while !columns.is_empty() && !self.is_inside(self.origin(columns.end - 1, row)) {
                columns.end -= 1;
            }
            let target =
                &mut pixels[row * width * CHANNELS..][..width * CHANNELS + LANES - CHANNELS];
            for pixel in target[..columns.start * CHANNELS]
                .as_chunks_mut::<CHANNELS>()
                .0
            {
                pixel.copy_from_slice(&self.fill[..CHANNELS]);
            }
            for column in columns.clone() {
                let [x, y] = self.origin(column, row);
                // Half a pixel less, and rounded down.
                let (x, y) = (x - 0.5, y - 0.5);
                let (left, top) = (x.floor(), y.floor());
                let (across, down) = (x - left, y - top);
                // The first neighbour, in the picture with its border.
                let first = whole(top + 1.0) * stride + whole(left + 1.0) * LANES;
                // A part of 0 takes the pixel alone, for either interpolation.
                let values = if down == 0.0 {
                    Self::across(&source[first + Self::OWN * stride..], across)
                } else {
                    let mut lines = [[0.0; LANES]; REACH];
                    if across == 0.0 {
                        for (step, line) in lines.iter_mut().enumerate() {
                            *line =
                                Self::pixel(&source[first + step * stride + Self::OWN * LANES..]);
                        }
                    } else {
                        for (step, line) in lines.iter_mut().enumerate() {
                            *line = Self::across(&source[first + step * stride..], across);
                        }
                    }
                    B::between(&lines, down)
                };
                // Decimals are cut off. What is too much is overwritten by the next pixel.
                let target = &mut target[column * CHANNELS..][..LANES];
                for lane in 0..LANES {
                    target[lane] = byte(values[lane]);
                }
            }
            let after = &mut target[columns.end * CHANNELS..width * CHANNELS];
            for pixel in after.as_chunks_mut::<CHANNELS>().0 {
                pixel.copy_from_slice(&self.fill[..CHANNELS]);
            }
        }
        pixels.truncate(width * height * CHANNELS);
        pixels
    }
}
