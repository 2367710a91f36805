//! Operations that mix a picture with a poorer one, or go beyond it: a factor of 0 is the poorer
//! picture, 1 the picture itself.

use pulp::{Arch, Simd, WithSimd};

use super::super::Picture;

/// One byte: `factor` of the picture and the rest of the poorer one, decimals cut off.
#[inline(always)]
fn mixed(poorer: u8, byte: u8, factor: f32) -> u8 {
    let difference = f32::from(i16::from(byte) - i16::from(poorer));
    // The conversion saturates where the factor goes beyond the picture.
    (f32::from(poorer) + factor * difference) as u8
}

/// Mixes every byte with the same one.
fn mix_with_byte(picture: &mut Picture, poorer: u8, factor: f64) {
    let table: [u8; 256] = std::array::from_fn(|byte| mixed(poorer, byte as u8, factor as f32));
    for byte in &mut picture.pixels {
        *byte = table[usize::from(*byte)];
    }
}

/// The luminance of a pixel (ITU-R 601), in 16-bit fixed point.
fn luminance([red, green, blue]: [u8; 3]) -> u8 {
    let sum = u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471;
    ((sum + 0x8000) >> 16) as u8
}

/// Saturation; a grey picture has none.
pub(super) fn colour(picture: &mut Picture, factor: f64) {
    if picture.channels == 3 {
        for pixel in picture.pixels.as_chunks_mut::<3>().0 {
            let grey = luminance(*pixel);
            for byte in pixel {
                *byte = mixed(grey, *byte, factor as f32);
            }
        }
    }
}

/// Contrast around the mean luminance.
pub(super) fn contrast(picture: &mut Picture, factor: f64) {
    let sum: u64 = match picture.channels {
        3 => {
            let pixels = picture.pixels.as_chunks::<3>().0.iter();
            pixels.map(|pixel| u64::from(luminance(*pixel))).sum()
        }
        _ => picture.pixels.iter().map(|byte| u64::from(*byte)).sum(),
    };
    let mean = sum as f64 / (picture.width * picture.height) as f64;
    mix_with_byte(picture, (mean + 0.5) as u8, factor);
}

/// Brightness above black.
pub(super) fn brightness(picture: &mut Picture, factor: f64) {
    mix_with_byte(picture, 0, factor);
}

/// Sharpness above the smoothed picture: each pixel counts five times, each of its eight neighbours
/// once. The border, which lacks neighbours, stays.
pub(super) fn sharpness(picture: &mut Picture, factor: f64) {
    let &mut Picture {
        width,
        height,
        channels,
        ..
    } = picture;
    if width < 3 || height < 3 {
        return;
    }
    Arch::new().dispatch(Sharpening {
        pixels: &mut picture.pixels,
        row: width * channels,
        channels,
        factor: factor as f32,
    });
}

/// All rows of at least three, compiled for each instruction set.
struct Sharpening<'a> {
    pixels: &'a mut [u8],
    /// Bytes of a row, which has at least three pixels.
    row: usize,
    channels: usize,
    factor: f32,
}

impl WithSimd for Sharpening<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let (row, channels) = (self.row, self.channels);
        let inner = row - 2 * channels;
        // The rows above and at the one that changes, as they were.
        let mut above = self.pixels[..row].to_vec();
        let mut own = vec![0; row];
        for y in 1..self.pixels.len() / row - 1 {
            let (upper, below) = self.pixels.split_at_mut((y + 1) * row);
            let target = &mut upper[y * row..];
            own.copy_from_slice(target);
            let [a, b, c] = neighbours(&above, inner, channels);
            let [d, middle, f] = neighbours(&own, inner, channels);
            let [g, h, i] = neighbours(below, inner, channels);
            let target = &mut target[channels..][..inner];
            for index in 0..inner {
                let at = |line: &[u8]| u16::from(line[index]);
                let around = at(a) + at(b) + at(c) + at(d) + at(f) + at(g) + at(h) + at(i);
                // Rounded; a thirteenth is never half a byte.
                let smooth = ((2 * (around + 5 * at(middle)) + 13) / 26) as u8;
                target[index] = mixed(smooth, middle[index], self.factor);
            }
            std::mem::swap(&mut above, &mut own);
        }
    }
}

/// The inner pixels of a line, those before, at, and after each, `inner` bytes long.
#[inline(always)]
fn neighbours(line: &[u8], inner: usize, channels: usize) -> [&[u8]; 3] {
    [
        &line[..inner],
        &line[channels..][..inner],
        &line[2 * channels..][..inner],
    ]
}
