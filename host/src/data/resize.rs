//! A picture of any size as a square one: the shorter side fits, the longer is cut at both ends.
//!
//! Only what remains after the cut is computed, so that the cost is bounded for every aspect ratio.

use std::ops::Range;

use super::picture::Picture;

/// The picture with `size` pixels in each direction: resampled so that the shorter side has them,
/// then the centre.
///
/// The kernel is the Catmull-Rom cubic, widened when the picture becomes smaller (what PIL and
/// torchvision call bicubic with antialiasing).
pub(super) fn to_square(picture: Picture, size: usize) -> Picture {
    if (picture.width, picture.height) == (size, size) {
        return picture;
    }
    match picture.channels {
        1 => resample::<1>(&picture, size),
        3 => resample::<3>(&picture, size),
        channels => unreachable!("a picture has 1 or 3 channels, not {channels}"),
    }
}

/// The pixels that a resampled pixel is a weighted sum of.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

impl Taps {
    fn range(&self) -> Range<usize> {
        self.first..self.first + self.weights.len()
    }
}

/// The taps of the centre `size` pixels of a side of `length` pixels, when the shorter side, of
/// `shorter` pixels, becomes `size` pixels.
fn taps(length: usize, shorter: usize, size: usize) -> Vec<Taps> {
    let resized = (length as f64 * size as f64 / shorter as f64).round();
    let skipped = (resized as usize - size) / 2;
    let scale = length as f64 / resized;
    let stretch = scale.max(1.0);
    let reach = 2.0 * stretch;
    (skipped..skipped + size)
        .map(|position| {
            let centre = (position as f64 + 0.5) * scale;
            let first = (centre - reach).floor().max(0.0) as usize;
            let end = length.min((centre + reach).ceil() as usize);
            let weights: Vec<f64> = (first..end)
                .map(|pixel| catmull_rom((pixel as f64 + 0.5 - centre) / stretch))
                .collect();
            let sum: f64 = weights.iter().sum();
            Taps {
                first,
                weights: weights
                    .into_iter()
                    .map(|weight| (weight / sum) as f32)
                    .collect(),
            }
        })
        .collect()
}

/// The cubic convolution kernel with a = -1/2.
fn catmull_rom(distance: f64) -> f64 {
    let x = distance.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// One row of the result after the other: first the sum of rows, then the sums of its pixels.
fn resample<const CHANNELS: usize>(picture: &Picture, size: usize) -> Picture {
    let shorter = picture.width.min(picture.height);
    let across = taps(picture.width, shorter, size);
    let down = taps(picture.height, shorter, size);
    // The columns that any pixel of the result needs.
    let first = across.first().map_or(0, |taps| taps.first);
    let end = across.last().map_or(0, |taps| taps.range().end);

    let row_bytes = picture.width * CHANNELS;
    let mut pixels = Vec::with_capacity(size * size * CHANNELS);
    let mut sums = vec![0.0_f32; (end - first) * CHANNELS];
    // A pixel fills a vector register, whatever its channels.
    let mut row = vec![[0.0_f32; 4]; end - first];
    for taps in &down {
        sums.fill(0.0);
        for (weight, y) in taps.weights.iter().zip(taps.range()) {
            let source = &picture.pixels[y * row_bytes..][first * CHANNELS..end * CHANNELS];
            for (sum, byte) in sums.iter_mut().zip(source) {
                *sum += weight * f32::from(*byte);
            }
        }
        for (pixel, sums) in row.iter_mut().zip(sums.as_chunks::<CHANNELS>().0) {
            pixel[..CHANNELS].copy_from_slice(sums);
        }
        for taps in &across {
            let mut sum = [0.5_f32; 4];
            let sources = &row[taps.first - first..taps.range().end - first];
            for (weight, source) in taps.weights.iter().zip(sources) {
                for (sum, value) in sum.iter_mut().zip(source) {
                    *sum += weight * value;
                }
            }
            // The conversion saturates, since the kernel overshoots at edges; the half rounds.
            pixels.extend(sum[..CHANNELS].iter().map(|sum| *sum as u8));
        }
    }
    Picture {
        width: size,
        height: size,
        channels: CHANNELS,
        pixels,
    }
}

#[cfg(test)]
mod tests {
    use image::imageops::{self, FilterType};
    use image::{GrayImage, RgbImage};
    use proptest::prelude::*;

    use super::*;

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

    #[test]
    fn a_picture_that_fits_stays() {
        let fitting = picture(3, 3, |x, y| (3 * y + x) as u8);
        assert_eq!(to_square(fitting.clone(), 3), fitting);
    }

    #[test]
    fn the_centre_is_cut_out() {
        // Only the centre is white: wide and tall pictures both become all white.
        let wide = picture(12, 4, |x, _| if (4..8).contains(&x) { 255 } else { 0 });
        let tall = picture(4, 12, |_, y| if (4..8).contains(&y) { 255 } else { 0 });
        for cut in [wide, tall] {
            assert_eq!(to_square(cut, 4).pixels, vec![255; 16]);
        }
    }

    #[test]
    fn channels_stay_apart() {
        let flat = Picture {
            width: 7,
            height: 5,
            channels: 3,
            pixels: [10, 20, 30].repeat(35),
        };
        assert_eq!(to_square(flat, 9).pixels, [10, 20, 30].repeat(81));
    }

    #[test]
    fn extreme_aspect_ratios_cost_little() {
        let line = to_square(picture(1, 60_000, |_, y| (y % 251) as u8), 512);
        assert_eq!(line.pixels.len(), 512 * 512);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Against the resampling of the whole picture by another implementation.
        #[test]
        fn resampling_agrees_with_another_implementation(
            width in 1_usize..40,
            height in 1_usize..40,
            size in 1_usize..24,
            colour: bool,
            noise in prop::collection::vec(any::<u8>(), 40 * 40 * 3),
        ) {
            let channels = if colour { 3 } else { 1 };
            let pixels = noise[..width * height * channels].to_vec();
            let shorter = width.min(height);
            let resized = |length: usize| (length as f64 * size as f64 / shorter as f64).round() as u32;
            let (wide, high) = (resized(width), resized(height));
            let (left, top) = ((wide - size as u32) / 2, (high - size as u32) / 2);
            let (w, h, side) = (width as u32, height as u32, size as u32);
            let expected = if colour {
                let whole = RgbImage::from_raw(w, h, pixels.clone()).unwrap();
                let whole = imageops::resize(&whole, wide, high, FilterType::CatmullRom);
                imageops::crop_imm(&whole, left, top, side, side).to_image().into_raw()
            } else {
                let whole = GrayImage::from_raw(w, h, pixels.clone()).unwrap();
                let whole = imageops::resize(&whole, wide, high, FilterType::CatmullRom);
                imageops::crop_imm(&whole, left, top, side, side).to_image().into_raw()
            };
            let found = to_square(Picture { width, height, channels, pixels }, size);
            for (found, expected) in found.pixels.iter().zip(&expected) {
                prop_assert!(found.abs_diff(*expected) <= 1, "{found} {expected}");
            }
        }
    }
}
